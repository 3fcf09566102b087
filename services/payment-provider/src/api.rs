//! HTTP in, HTTP out: the provider's interface, its ledger and its failure mode.

mod calls;
mod errors;
mod key;
mod ledger;
mod mode;
mod payments;
mod receipt;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::mode::Mode;
use crate::store::Book;

/// What the requests share.
#[derive(Debug)]
pub struct Provider {
    book: Book,
    mode: Mutex<Mode>,
    hang: Duration,
    shutdown: CancellationToken,
}

impl Provider {
    pub fn new(book: Book, hang: Duration, shutdown: CancellationToken) -> Self {
        Self {
            book,
            mode: Mutex::default(),
            hang,
            shutdown,
        }
    }

    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_mode(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }
}

/// All routes, with their descriptions.
pub fn routes(provider: Arc<Provider>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(payments::authorize))
        .routes(routes!(payments::capture))
        .routes(routes!(payments::void))
        .routes(routes!(payments::refund))
        .routes(routes!(payments::operation))
        .routes(routes!(ledger::ledger))
        .routes(routes!(mode::mode, mode::set_mode))
        .with_state(provider)
}
