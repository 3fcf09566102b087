//! One shard of a source, from taking it over to handing it on: read a batch, publish it while the next is read, move on.
//!
//! The coordinator decides which of several relays runs this; see [`crate::coordinator`]. Rows that the broker refuses are parked with
//! those behind them, and released when it takes them; see [`crate::parking`].

mod lot;
mod release;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cursor::{Cursor, Identity, Snapshot};
use crate::happening::{Away, Published, Running};
use crate::pace::Pace;
use crate::publish::Publisher;
use crate::settings::Settings;
use crate::source::{Source, SourceError};
use crate::state::{Shared, State, Telling};
use crate::takeover::{Seat, close, end};
use lot::Lot;
pub(crate) use work::publish;

/// The code under which a tenure ends that another relay has ousted.
pub(crate) const FENCED: &str = "relay.fenced";

/// A transaction takes milliseconds; one that takes this long is an outage.
const SLOW: Duration = Duration::from_secs(5);
const SLOW_BROKER: &str = "the broker has not acknowledged a transaction for 5 s";
const SLOW_DATABASE: &str = "the database has not answered for 5 s";

/// Publishes one shard of a source.
pub(crate) struct Instance<S> {
    pub(crate) name: String,
    pub(crate) source: S,
    pub(crate) seat: Seat,
    /// The layout that the shard belongs to.
    pub(crate) layout: Uuid,
    /// The change of the layout that this is part of.
    pub(crate) change: Option<Uuid>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) shared: Arc<Shared>,
    /// Ends the work: at shutdown, or when the shard goes to another relay.
    pub(crate) stop: CancellationToken,
}

/// Why a tenure (from taking over to losing the producer) ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Asked to stop, or the layout is another by now.
    Shutdown,
    /// Everything that was to be published is.
    Drained,
    /// The producer is used up, or something is away: take over again.
    Again(String),
    /// The broker refuses this tenure, and nobody else has claimed the shard by now: take over again, unless somebody has
    /// by then.
    Refused { writer: Uuid, reason: String },
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

    /// In words, for whoever waits for another end than this.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Shutdown => "the relay is stopping, or another relay changes the source".into(),
            Self::Drained => "nothing is left to publish".into(),
            Self::Again(reason) | Self::Refused { reason, .. } | Self::Stopped { reason, .. } => {
                reason
            }
        }
    }
}

/// What an instance ended with.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was asked to.
    Asked,
    /// Only a person can help.
    Stopped { code: &'static str, reason: String },
}

/// A shard that is this relay's, ready to be published.
pub(crate) struct Tenure {
    publisher: Arc<Publisher>,
    cursor: Cursor,
    lot: Lot,
}

impl Tenure {
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    pub(crate) async fn close(self) {
        close(self.publisher).await;
    }

    /// Leaves word for whoever finds this layout again.
    pub(crate) async fn end(&self, next: Uuid) {
        end(&self.publisher, self.cursor.clone(), next).await;
    }
}

impl<S: Source> Instance<S> {
    /// Publishes until asked to stop, or until only a person can help.
    pub(crate) async fn run(mut self) -> Outcome {
        let mut pace = Pace::away();
        let mut refused = None;
        loop {
            let started = Instant::now();
            match self.tenure(refused.take()).await {
                End::Shutdown | End::Drained => return Outcome::Asked,
                End::Stopped { code, reason } => return Outcome::Stopped { code, reason },
                End::Again(reason) => self.away(&reason),
                End::Refused { writer, reason } => {
                    self.away(&reason);
                    refused = Some(writer);
                }
            }
            // A tenure that held for a while was a success: the next outage begins with short pauses again.
            if started.elapsed() > Duration::from_secs(60) {
                pace.reset();
            }
            if !self.sleep(pace.pause()).await {
                return Outcome::Asked;
            }
        }
    }

