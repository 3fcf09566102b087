//! Ports on loopback: the documented default where it is free, otherwise the next free one.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::StackError;

/// Documented default ports of the stack's own parts.
pub const KAFKA: u16 = 9092;
/// PostgreSQL's default port here: not 5432, where a system's own server may listen.
pub const POSTGRES: u16 = 5433;
/// The schema registry's default port.
pub const REGISTRY: u16 = 8087;

/// Which ports a stack takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ports {
    /// The documented defaults where they are free, else the next free ones.
    Default,
    /// Any that are free: for stacks beside others.
    Free,
}

/// Hands out ports, none of them twice.
#[derive(Debug)]
pub struct Chooser {
    ports: Ports,
    /// Taken by us, or the default of a part that will ask later.
    reserved: BTreeSet<u16>,
    next: u16,
}

/// Below every system's range for outgoing connections, so that none of those takes a port that we chose.
const FREE: std::ops::Range<u16> = 20_000..32_000;

impl Chooser {
    /// `defaults`: the ports that are some part's default, and so are not handed to another part as "the next free one".
    #[must_use]
    pub fn new(ports: Ports, defaults: &[u16]) -> Self {
        // Two stacks that start at the same time begin to look at different places.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos());
        let seed = now.wrapping_add(std::process::id().wrapping_mul(2_654_435_761));
        let width = u32::from(FREE.end - FREE.start);
        let offset = u16::try_from(seed % width).unwrap_or(0);
        Self {
            ports,
            reserved: defaults.iter().copied().collect(),
            next: FREE.start + offset,
        }
    }

    /// A port that nobody listens on now. It is not held: who gets it should bind it soon.
    ///
    /// # Errors
    /// [`StackError::Ports`] when a whole range is taken.
    pub fn choose(&mut self, part: &str, default: u16) -> Result<u16, StackError> {
        if self.ports == Ports::Free {
            return self.free(part);
        }
        if is_free(default) {
            return Ok(default);
        }
        let found = (default..u16::MAX)
            .skip(1)
            .take(1000)
            .find(|port| !self.reserved.contains(port) && is_free(*port))
            .ok_or_else(|| StackError::Ports(part.to_owned()))?;
        self.reserved.insert(found);
        Ok(found)
    }

    /// Any free port: for what has no documented default.
    ///
    /// # Errors
    /// As for [`choose`](Self::choose).
    pub fn free(&mut self, part: &str) -> Result<u16, StackError> {
        for _ in FREE {
            let port = self.next;
            self.next = if port + 1 < FREE.end {
                port + 1
            } else {
                FREE.start
            };
            if !self.reserved.contains(&port) && is_free(port) {
                self.reserved.insert(port);
                return Ok(port);
            }
        }
        Err(StackError::Ports(part.to_owned()))
    }
}

/// Whether nobody listens on that port of loopback.
#[must_use]
pub fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Some systems let us bind loopback although somebody listens on all addresses: then a connection succeeds.
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err()
        && TcpListener::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_taken_where_it_is_free_and_the_next_one_otherwise() {
        let free = Chooser::new(Ports::Free, &[]).free("test").unwrap();
        let mut chooser = Chooser::new(Ports::Default, &[free + 1]);
        assert_eq!(chooser.choose("part", free).unwrap(), free);
        let _taken = TcpListener::bind(("127.0.0.1", free)).unwrap();
        let next = chooser.choose("part", free).unwrap();
        assert!(
            next > free + 1,
            "{} belongs to another part by default",
            free + 1
        );
        let other = chooser.choose("other", free).unwrap();
        assert_ne!(other, next, "never the same port twice");
    }

    #[test]
    fn a_listener_on_all_addresses_takes_the_port() {
        let everywhere = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        assert!(!is_free(everywhere.local_addr().unwrap().port()));
    }
}
