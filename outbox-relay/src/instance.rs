//! One source, from taking it over to the end of the process: read a batch, publish it while the next is read, move on.
//!
//! A lease decides which of several relays runs this; see [`crate::lease`]. Rows that the broker refuses are parked with
//! those behind them, and released when it takes them; see [`crate::parking`].

mod breath;
mod lot;
mod release;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::cursor::{Cursor, Identity};
use crate::happening::{Away, Published, Running, Stopped};
use crate::lease::Lease;
use crate::pace::Pace;
use crate::reset::Order;
use crate::settings::Settings;
use crate::source::{Source, SourceError};
use crate::state::{Shared, State, Telling};
use crate::takeover::Seat;

/// The code under which a tenure ends that another relay has ousted.
pub(crate) const FENCED: &str = "relay.fenced";

/// A transaction takes milliseconds; one that takes this long is an outage.
const SLOW: Duration = Duration::from_secs(5);
const SLOW_BROKER: &str = "the broker has not acknowledged a transaction for 5 s";
const SLOW_DATABASE: &str = "the database has not answered for 5 s";

/// Publishes one source.
pub(crate) struct Instance<S> {
    pub(crate) name: String,
    pub(crate) source: S,
    pub(crate) seat: Seat,
    pub(crate) settings: Arc<Settings>,
    pub(crate) shared: Arc<Shared>,
    /// The cursor for whoever measures the backlog.
    pub(crate) cursors: watch::Sender<Option<Cursor>>,
    pub(crate) shutdown: CancellationToken,
    /// Ends the tenure in hand: at shutdown, or when its lease is lost.
    pub(crate) stop: CancellationToken,
    /// An operator changed something about parked rows.
    pub(crate) poke: Arc<Notify>,
    /// Something was written, or is about to be committed.
    pub(crate) wake: Arc<Notify>,
}

/// Why a tenure (from taking over to losing the producer) ended.
pub(crate) enum End {
    /// Asked to stop.
    Shutdown,
    /// The producer is used up, or something is away: take over again.
    Again(String),
    /// Not to be tried again by itself.
    Stopped { code: &'static str, reason: String },
}

impl End {
    pub(crate) fn wrong_database(known: &Identity, found: &Identity) -> Self {
        Self::Stopped {
            code: "relay.wrong_database",
            reason: format!(
                "the cursor belongs to {known}, and this is {found}: nothing is published"
            ),
        }
    }
}

impl<S: Source> Instance<S> {
    /// Publishes while the lease is this relay's, until asked to stop, or until only a person can help.
    pub(crate) async fn run(mut self, mut lease: Lease<S>, mut orders: mpsc::Receiver<Order>) {
        let mut pace = Pace::away();
        let mut order: Option<Order> = None;
        loop {
            let started = Instant::now();
            let end = match lease.acquire(&self.shutdown).await {
                Ok(true) => {
                    if let Some(order) = order.take() {
                        self.reset(order).await;
                    }
                    let (end, given) = self.tenure_under(&mut lease, &mut orders).await;
                    order = given;
                    end
                }
                Ok(false) => break,
                Err(error) => unreadable(error).unwrap_or_else(End::Again),
            };
            match end {
                End::Shutdown if self.shutdown.is_cancelled() => break,
                // The lease went to another, or an operator gave an order.
                End::Shutdown => continue,
                End::Stopped { code, .. } if code == FENCED && !lease.is_ours().await => continue,
                End::Stopped { code, reason } => {
                    // The next relay may be better off, for example with a newer version.
                    lease.release().await;
                    self.stopped(code, &reason);
                    order = tokio::select! {
                        order = orders.recv() => order,
                        () = self.shutdown.cancelled() => None,
                    };
                    match order {
                        Some(_) => continue,
                        None => break,
                    }
                }
                End::Again(reason) => self.away(&reason),
            }
            // A tenure that held for a while was a success: the next outage begins with short pauses again.
            if started.elapsed() > Duration::from_secs(60) {
                pace.reset();
            }
            if !self.sleep(pace.pause()).await {
                break;
            }
        }
        lease.release().await;
    }

