//! The payment provider over HTTP: one call at a time under its idempotency key, and the look-up of what became of it.
//!
//! Nothing is repeated here: a call whose answer is lost ends as [`CallError::NoAnswer`], and who decides next is
//! `domain::decision`.

mod circuit;
mod error;
mod wire;

use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};

pub use self::error::CallError;

use self::circuit::Guard;
use self::wire::{Authorization, Receipt};
use crate::domain::circuit::{Limits, Position};
use crate::domain::operation::{Operation, OrderId, idempotency_key};
use crate::domain::payment::{Outcome, Payment};
use crate::happenings::ProviderAsked;

/// What the client is told.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Base address, such as `https://provider.example`.
    pub url: String,
    /// How long one request may take, from connecting to the last byte.
    pub timeout: Duration,
    pub circuit: Limits,
}

/// A client of the provider; one for the process, so that all calls share connections and circuit.
#[derive(Debug)]
pub struct Provider {
    client: Client,
    url: String,
    timeout: Duration,
    guard: Guard,
}

impl Provider {
    pub fn new(settings: ProviderSettings) -> Result<Self, InvalidUrl> {
        let url = settings.url.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let host = parsed
            .as_ref()
            .and_then(|url| url.host_str())
            .ok_or_else(|| InvalidUrl(settings.url.clone()))?;
        let mut builder = Client::builder().timeout(settings.timeout);
        if matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
            // A proxy for the outside world cannot reach this machine's own services.
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|_| InvalidUrl(settings.url.clone()))?;
        Ok(Self {
            client,
            url,
            timeout: settings.timeout,
            guard: Guard::new(settings.circuit),
        })
    }

    /// Has the provider do it. After an error the provider may have done it all the same: look it up before repeating.
    pub async fn call(
        &self,
        payment: &Payment,
        operation: Operation,
    ) -> Result<Outcome, CallError> {
        let key = idempotency_key(payment.order, operation);
        let request = self
            .request_for(payment, operation)?
            .header("Idempotency-Key", &key);
        let receipt = self.ask(operation, false, &key, request).await?;
        receipt
            .map(Receipt::outcome)
            .transpose()?
            .ok_or_else(|| CallError::unintelligible("it does not know its own answer"))
    }

    /// What became of an earlier call. None: the provider does not know it (yet).
    pub async fn look_up(
        &self,
        order: OrderId,
        operation: Operation,
    ) -> Result<Option<Outcome>, CallError> {
        let key = idempotency_key(order, operation);
        let request = self.client.get(format!("{}/v1/operations/{key}", self.url));
        let answer = self.ask(operation, true, &key, request).await;
        match answer {
            Ok(receipt) => receipt.map(Receipt::outcome).transpose(),
            // A provider that cannot even say what it did is away: nobody's fault but its own.
            Err(CallError::NoAnswer { detail, .. }) => Err(CallError::Unreachable { detail }),
            Err(error) => Err(error),
        }
    }

    /// Whether calls are let through at present.
    pub fn position(&self) -> Position {
        self.guard.position()
    }

    /// For `/health/ready`: not a call, only what the calls found.
    pub fn health(&self) -> Result<(), String> {
        match self.guard.position() {
            Position::Closed => Ok(()),
            position => Err(format!(
                "the circuit of the payment provider is {}: its calls failed",
                position.name()
            )),
        }
    }

    fn request_for(
        &self,
        payment: &Payment,
        operation: Operation,
    ) -> Result<RequestBuilder, CallError> {
        let damaged = |what: &str| {
            CallError::unintelligible(format!(
                "order {} has no {what} to call it with",
                payment.order
            ))
        };
        if operation == Operation::Authorize {
            let charge = payment.charge.as_ref().ok_or_else(|| damaged("amount"))?;
            let body = Authorization::of(payment.order, charge);
            return Ok(self
                .client
                .request(Method::POST, format!("{}/v1/authorizations", self.url))
                .json(&body));
        }
        let id = payment
            .authorization()
            .ok_or_else(|| damaged("authorization"))?;
        Ok(self.client.post(format!(
            "{}/v1/authorizations/{id}/{}",
            self.url,
            operation.name()
        )))
    }

    async fn ask(
        &self,
        operation: Operation,
        look_up: bool,
        key: &str,
        request: RequestBuilder,
    ) -> Result<Option<Receipt>, CallError> {
        let permit = self.guard.admit()?;
        let request = match telemetry::context::current() {
            Some(context) => request.header("traceparent", context.trace.to_string()),
            None => request,
        };
        let begun = Instant::now();
        let answer = wire::send(request, look_up, self.timeout).await;
        permit.finish(key, answer.as_ref().err());
        telemetry::emit(ProviderAsked {
            operation,
            look_up,
            outcome: answer.as_ref().err().map_or("answered", CallError::label),
            duration: begun.elapsed(),
        });
        answer
    }
}

/// `provider_url` cannot be called.
#[derive(Debug, thiserror::Error)]
#[error(
    "provider_url {0:?} is not the address of an HTTP service; it looks like http://127.0.0.1:8084"
)]
pub struct InvalidUrl(String);
