//! One source, from taking it over to the end of the process: read a batch, publish it while the next is read, move on.
//!
//! A lease decides which of several relays runs this; see [`crate::lease`]. Blocked keys, which will let other keys pass a
//! refused row, have their place in [`Instance::refused`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cursor::{Cursor, Identity};
use crate::failpoint::{self, Point};
use crate::happening::{Aborted, Away, Published, RowRefused, Running, Stopped};
use crate::lease::Lease;
use crate::pace::Pace;
use crate::publish::{Lead, PublishError, Publisher};
use crate::settings::Settings;
use crate::source::{Batch, Limits, Source, SourceError};
use crate::state::{Shared, State};
use crate::takeover::Seat;

/// The code under which a tenure ends that another relay has ousted.
pub(crate) const FENCED: &str = "relay.fenced";

/// A transaction takes milliseconds; one that takes this long is an outage.
const SLOW: Duration = Duration::from_secs(5);

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
    pub(crate) async fn run(mut self, mut lease: Lease<S>) {
        let mut pace = Pace::away();
        loop {
            let started = Instant::now();
            let end = match lease.acquire(&self.shutdown).await {
                Ok(true) => self.tenure_under(&mut lease).await,
                Ok(false) => break,
                Err(error) => unreadable(error).unwrap_or_else(End::Again),
            };
            match end {
                End::Shutdown if self.shutdown.is_cancelled() => break,
                // The lease went to another.
                End::Shutdown => continue,
                End::Stopped { code, .. } if code == FENCED && !lease.is_ours().await => continue,
                End::Stopped { code, reason } => {
                    // The next relay may be better off, for example with a newer version.
                    lease.release().await;
                    return self.stopped(code, &reason);
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
    async fn tenure_under(&mut self, lease: &mut Lease<S>) -> End {
        let stop = self.shutdown.child_token();
        self.stop = stop.clone();
        let tenure = async {
            let end = self.tenure().await;
            stop.cancel();
            end
        };
        let (end, ()) = tokio::join!(tenure, lease.keep(&stop));
        self.stop = self.shutdown.clone();
        end
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
        self.running(&cursor);
        let end = self.work(&publisher, cursor).await;
        // Closing a producer waits for its threads: not on a thread of the async runtime.
        let closed = tokio::task::spawn_blocking(move || drop(publisher)).await;
        if let Err(panic) = closed {
            tracing::debug!(%panic, "closing the producer");
        }
        end
    }

    async fn work(&mut self, publisher: &Arc<Publisher>, mut cursor: Cursor) -> End {
        let mut idle = Pace::new(self.settings.poll_min(), self.settings.poll_max());
        let mut away = Pace::away();
        let mut limits = self.settings.limits();
        let mut ahead: Option<Batch> = None;
        loop {
            self.cursors.send_replace(Some(cursor.clone()));
            if self.stop.is_cancelled() {
                return End::Shutdown;
            }
            let batch = match ahead.take() {
                Some(batch) => batch,
                None => match read(&mut self.source, &cursor, limits).await {
                    Ok(batch) => batch,
                    Err(error) => match unreadable(error) {
                        Ok(end) => return end,
                        Err(reason) => {
                            self.away(&reason);
                            if !self.sleep(away.pause()).await {
                                return End::Shutdown;
                            }
                            continue;
                        }
                    },
                },
            };
            if batch.rows.is_empty() {
                // Nothing waits, so whatever was away is not missed any more.
                self.running(&cursor);
                // The cursor moves in memory only: after a restart the older one finds the same rows.
                let more = batch.more;
                cursor = batch.next;
                if !more && !self.sleep(idle.pause()).await {
                    return End::Shutdown;
                }
                continue;
            }
            idle.reset();
            let batch = Arc::new(batch);
            let published = publish(Arc::clone(publisher), Arc::clone(&batch));
            let (published, next) = tokio::join!(
                told_when_slow(&self.name, &self.shared, published),
                read(&mut self.source, &batch.next, self.settings.limits()),
            );
            match published {
                Ok(took) => {
                    cursor = batch.next.clone();
                    self.published(&cursor, batch.rows.len(), took);
                    self.running(&cursor);
                    away.reset();
                    limits = self.settings.limits();
                    // Nothing found is old news by now, and a failure shows again when it is asked again.
                    ahead = next.ok().filter(|next| !next.rows.is_empty());
                }
                // From the unchanged cursor again; what was read ahead assumed otherwise.
                Err(error) => match self.after(&error, &batch, &mut limits, &mut away).await {
                    Some(End::Again(text)) if error.lead() == Lead::Fenced => {
                        return self.seat.refused(cursor.writer, &text).await;
                    }
                    Some(end) => return end,
                    None => {}
                },
            }
        }
    }

    /// What to do after a batch failed; none means: from the unchanged cursor again.
    async fn after(
        &self,
        error: &PublishError,
        batch: &Batch,
        limits: &mut Limits,
        away: &mut Pace,
    ) -> Option<End> {
        let text = error.to_string();
        match error.lead() {
            Lead::Fenced | Lead::NewProducer => Some(End::Again(text)),
            Lead::Refused => self.refused(error, batch, limits, &text).await,
            Lead::Abort => {
                let first_of_outage = self.shared.enter(State::Waiting(text.clone()));
                telemetry::emit(Aborted {
                    source: &self.name,
                    error: &text,
                    first_of_outage,
                });
                (!self.sleep(away.pause()).await).then_some(End::Shutdown)
            }
        }
    }

    /// Rows before a refused one are published; the row itself and all behind it wait, since later rows of its key must
    /// not pass it. That other keys may comes with the block-key policy, here.
    async fn refused(
        &self,
        error: &PublishError,
        batch: &Batch,
        limits: &mut Limits,
        text: &str,
    ) -> Option<End> {
        let before = batch
            .rows
            .iter()
            .take_while(|row| Some(row.seq) != error.row());
        let before = i64::try_from(before.count()).unwrap_or(i64::MAX);
        limits.rows = before.max(1);
        if before > 0 {
            return None;
        }
        if self.shared.enter(State::Refused(text.to_owned())) {
            telemetry::emit(RowRefused {
                source: &self.name,
                error: text,
            });
        }
        let pause = Duration::from_millis(self.settings.refused_retry_ms);
        (!self.sleep(pause).await).then_some(End::Shutdown)
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

    fn running(&self, cursor: &Cursor) {
        if self.shared.enter(State::Running) {
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

/// Reads the next batch.
async fn read(
    source: &mut impl Source,
    cursor: &Cursor,
    limits: Limits,
) -> Result<Batch, SourceError> {
    failpoint::hit(Point::ReadBefore);
    let batch = source.read(cursor, limits).await?;
    if !batch.rows.is_empty() {
        failpoint::hit(Point::ReadAfter);
    }
    Ok(batch)
}

/// Publishes a batch off the async runtime; returns how long it took.
async fn publish(publisher: Arc<Publisher>, batch: Arc<Batch>) -> Result<Duration, PublishError> {
    let started = Instant::now();
    let published =
        tokio::task::spawn_blocking(move || publisher.publish(&batch.rows, &batch.next)).await;
    // A panic in there leaves the producer in a state that nobody knows.
    published.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok(started.elapsed())
}

/// The outcome of publishing. Health does not wait for it: librdkafka tries for half a minute to reach a broker that
/// is away before it gives a transaction up.
async fn told_when_slow<T>(name: &str, shared: &Shared, publishing: impl Future<Output = T>) -> T {
    let mut publishing = std::pin::pin!(publishing);
    tokio::select! {
        outcome = &mut publishing => return outcome,
        () = tokio::time::sleep(SLOW) => {}
    }
    away(
        name,
        shared,
        "the broker has not acknowledged a transaction for 5 s",
    );
    publishing.await
}

fn away(name: &str, shared: &Shared, reason: &str) {
    if shared.enter(State::Waiting(reason.to_owned())) {
        telemetry::emit(Away {
            source: name,
            error: reason,
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
        error => Err(error.to_string()),
    }
}
