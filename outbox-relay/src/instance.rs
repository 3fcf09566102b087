//! One source, from taking it over to the end of the process: read a batch, publish it, move on.
//!
//! Leases will decide which of several relays runs this; blocked keys will let other keys pass a refused row. Both
//! have their place here: around [`Instance::run`], and in [`Instance::refused`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cursor::{Cursor, Identity};
use crate::happening::{Aborted, Away, Published, RowRefused, Running, Stopped};
use crate::publish::{Journal, JournalError, Lead, PublishError, Publisher};
use crate::settings::Settings;
use crate::source::{Batch, Source, SourceError};
use crate::state::{Shared, State};

/// Pauses between attempts while something is away.
const AWAY_MIN: Duration = Duration::from_millis(100);
const AWAY_MAX: Duration = Duration::from_secs(5);

/// Publishes one source.
pub(crate) struct Instance<S> {
    pub(crate) name: String,
    pub(crate) source: S,
    pub(crate) kafka: ClientConfig,
    pub(crate) settings: Arc<Settings>,
    pub(crate) shared: Arc<Shared>,
    /// The cursor for whoever measures the backlog.
    pub(crate) cursors: watch::Sender<Option<Cursor>>,
    pub(crate) shutdown: CancellationToken,
}

/// Why a tenure (from taking over to losing the producer) ended.
enum End {
    /// Asked to stop.
    Shutdown,
    /// The producer is used up, or something is away: take over again.
    Again(String),
    /// Not to be tried again by itself.
    Stopped { code: &'static str, reason: String },
}

impl<S: Source> Instance<S> {
    /// Publishes until asked to stop, or until only a person can help.
    pub(crate) async fn run(mut self) {
        let mut pause = AWAY_MIN;
        loop {
            let started = Instant::now();
            match self.tenure().await {
                End::Shutdown => return,
                End::Stopped { code, reason } => {
                    self.shared
                        .enter(State::Stopped(format!("{reason} ({code})")));
                    telemetry::emit(Stopped {
                        source: &self.name,
                        code,
                        reason: &reason,
                    });
                    return;
                }
                End::Again(reason) => {
                    if self.shared.enter(State::Waiting(reason.clone())) {
                        telemetry::emit(Away {
                            source: &self.name,
                            error: &reason,
                        });
                    }
                }
            }
            // A tenure that held for a while was a success: the next outage begins with short pauses again.
            if started.elapsed() > AWAY_MAX {
                pause = AWAY_MIN;
            }
            if !self.sleep(pause).await {
                return;
            }
            pause = (pause * 2).min(AWAY_MAX);
        }
    }

