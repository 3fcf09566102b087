//! Taking the address, and saying clearly why that did not work.

use std::{io, net::SocketAddr, time::Duration};

use super::{CancellationToken, Router, TcpListener};

/// A server that holds its address and is about to answer.
#[derive(Debug)]
pub struct Bound {
    pub(super) name: &'static str,
    pub(super) listener: TcpListener,
    pub(super) deadline: Duration,
    pub(super) shutdown: CancellationToken,
    pub(super) router: Router,
}

impl Bound {
    /// The address that was taken, with the real port when port 0 was asked for.
    ///
    /// # Errors
    /// What the operating system says, should the socket be gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another program listens there.
    #[error(
        "{service} cannot listen on {address}: the address is in use. Stop the program that listens there, or set \
         http_address (ONCEBOX_HTTP_ADDRESS) to another port; port 0 takes a free one"
    )]
    AddressInUse {
        /// The service.
        service: &'static str,
        /// The address as configured.
        address: String,
    },
    /// The address does not exist on this machine, is not allowed, or is no address.
    #[error(
        "{service} cannot listen on {address:?}: {cause}. http_address (ONCEBOX_HTTP_ADDRESS) is host:port, for example 127.0.0.1:8080"
    )]
    AddressUnusable {
        /// The service.
        service: &'static str,
        /// The address as configured.
        address: String,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The listener broke while serving.
    #[error("the http interface failed: {0}")]
    Failed(#[source] io::Error),
}

impl ServerError {
    /// Stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AddressInUse { .. } => "server.address_in_use",
            Self::AddressUnusable { .. } => "server.address_unusable",
            Self::Failed(_) => "server.failed",
        }
    }
}

pub(super) async fn listen(
    service: &'static str,
    address: &str,
) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|cause| {
        let address = address.to_owned();
        match cause.kind() {
            io::ErrorKind::AddrInUse => ServerError::AddressInUse { service, address },
            _ => ServerError::AddressUnusable {
                service,
                address,
                cause,
            },
        }
    })
}
