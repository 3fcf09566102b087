//! What a failure of a record leads to, and waiting for room where it leads to the parking.

use std::time::Duration;

use chrono::Utc;
use telemetry::emit;

use super::Worker;
use crate::attempts;
use crate::consumer::batch::Chunk;
use crate::consumer::happening::{ParkingFull, RetryScheduled};
use crate::consumer::transaction::{Judged, Verdict};
use crate::consumer::waiting::Stopped;
use crate::failure::{ErrorClass, Failure};
use crate::handler::BatchHandler;
use crate::parking::decide::{Next, after_failure};

/// Between looks for room in the parking.
const ROOM_WAIT: Duration = Duration::from_millis(200);

impl<H: BatchHandler> Worker<H> {
    /// What a failure of the chunk's only record leads to: a verdict, or another attempt at once.
    pub(super) async fn judge(
        &mut self,
        chunk: &Chunk<H::Message>,
        failure: Failure,
    ) -> Result<Option<Verdict>, Stopped> {
        let Some(delivery) = chunk.deliveries.first() else {
            return Ok(None);
        };
        if failure.class == ErrorClass::Outage {
            self.waiting.wait_out(&failure).await?;
            return Ok(None);
        }
        self.waiting.outage_over();
        let offset = delivery.record.offset;
        let event_id = delivery.event_id.as_uuid();
        let before = self
            .attempted
            .get(&offset)
            .filter(|attempted| attempted.event_id == event_id);
        let attempts = before.map_or(0, |attempted| attempted.attempts.max(0).unsigned_abs()) + 1;
        let first_failed_at = before.map_or_else(Utc::now, |attempted| attempted.first_failed_at);
        let policy = &self.handling.settings.retry;
        let next = after_failure(policy, failure.class, attempts, false);
        if let Next::Again | Next::Park(_) = next {
            emit(RetryScheduled {
                group: &self.handling.settings.group,
                record: &delivery.record,
                failure: &failure,
                attempts,
                delay: match next {
                    Next::Park(delay) => delay,
                    _ => Duration::ZERO,
                },
            });
        }
        let judged = |failure| Judged {
            failure,
            attempts,
            first_failed_at,
        };
        match next {
            Next::Bury => return Ok(Some(Verdict::Bury(judged(failure)))),
            Next::Park(delay) => return Ok(Some(Verdict::Park(judged(failure), delay))),
            Next::Again => {}
        }
        let attempted = loop {
            let counted = attempts::count(
                &self.handling.pool,
                self.tenure.place(),
                self.tenure.epoch,
                &delivery.record,
                event_id,
                &failure,
            );
            match counted.await {
                Ok(Some(attempted)) => break attempted,
                Ok(None) => return Err(self.waiting.superseded().await),
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        };
        self.waiting.outage_over();
        self.attempted.insert(offset, attempted);
        self.waiting.go_on()?;
        Ok(None)
    }

    /// Waits while as many records are parked as may be. It holds the partition up: that is the bound.
    pub(super) async fn wait_for_room(&self) -> Result<(), Stopped> {
        let limit = i64::try_from(self.handling.settings.parked_limit).unwrap_or(i64::MAX);
        let place = self.tenure.place();
        let say = |full, records| {
            emit(ParkingFull {
                group: place.consumer,
                topic: place.topic,
                partition: place.partition,
                full,
                records,
            });
        };
        if self.tenure.records() < limit {
            return Ok(());
        }
        say(true, self.tenure.records());
        self.waiting.note(Some(format!(
            "{} records of {}/{} are parked, which is the limit",
            self.tenure.records(),
            place.topic,
            place.partition
        )));
        let waited = async {
            while self.tenure.records() >= limit {
                self.waiting.sleep(ROOM_WAIT).await?;
            }
            Ok(())
        };
        let waited = waited.await;
        say(false, self.tenure.records());
        self.waiting.note(None);
        waited
    }
}
