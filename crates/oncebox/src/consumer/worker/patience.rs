//! Waiting: for the next attempt of a record, or for something that every record needs. Each wait ends at once when the
//! task is asked to end.

use std::time::{Duration, Instant};

use chrono::Utc;
use telemetry::emit;

use super::{Stopped, Worker};
use crate::attempts;
use crate::consumer::batch::Chunk;
use crate::consumer::happening::{OutageBegan, OutageEnded, RetryScheduled};
use crate::consumer::transaction::Verdict;
use crate::failure::{ErrorClass, Failure};
use crate::handler::BatchHandler;
use crate::retry::RetryPolicy;

impl<H: BatchHandler> Worker<H> {
    /// What a failure of the chunk's only record leads to: a verdict, or another attempt after waiting.
    pub(super) async fn judge(
        &mut self,
        chunk: &Chunk<H::Message>,
        failure: Failure,
    ) -> Result<Option<Verdict>, Stopped> {
        let Some(delivery) = chunk.deliveries.first() else {
            return Ok(None);
        };
        if failure.class == ErrorClass::Outage {
            self.wait_out(&failure).await?;
            return Ok(None);
        }
        self.outage_over();
        let offset = delivery.record.offset;
        let event_id = delivery.event_id.as_uuid();
        let before = self
            .attempted
            .get(&offset)
            .filter(|attempted| attempted.event_id == event_id);
        let failed = before.map_or(0, |attempted| attempted.attempts.max(0).unsigned_abs()) + 1;
        let policy = self.handling.settings.retry;
        if failure.class != ErrorClass::Transient || failed > policy.retries {
            let first_failed_at =
                before.map_or_else(Utc::now, |attempted| attempted.first_failed_at);
            return Ok(Some(Verdict {
                failure,
                attempts: failed,
                first_failed_at,
            }));
        }
        let delay = policy.delay_after(failed);
        let attempted = loop {
            let handling = &self.handling;
            let counted = attempts::count(
                &handling.pool,
                &handling.settings.group,
                &delivery.record,
                event_id,
                &failure,
                delay,
            );
            match counted.await {
                Ok(attempted) => break attempted,
                Err(error) => self.wait_out(&error.into()).await?,
            }
        };
        self.outage_over();
        self.attempted.insert(offset, attempted);
        emit(RetryScheduled {
            group: &self.handling.settings.group,
            record: &delivery.record,
            failure: &failure,
            attempts: failed,
            delay,
        });
        self.sleep(delay).await?;
        Ok(None)
    }

    /// A record that failed before a restart waits for its time, as it would have without the restart.
    pub(super) async fn wait_until_due(
        &mut self,
        chunk: &Chunk<H::Message>,
    ) -> Result<(), Stopped> {
        let due = chunk
            .deliveries
            .first()
            .and_then(|delivery| self.attempted.get(&delivery.record.offset))
            .map(|attempted| attempted.next_attempt_at - Utc::now())
            .and_then(|left| left.to_std().ok());
        match due {
            // Never longer than a delay can be: the database's clock may differ from this one.
            Some(left) => {
                let longest = Duration::from_millis(self.handling.settings.retry.max_delay_ms) * 2;
                self.sleep(left.min(longest)).await
            }
            None => self.go_on(),
        }
    }

    /// Something is away: says so once, waits, and lets the caller try again. Nothing is counted.
    pub(super) async fn wait_out(&mut self, failure: &Failure) -> Result<(), Stopped> {
        let (topic, partition) = (&self.partition.topic, self.partition.number);
        let (_, times) = self.outage.get_or_insert_with(|| {
            emit(OutageBegan {
                group: &self.handling.settings.group,
                topic,
                partition,
                failure,
            });
            (Instant::now(), 0)
        });
        *times += 1;
        let delay = RetryPolicy::OUTAGE.delay_after(*times);
        let health = &self.handling.health;
        health.set_outage(topic, partition, Some(failure.to_string()));
        self.sleep(delay).await
    }

    pub(super) fn outage_over(&mut self) {
        if let Some((since, _)) = self.outage.take() {
            let (topic, partition) = (&self.partition.topic, self.partition.number);
            self.handling.health.set_outage(topic, partition, None);
            emit(OutageEnded {
                group: &self.handling.settings.group,
                topic,
                partition,
                lasted: since.elapsed(),
            });
        }
    }

    pub(super) async fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.partition.stop.cancelled() => Err(Stopped),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    pub(super) fn go_on(&self) -> Result<(), Stopped> {
        if self.partition.stop.is_cancelled() {
            return Err(Stopped);
        }
        Ok(())
    }
}