    /// One tenure; `refused` is the claim of the one before, when the broker ended that.
    async fn tenure(&mut self, refused: Option<Uuid>) -> End {
        // Whoever fenced it needs a moment for its own claim. Two relays that never look for the other's again would oust
        // each other for ever, each in the moment between the other's fencing and its claim.
        if let Some(writer) = refused
            && let Some(end) = self.seat.claimed_by_another(writer).await
        {
            return end;
        }
        match self.take().await {
            Ok(tenure) => {
                self.running(&tenure.cursor);
                let Tenure {
                    publisher,
                    cursor,
                    lot,
                } = tenure;
                let end = self.work(&publisher, cursor, lot, None).await;
                // Not waited for: its last transaction has ended, and whoever is next need not wait for its threads.
                tokio::spawn(close(publisher));
                end
            }
            Err(end) => end,
        }
    }

    /// Publishes what that snapshot sees, and nothing else.
    pub(crate) async fn drain(&mut self, tenure: &Tenure, until: Snapshot) -> Result<(), End> {
        let (cursor, lot) = (tenure.cursor.clone(), tenure.lot.clone());
        match self.work(&tenure.publisher, cursor, lot, Some(until)).await {
            End::Drained => Ok(()),
            end => Err(end),
        }
    }

    /// Takes the shard over from whoever had it.
    pub(crate) async fn take(&mut self) -> Result<Tenure, End> {
        let (identity, beginning) = match self.begin().await {
            Ok(found) => found,
            Err(error) => return Err(unreadable(error).unwrap_or_else(End::Again)),
        };
        // Whoever is to have the shard instead waits for this.
        if self.stop.is_cancelled() {
            return Err(End::Shutdown);
        }
        let (publisher, cursor) = self.seat.take(identity, beginning).await?;
        if self.stop.is_cancelled() {
            tokio::spawn(close(publisher));
            return Err(End::Shutdown);
        }
        match self.claim(&publisher, cursor).await {
            Ok((cursor, lot)) => Ok(Tenure {
                publisher,
                cursor,
                lot,
            }),
            Err(end) => {
                close(publisher).await;
                Err(end)
            }
        }
    }

    async fn begin(&mut self) -> Result<(Identity, Option<Cursor>), SourceError> {
        let identity = self.source.identity().await?;
        let beginning = if self.layout.is_nil() {
            None
        } else {
            self.source.beginning(self.layout).await?
        };
        Ok((identity, beginning))
    }

    /// Claims the shard: in the database, then in Kafka. A relay that was frozen since it fenced its predecessor, and was
    /// fenced itself meanwhile, is stopped by the second before it parks anything by the right of the first.
    async fn claim(
        &mut self,
        publisher: &Arc<Publisher>,
        cursor: Cursor,
    ) -> Result<(Cursor, Lot), End> {
        let again = |error: SourceError| unreadable(error).unwrap_or_else(End::Again);
        // After fencing, and not before: see the source's layout for why.
        match self.source.layout().await {
            Ok(layout) if layout.admits(self.layout, self.change) => {}
            Ok(_) => return Err(End::Shutdown),
            // A database without layouts is not divided.
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(again(error)),
        }
        if let Some(next) = cursor.ended_by {
            return Err(End::Stopped {
                code: "relay.layout_behind",
                reason: format!(
                    "the database has the layout {}, which was ended by {next}: it was set back to an earlier state",
                    self.layout
                ),
            });
        }
        let (cursor, lot) = self.open_lot(cursor).await.map_err(again)?;
        publish(Arc::clone(publisher), Arc::default(), cursor.clone())
            .await
            .map_err(|error| End::Again(error.to_string()))?;
        Ok((cursor, lot))
    }

    fn published(&self, cursor: &Cursor, rows: usize, took: Duration) {
        // Before the rows are counted: whoever has seen the count finds a cursor that covers them.
        self.shared.put_place(Some(cursor.clone()));
        self.shared.update(|status| {
            status.published_rows += rows as u64;
            status.cursor = Some(cursor.settled.to_string());
        });
        telemetry::emit(Published {
            source: &self.name,
            shard: self.shared.shard(),
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
                shard: self.shared.shard(),
                cursor: &cursor.settled.to_string(),
            });
        }
    }

    fn away(&self, reason: &str) {
        away(&self.name, &self.shared, reason);
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

pub(crate) fn away(name: &str, shared: &Shared, reason: &str) {
    let telling = shared.enter(State::Waiting(reason.to_owned()));
    if telling != Telling::Known {
        telemetry::emit(Away {
            source: name,
            shard: shared.shard(),
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