    async fn tenure(&mut self) -> End {
        let identity = match self.source.identity().await {
            Ok(identity) => identity,
            Err(error) => return End::Again(error.to_string()),
        };
        let (publisher, mut cursor) = match self.take_over(identity).await {
            Ok(taken) => taken,
            Err(end) => return end,
        };
        self.shared.enter(State::Running);
        telemetry::emit(Running {
            source: &self.name,
            cursor: &cursor.settled.to_string(),
        });
        let mut pause = self.settings.poll_min();
        loop {
            self.cursors.send_replace(Some(cursor.clone()));
            if self.shutdown.is_cancelled() {
                return End::Shutdown;
            }
            let batch = match self.source.read(&cursor, self.settings.batch_rows).await {
                Ok(batch) => batch,
                Err(error) => {
                    if !self.wait_for_database(&error).await {
                        return End::Shutdown;
                    }
                    continue;
                }
            };
            if self.shared.enter(State::Running) {
                telemetry::emit(Running {
                    source: &self.name,
                    cursor: &cursor.settled.to_string(),
                });
            }
            if batch.rows.is_empty() {
                // Nothing to publish: the cursor moves in memory only. After a restart the older one sees the same rows.
                let more = batch.more && cursor.window.is_some();
                cursor = batch.next;
                if !more {
                    if !self.sleep(pause).await {
                        return End::Shutdown;
                    }
                    pause = (pause * 2).min(self.settings.poll_max());
                }
                continue;
            }
            pause = self.settings.poll_min();
            match self.publish(&publisher, batch).await {
                Ok(next) => cursor = next,
                Err(error) => {
                    if let Some(end) = self.after(error).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Fences whoever published this source before, then reads back what was committed.
    async fn take_over(&self, identity: Identity) -> Result<(Arc<Publisher>, Cursor), End> {
        let (kafka, topic) = (self.kafka.clone(), self.settings.cursor_topic());
        let (id, key) = (
            self.settings.transactional_id(&self.name),
            format!("{}/0", self.name),
        );
        let taken = tokio::task::spawn_blocking(move || {
            let publisher = Publisher::take_over(&kafka, &id, &topic, &key).map_err(Err)?;
            let last = Journal::new(&kafka, &topic).last(&key).map_err(Ok)?;
            Ok((publisher, last))
        })
        .await;
        let (publisher, last) = match taken {
            Ok(Ok(taken)) => taken,
            Ok(Err(Ok(error @ JournalError::Unreadable { .. }))) => {
                return Err(End::Stopped {
                    code: "relay.cursor_unreadable",
                    reason: error.to_string(),
                });
            }
            Ok(Err(Ok(error))) => return Err(End::Again(error.to_string())),
            Ok(Err(Err(error))) => return Err(End::Again(error.to_string())),
            Err(panic) => return Err(End::Again(panic.to_string())),
        };
        let cursor = match last {
            None => Cursor::beginning(identity),
            Some(cursor) if cursor.identity == identity => cursor,
            Some(cursor) => {
                let reason = format!(
                    "the cursor belongs to database {:?} of cluster {} on timeline {}, and this is {:?} of {} on {}: nothing is published",
                    cursor.identity.database,
                    cursor.identity.system,
                    cursor.identity.timeline,
                    identity.database,
                    identity.system,
                    identity.timeline,
                );
                return Err(End::Stopped {
                    code: "relay.wrong_database",
                    reason,
                });
            }
        };
        Ok((Arc::new(publisher), cursor))
    }

    async fn publish(
        &self,
        publisher: &Arc<Publisher>,
        batch: Batch,
    ) -> Result<Cursor, PublishError> {
        let (publisher, started, rows) = (Arc::clone(publisher), Instant::now(), batch.rows.len());
        let published = tokio::task::spawn_blocking(move || {
            publisher
                .publish(&batch.rows, &batch.next)
                .map(|()| batch.next)
        })
        .await;
        // A panic in there leaves the producer in a state that nobody knows.
        let next =
            published.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        self.shared.update(|status| {
            status.published_rows += rows as u64;
            status.cursor = Some(next.settled.to_string());
        });
        telemetry::emit(Published {
            source: &self.name,
            rows,
            took: started.elapsed(),
        });
        Ok(next)
    }

    /// What to do after a batch failed; none means: the same batch again, from the unchanged cursor.
    async fn after(&self, error: PublishError) -> Option<End> {
        let text = error.to_string();
        match error.lead() {
            Lead::Fenced => Some(End::Stopped {
                code: "relay.fenced",
                reason: format!("another relay has taken this source over: {text}"),
            }),
            Lead::NewProducer => Some(End::Again(text)),
            Lead::Refused => self.refused(&text).await,
            Lead::Abort => {
                let first = self.shared.enter(State::Waiting(text.clone()));
                telemetry::emit(Aborted {
                    source: &self.name,
                    error: &text,
                    first_of_outage: first,
                });
                (!self.sleep(AWAY_MIN * 5).await).then_some(End::Shutdown)
            }
        }
    }

    /// The whole source waits behind a refused row: later rows of its key must not pass it. Keys of their own come
    /// with the block-key policy.
    async fn refused(&self, text: &str) -> Option<End> {
        if self.shared.enter(State::Refused(text.to_owned())) {
            telemetry::emit(RowRefused {
                source: &self.name,
                error: text,
            });
        }
        let pause = Duration::from_millis(self.settings.refused_retry_ms);
        (!self.sleep(pause).await).then_some(End::Shutdown)
    }

    async fn wait_for_database(&self, error: &SourceError) -> bool {
        let text = error.to_string();
        if self.shared.enter(State::Waiting(text.clone())) {
            telemetry::emit(Away {
                source: &self.name,
                error: &text,
            });
        }
        self.sleep(AWAY_MIN * 5).await
    }

    /// False when asked to stop meanwhile.
    async fn sleep(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.shutdown.cancelled() => false,
        }
    }
}
