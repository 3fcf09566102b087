//! A provider over HTTP that can be broken: what handlers of the flood guard's tests call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use oncebox::{Delivery, ErrorClass, Failure, Handler};
use sqlx::PgConnection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::Note;
use crate::script::{Scripted, text};

/// Answers every request with 200, or with 500 while it is broken.
#[derive(Clone)]
pub(crate) struct Provider {
    url: String,
    broken: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            url: format!("http://{}/charge", listener.local_addr().unwrap()),
            broken: Arc::default(),
            refused: Arc::default(),
        };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        provider
    }

    async fn serve(self, mut stream: TcpStream) {
        let (mut piece, mut request) = ([0; 4096], Vec::new());
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            request.extend_from_slice(&piece[..read]);
            if !request.ends_with(b"\r\n\r\n") {
                continue;
            }
            request.clear();
            let status = if self.broken.load(Ordering::SeqCst) {
                self.refused.fetch_add(1, Ordering::SeqCst);
                "500 Internal Server Error"
            } else {
                "200 OK"
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// Requests that were answered with 500.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

/// Calls the provider for each record, then writes its effect. A record whose text begins with "invalid" fails for good.
#[derive(Clone)]
pub(crate) struct Charges {
    provider: Provider,
    client: reqwest::Client,
    order_free: bool,
}

impl Charges {
    pub(crate) fn new(provider: &Provider) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            provider: provider.clone(),
            client,
            order_free: false,
        }
    }

    /// Likewise, for records that need no order.
    pub(crate) fn order_free(provider: &Provider) -> Self {
        Self {
            order_free: true,
            ..Self::new(provider)
        }
    }
}

#[async_trait]
impl Handler for Charges {
    type Message = Note;

    fn order_free(&self, _: &Note) -> bool {
        self.order_free
    }

    async fn prepare(&self, delivery: &Delivery<Note>) -> Result<(), Failure> {
        if text(delivery).starts_with("invalid") {
            let code = "test.invalid_order";
            return Err(Failure::new(ErrorClass::Permanent, code, "no such product"));
        }
        let transient = |text: String| Failure::new(ErrorClass::Transient, "test.provider", text);
        let answer = self.client.get(&self.provider.url).send().await;
        let status = answer
            .map_err(|error| transient(error.to_string()))?
            .status();
        if !status.is_success() {
            return Err(transient(format!("the provider answers {status}")));
        }
        Ok(())
    }

    async fn handle(
        &self,
        tx: &mut PgConnection,
        delivery: &Delivery<Note>,
    ) -> Result<(), Failure> {
        Scripted::succeed().handle(tx, delivery).await
    }
}
