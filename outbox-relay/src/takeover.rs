//! Taking a shard over, and finding out who did when the broker refuses this relay.
//!
//! Leases decide when to take over; the broker's fencing is what makes it safe, with or without them.

use std::sync::Arc;

use rdkafka::config::ClientConfig;
use uuid::Uuid;

use crate::cursor::{Cursor, Identity};
use crate::failpoint::{self, Point};
use crate::instance::{End, FENCED, publish};
use crate::publish::{Journal, JournalError, PublishError, Publisher};
use crate::settings::Settings;
use crate::shard::Shard;

/// What the broker knows the shards of a source by.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    kafka: ClientConfig,
    topic_prefix: String,
    topic: String,
    source: String,
}

impl Seats {
    pub(crate) fn new(kafka: &ClientConfig, settings: &Settings, source: &str) -> Self {
        Self {
            kafka: kafka.clone(),
            topic_prefix: settings.topic_prefix.clone(),
            topic: settings.cursor_topic(),
            source: source.to_owned(),
        }
    }

    /// The seat of a shard. Those of an earlier layout are never taken again, so that nobody who still believes in it can
    /// disturb the present one.
    pub(crate) fn seat(&self, layout: Uuid, shard: Shard) -> Seat {
        let (source, prefix, shard) = (&self.source, &self.topic_prefix, shard.index());
        let (transactional_id, key) = if layout.is_nil() {
            (
                format!("{prefix}oncebox-relay.{source}.{shard}"),
                format!("{source}/{shard}"),
            )
        } else {
            (
                format!("{prefix}oncebox-relay.{source}.{layout}.{shard}"),
                format!("{source}/{layout}/{shard}"),
            )
        };
        Seat {
            kafka: self.kafka.clone(),
            topic: self.topic.clone(),
            transactional_id,
            key,
        }
    }
}

/// What the broker knows a shard by.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    kafka: ClientConfig,
    transactional_id: String,
    topic: String,
    key: String,
}

#[derive(Debug, thiserror::Error)]
enum TakeOverError {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Seat {
    /// Fences whoever published this shard before, and reads back what was committed. A shard that was never published
    /// begins at its `beginning`.
    pub(crate) async fn take(
        &self,
        identity: Identity,
        beginning: Option<Cursor>,
    ) -> Result<(Arc<Publisher>, Cursor), End> {
        let (publisher, last) = self.fence().await?;
        let taken = match last.or(beginning) {
            None => Ok(Cursor::beginning(identity)),
            Some(cursor) if cursor.identity == identity => Ok(cursor),
            Some(cursor) => Err(End::wrong_database(&cursor.identity, &identity)),
        };
        match taken {
            Ok(cursor) => Ok((publisher, cursor.claimed_by(Uuid::now_v7()))),
            Err(end) => {
                close(publisher).await;
                Err(end)
            }
        }
    }

    async fn fence(&self) -> Result<(Arc<Publisher>, Option<Cursor>), End> {
        let seat = self.clone();
        let fenced = tokio::task::spawn_blocking(move || seat.fence_and_read()).await;
        match fenced {
            Ok(Ok((publisher, last))) => Ok((Arc::new(publisher), last)),
            Ok(Err(TakeOverError::Journal(error @ JournalError::Unreadable { .. }))) => {
                Err(End::Stopped {
                    code: "relay.cursor_unreadable",
                    reason: error.to_string(),
                })
            }
            Ok(Err(error)) => Err(End::Again(error.to_string())),
            Err(panic) => Err(End::Again(panic.to_string())),
        }
    }

    /// Ends the tenure of whoever publishes this shard; what it said last, where that can be read.
    pub(crate) async fn vacate(&self) -> Result<Option<(Arc<Publisher>, Cursor)>, String> {
        match self.fence().await {
            Ok((publisher, Some(last))) => Ok(Some((publisher, last))),
            Ok((publisher, None)) => {
                close(publisher).await;
                Ok(None)
            }
            // It is about to be put elsewhere, which is the way out of this.
            Err(End::Stopped { .. }) => Ok(None),
            Err(end) => Err(end.reason()),
        }
    }

    /// The last cursor in Kafka; none when there is none that can be read.
    pub(crate) async fn last_cursor(&self) -> Result<Option<Cursor>, String> {
        let seat = self.clone();
        let last = tokio::task::spawn_blocking(move || {
            let journal = Journal::new(&seat.kafka, &seat.topic);
            journal.ensure_topic()?;
            journal.last(&seat.key)
        })
        .await;
        match last {
            Ok(Err(JournalError::Unreadable { .. })) => Ok(None),
            Ok(last) => last.map_err(|error| error.to_string()),
            Err(panic) => Err(panic.to_string()),
        }
    }

    fn fence_and_read(&self) -> Result<(Publisher, Option<Cursor>), TakeOverError> {
        let journal = Journal::new(&self.kafka, &self.topic);
        journal.ensure_topic()?;
        let publisher =
            Publisher::take_over(&self.kafka, &self.transactional_id, &self.topic, &self.key)?;
        let last = journal.last(&self.key)?;
        failpoint::hit(Point::JournalAfter);
        Ok((publisher, last))
    }

    /// Why the broker refuses this tenure: another relay claimed the source, or the broker gave up a transaction that
    /// took too long (a frozen process, a network that was away) and this relay may come back.
    pub(crate) async fn refused(&self, writer: Uuid, text: &str) -> End {
        self.claimed_by_another(writer)
            .await
            .unwrap_or_else(|| End::Refused {
                writer,
                reason: format!("the transaction was given up: {text}"),
            })
    }

    /// The end of a tenure whose shard another relay has claimed since. Not known is treated like none: to take over again
    /// is safe, only not polite.
    pub(crate) async fn claimed_by_another(&self, writer: Uuid) -> Option<End> {
        let seat = self.clone();
        let last = tokio::task::spawn_blocking(move || {
            Journal::new(&seat.kafka, &seat.topic).last(&seat.key)
        })
        .await;
        match last {
            Ok(Ok(Some(cursor))) if cursor.writer != writer => Some(End::Stopped {
                code: FENCED,
                reason: "another relay has taken this shard over".into(),
            }),
            _ => None,
        }
    }
}

/// Closing a producer waits for its threads: not on a thread of the async runtime.
pub(crate) async fn close(publisher: Arc<Publisher>) {
    let closed = tokio::task::spawn_blocking(move || drop(publisher)).await;
    if let Err(panic) = closed {
        tracing::debug!(%panic, "closing the producer");
    }
}

/// Writes to a cursor that is used no more which layout came after its own. Not needed for anything but to notice a
/// database that was set back.
pub(crate) async fn end(publisher: &Arc<Publisher>, cursor: Cursor, next: Uuid) {
    let last = Cursor {
        ended_by: Some(next),
        ..cursor
    };
    if let Err(error) = publish(Arc::clone(publisher), Arc::default(), last).await {
        tracing::debug!(%error, "the end of a layout is not in its cursor");
    }
}
