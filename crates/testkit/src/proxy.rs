//! A TCP proxy between the code under test and a server, which can be cut, slowed, stalled and mended: an outage on command.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the proxy behaves now.
#[derive(Debug, Clone, Copy)]
struct Weather {
    /// Connections are let through.
    open: bool,
    /// They are kept, and nothing passes.
    stalled: bool,
    /// What passes waits so long, each piece in each direction.
    delay: Duration,
    /// Connections of an earlier generation break.
    generation: u64,
}

/// A proxy on a loopback port of its own. While it is cut, open connections break and new ones are closed at once.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    accepted: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens, and passes every connection on to `target` (`host:port`).
    ///
    /// # Panics
    /// When no port is free.
    pub async fn to(target: &str) -> Self {
        Self::start(target, None).await
    }

    /// Likewise for a Kafka broker at `127.0.0.1:port`. A broker tells its clients where it listens, and they go there; so
    /// the proxy puts its own port in the place of the broker's wherever an answer names it.
    ///
    /// # Panics
    /// When no port is free, or `target` is another address.
    pub async fn to_broker(target: &str) -> Self {
        let port = target
            .strip_prefix("127.0.0.1:")
            .and_then(|port| port.parse::<u16>().ok())
            .unwrap_or_else(|| panic!("{target} is no broker on 127.0.0.1"));
        Self::start(target, Some(port)).await
    }

    async fn start(target: &str, broker: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, seen) = watch::channel(Weather {
            open: true,
            stalled: false,
            delay: Duration::ZERO,
            generation: 0,
        });
        let target = target.to_owned();
        let names = broker.map(|port| (told(port), told(address.port())));
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(pass_on(client, target.clone(), seen.clone(), names.clone()));
            }
        });
        Self {
            address,
            weather,
            accepted,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that came so far, also while it was cut: whether somebody tries too often.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Breaks every connection and refuses new ones.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.open = false);
    }

    /// Breaks every connection; new ones are let through.
    pub fn reset(&self) {
        self.weather.send_modify(|weather| weather.generation += 1);
    }

    /// Keeps connections, also new ones, and lets nothing pass.
    pub fn stall(&self) {
        self.weather.send_modify(|weather| weather.stalled = true);
    }

    /// Lets each piece of data wait, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Lets everything through again, at once.
    pub fn mend(&self) {
        self.weather.send_modify(|weather| {
            weather.open = true;
            weather.stalled = false;
            weather.delay = Duration::ZERO;
        });
    }
}

/// How an answer names a broker's address: its host, then its port in four bytes (Kafka protocol, `Metadata` and
/// `FindCoordinator`).
fn told(port: u16) -> Vec<u8> {
    let mut name = b"127.0.0.1".to_vec();
    name.extend(u32::from(port).to_be_bytes());
    name
}

async fn pass_on(
    mut client: TcpStream,
    target: String,
    mut weather: watch::Receiver<Weather>,
    names: Option<(Vec<u8>, Vec<u8>)>,
) {
    let begun = *weather.borrow_and_update();
    if !begun.open {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        () = copy(&mut from_client, &mut to_server, weather.clone(), None) => {}
        () = copy(&mut from_server, &mut to_client, weather.clone(), names) => {}
        // Ends both halves without the protocol's goodbye, as a pulled cable does.
        _ = weather.wait_for(|now| !now.open || now.generation != begun.generation) => {}
    }
}

/// Until one side ends.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut weather: watch::Receiver<Weather>,
    names: Option<(Vec<u8>, Vec<u8>)>,
) {
    let (mut piece, mut held) = (vec![0; 64 * 1024], Vec::new());
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        held.extend_from_slice(&piece[..read]);
        let passing = match &names {
            None => std::mem::take(&mut held),
            Some((name, replacement)) => renamed(&mut held, name, replacement),
        };
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if weather.wait_for(|now| !now.stalled).await.is_err()
            || to.write_all(&passing).await.is_err()
        {
            return;
        }
    }
}

/// The whole answers of a broker that are there, with the name replaced; the beginning of another waits for its rest.
///
/// An answer is a length in four bytes and so many bytes. To look for the name without regard to that, and to keep what
/// may be its beginning, would keep the last byte of an answer that happens to end like that, and its client waits for it.
fn renamed(held: &mut Vec<u8>, name: &[u8], replacement: &[u8]) -> Vec<u8> {
    let mut whole = 0;
    while let Some(length) = held[whole..].first_chunk::<4>() {
        let end = whole + 4 + u32::from_be_bytes(*length) as usize;
        if end > held.len() {
            break;
        }
        let mut at = whole + 4;
        while let Some(found) = held[at..end]
            .windows(name.len())
            .position(|part| part == name)
        {
            at += found;
            held[at..at + name.len()].copy_from_slice(replacement);
            at += name.len();
        }
        whole = end;
    }
    let rest = held.split_off(whole);
    std::mem::replace(held, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(port: u16) -> Vec<u8> {
        let body = [b"x".to_vec(), told(port), b"y12".to_vec(), told(port)].concat();
        [(body.len() as u32).to_be_bytes().to_vec(), body].concat()
    }

    #[test]
    fn a_name_is_replaced_also_when_it_comes_in_pieces() {
        let (mut held, mut out) = (Vec::new(), Vec::new());
        for byte in [answer(9092), answer(9092)].concat() {
            held.push(byte);
            out.extend(renamed(&mut held, &told(9092), &told(7)));
        }
        assert_eq!(out, [answer(7), answer(7)].concat());
        assert!(held.is_empty());
    }

    #[test]
    fn an_answer_that_ends_like_the_beginning_of_a_name_passes_whole() {
        // The last byte of this port is a "1".
        let port = 0x8231;
        let mut held = [answer(9092), answer(9092), vec![0, 0]].concat();
        let out = renamed(&mut held, &told(9092), &told(port));
        assert_eq!(out, [answer(port), answer(port)].concat());
        assert_eq!(held, [0, 0], "of another answer");
    }
}
