//! Taking a source over, and finding out who did when the broker refuses this relay.
//!
//! Leases decide when to take over; the broker's fencing is what makes it safe, with or without them.

use std::sync::Arc;

use rdkafka::config::ClientConfig;
use uuid::Uuid;

use crate::cursor::{Cursor, Identity};
use crate::failpoint::{self, Point};
use crate::instance::{End, FENCED};
use crate::publish::{Journal, JournalError, PublishError, Publisher};
use crate::settings::Settings;

/// What the broker knows a source by.
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
    pub(crate) fn new(kafka: &ClientConfig, settings: &Settings, source: &str) -> Self {
        Self {
            kafka: kafka.clone(),
            transactional_id: settings.transactional_id(source),
            topic: settings.cursor_topic(),
            key: format!("{source}/0"),
        }
    }

    /// Fences whoever published this source before, reads back what was committed, and claims the cursor.
    pub(crate) async fn take(&self, identity: Identity) -> Result<(Arc<Publisher>, Cursor), End> {
        let (seat, writer) = (self.clone(), Uuid::now_v7());
        let taken = tokio::task::spawn_blocking(move || seat.take_blocking(&identity, writer));
        match taken.await {
            Ok(taken) => taken.map(|(publisher, cursor)| (Arc::new(publisher), cursor)),
            Err(panic) => Err(End::Again(panic.to_string())),
        }
    }

    fn take_blocking(&self, identity: &Identity, writer: Uuid) -> Result<(Publisher, Cursor), End> {
        let (publisher, last) = self.fence_and_read().map_err(|error| match error {
            TakeOverError::Journal(error @ JournalError::Unreadable { .. }) => End::Stopped {
                code: "relay.cursor_unreadable",
                reason: error.to_string(),
            },
            error => End::Again(error.to_string()),
        })?;
        let cursor = match last {
            None => Cursor::beginning(identity.clone()),
            Some(cursor) if cursor.identity == *identity => cursor,
            Some(cursor) => return Err(End::wrong_database(&cursor.identity, identity)),
        };
        let cursor = cursor.claimed_by(writer);
        publisher
            .publish(&[], &cursor)
            .map_err(|error| End::Again(error.to_string()))?;
        Ok((publisher, cursor))
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

    /// Fences whoever publishes this source, and puts its cursor elsewhere.
    pub(crate) async fn put(&self, cursor: Cursor) -> Result<(), End> {
        let seat = self.clone();
        let put = tokio::task::spawn_blocking(move || {
            let publisher =
                Publisher::take_over(&seat.kafka, &seat.transactional_id, &seat.topic, &seat.key)?;
            publisher.publish(&[], &cursor.claimed_by(Uuid::now_v7()))
        })
        .await;
        match put {
            Ok(put) => put.map_err(|error| End::Again(error.to_string())),
            Err(panic) => Err(End::Again(panic.to_string())),
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
    ///
    /// Of two relays that find themselves refused, only one can read the other's claim, and ends.
    pub(crate) async fn refused(&self, writer: Uuid, text: &str) -> End {
        let seat = self.clone();
        let last = tokio::task::spawn_blocking(move || {
            Journal::new(&seat.kafka, &seat.topic).last(&seat.key)
        })
        .await;
        match last {
            Ok(Ok(Some(cursor))) if cursor.writer != writer => End::Stopped {
                code: FENCED,
                reason: format!("another relay has taken this source over: {text}"),
            },
            // Not known is treated like the second: to take over again is safe, only not polite.
            _ => End::Again(format!("the transaction was given up: {text}")),
        }
    }
}