    /// One tenure, its lease renewed beside it; it ends between two transactions when the lease is lost.
    /// An operator's order ends it likewise, and is returned.
    async fn tenure_under(
        &mut self,
        lease: &mut Lease<S>,
        orders: &mut mpsc::Receiver<Order>,
    ) -> (End, Option<Order>) {
        let stop = self.shutdown.child_token();
        self.stop = stop.clone();
        let tenure = async {
            let end = self.tenure().await;
            stop.cancel();
            end
        };
        let ordered = async {
            tokio::select! {
                order = orders.recv() => {
                    stop.cancel();
                    order
                }
                () = stop.cancelled() => None,
            }
        };
        let (end, (), order) = tokio::join!(tenure, lease.keep(&stop), ordered);
        self.stop = self.shutdown.clone();
        (end, order)
    }

    async fn tenure(&mut self) -> End {
        let identity = match self.source.identity().await {
            Ok(identity) => identity,
            Err(error) => return unreadable(error).unwrap_or_else(End::Again),
        };
        let (publisher, cursor) = match self.seat.take(identity).await {
            Ok(taken) => taken,
            Err(end) => return end,
        };
        let end = match self.open_lot(cursor).await {
            Ok((cursor, lot)) => {
                self.running(&cursor);
                self.work(&publisher, cursor, lot).await
            }
            Err(error) => unreadable(error).unwrap_or_else(End::Again),
        };
        // Closing a producer waits for its threads: not on a thread of the async runtime.
        let closed = tokio::task::spawn_blocking(move || drop(publisher)).await;
        if let Err(panic) = closed {
            tracing::debug!(%panic, "closing the producer");
        }
        end
    }

    fn published(&self, cursor: &Cursor, rows: usize, took: Duration) {
        self.shared.update(|status| {
            status.published_rows += rows as u64;
            status.cursor = Some(cursor.settled.to_string());
        });
        telemetry::emit(Published {
            source: &self.name,
            rows,
            took,
        });
    }

    fn tell_blocked(&self, keys: usize) {
        self.shared
            .update(|status| status.blocked_keys = keys as u64);
    }

    fn running(&self, cursor: &Cursor) {
        if self.shared.enter(State::Running) == Telling::New {
            telemetry::emit(Running {
                source: &self.name,
                cursor: &cursor.settled.to_string(),
            });
        }
    }

    fn away(&self, reason: &str) {
        away(&self.name, &self.shared, reason);
    }

    fn stopped(&self, code: &'static str, reason: &str) {
        self.shared
            .enter(State::Stopped(format!("{reason} ({code})")));
        telemetry::emit(Stopped {
            source: &self.name,
            code,
            reason,
        });
    }

    /// False when asked to stop meanwhile.
    async fn sleep(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.stop.cancelled() => false,
        }
    }
}

/// The outcome of publishing or reading. Health does not wait for it: librdkafka tries for half a minute to reach a broker
/// that is away before it gives a transaction up, and a database whose packets vanish is given a minute.
async fn told_when_slow<T>(
    name: &str,
    shared: &Shared,
    problem: &str,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        outcome = &mut work => return outcome,
        () = tokio::time::sleep(SLOW) => {}
    }
    away(name, shared, problem);
    work.await
}

fn away(name: &str, shared: &Shared, reason: &str) {
    let telling = shared.enter(State::Waiting(reason.to_owned()));
    if telling != Telling::Known {
        telemetry::emit(Away {
            source: name,
            error: reason,
            telling,
        });
    }
}

/// Whether only a person can help when a source cannot be read; otherwise why it cannot for now.
fn unreadable(error: SourceError) -> Result<End, String> {
    match error {
        SourceError::Swapped { known, found } => Ok(End::wrong_database(&known, &found)),
        error @ SourceError::Behind { .. } => Ok(End::Stopped {
            code: "relay.database_behind",
            reason: error.to_string(),
        }),
        error @ SourceError::SequenceBehind { .. } => Ok(End::Stopped {
            code: "relay.sequence_behind",
            reason: error.to_string(),
        }),
        error => Err(error.to_string()),
    }
}
