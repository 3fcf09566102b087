//! Handlers that write a row for each record and then do what a script says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use oncebox::{BatchFailure, BatchHandler, Delivery, ErrorClass, Failure, Handler};
use sqlx::PgConnection;

use crate::rig::Note;

/// What the handler does with a record, after it has written the record's effect.
pub(crate) enum Act {
    Succeed,
    Fail(ErrorClass),
    Panic,
    Hang,
    /// Swallows a failed statement, as a careless handler does.
    Swallow,
    Take(Duration),
}

type Script = dyn Fn(&Delivery<Note>, usize) -> Act + Send + Sync;

/// Writes one row for each record, then does what the script says. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Scripted {
    script: Arc<Script>,
    calls: Arc<AtomicUsize>,
}

impl Scripted {
    /// The script also gets the number of the call, from 0 on.
    pub(crate) fn new(
        script: impl Fn(&Delivery<Note>, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self {
            script: Arc::new(script),
            calls: Arc::default(),
        }
    }

    pub(crate) fn succeed() -> Self {
        Self::new(|_, _| Act::Succeed)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

pub(crate) fn text(delivery: &Delivery<Note>) -> &str {
    let Note::Noted(noted) = &delivery.message;
    &noted.text
}

#[async_trait]
impl Handler for Scripted {
    type Message = Note;

    async fn handle(
        &self,
        tx: &mut PgConnection,
        delivery: &Delivery<Note>,
    ) -> Result<(), Failure> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        write_effect(tx, delivery).await?;
        match (self.script)(delivery, call) {
            Act::Succeed => Ok(()),
            Act::Fail(class) => Err(Failure::new(
                class,
                "test.refused",
                format!("refused {}", text(delivery)),
            )),
            Act::Panic => panic!("the script says so"),
            Act::Hang => std::future::pending().await,
            Act::Swallow => {
                let _ = sqlx::query("select 1 / 0").execute(tx).await;
                Ok(())
            }
            Act::Take(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        }
    }
}

async fn write_effect(tx: &mut PgConnection, delivery: &Delivery<Note>) -> Result<(), sqlx::Error> {
    sqlx::query("insert into effects (event_id, key, text, partition, record_offset) values ($1, $2, $3, $4, $5)")
        .bind(delivery.event_id.as_uuid())
        .bind(delivery.record.key.as_deref())
        .bind(text(delivery))
        .bind(delivery.record.partition)
        .bind(delivery.record.offset)
        .execute(tx)
        .await?;
    Ok(())
}

/// Fails a whole batch when it holds a bad record, without saying which.
pub(crate) struct Unclear(pub(crate) Scripted);

#[async_trait]
impl BatchHandler for Unclear {
    type Message = Note;

    async fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<Note>],
    ) -> Result<(), BatchFailure> {
        for delivery in batch {
            if let Err(failure) = self.0.handle(&mut *tx, delivery).await {
                return Err(BatchFailure::Whole(failure));
            }
        }
        Ok(())
    }
}
