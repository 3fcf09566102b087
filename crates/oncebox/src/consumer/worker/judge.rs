//! What a failure of a record leads to, and waiting for room where it leads to the parking.

use std::time::Duration;

use chrono::Utc;
use telemetry::emit;

use super::Worker;
use crate::attempts;
use crate::consumer::batch::Chunk;
use crate::consumer::happening::{ParkingFull, RetryScheduled};
use crate::consumer::tenure::Tenure;
use crate::consumer::transaction::{Judged, Verdict};
use crate::consumer::waiting::{Stopped, Waiting};
use crate::failure::Failure;
use crate::flood::guard::{Permit, Ruling, Side};
use crate::handler::BatchHandler;
use crate::parking::Lane;
use crate::parking::decide::{Next, after_failure};

/// Between looks for room in the parking.
const ROOM_WAIT: Duration = Duration::from_millis(200);
/// Between looks whether the flood guard has opened.
const PERMIT_WAIT: Duration = Duration::from_millis(100);

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
        self.waiting.outage_over();
        let offset = delivery.record.offset;
        let event_id = delivery.event_id.as_uuid();
        let before = self
            .attempted
            .get(&offset)
            .filter(|attempted| attempted.event_id == event_id);
        let counted = before.map_or(0, |attempted| attempted.attempts.max(0).unsigned_abs());
        let mut attempts = counted + 1;
        let first_failed_at = before.map_or_else(Utc::now, |attempted| attempted.first_failed_at);
        let policy = &self.handling.settings.retry;
        let mut next = after_failure(policy, failure.class, attempts, false);
        let guard = &self.tenure.guard;
        match guard.failed(Side::Topic, &delivery.record, &failure, next == Next::Bury) {
            Ruling::Count | Ruling::Bury => {}
            Ruling::PutOff => {
                attempts = counted;
                next = Next::Park(policy.delay_put_off(counted));
            }
            Ruling::Stay => return Ok(None),
        }
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

    /// Gives poison its dead-letter slots; what finds none is parked, and its key with it.
    pub(super) fn place_poison(&self, chunk: &mut Chunk<H::Message>) {
        if chunk.poison.iter().all(|poison| poison.slot) {
            return;
        }
        for mut poison in std::mem::take(&mut chunk.poison) {
            let (record, failure) = (&poison.record, &poison.failure);
            let guard = &self.tenure.guard;
            if poison.slot || guard.failed(Side::Topic, record, failure, true) == Ruling::Bury {
                poison.slot = true;
                chunk.poison.push(poison);
            } else {
                self.tenure.lanes().pin(Lane::of(&poison.record));
                chunk.put_off.push(poison);
            }
        }
        chunk.put_off.sort_by_key(|poison| poison.record.offset);
    }

    /// Waits until the flood guard lets so many records be tried. False where it lets one only.
    pub(super) async fn wait_for_permit(&mut self, records: usize) -> Result<bool, Stopped> {
        loop {
            match self.tenure.guard.permit(Side::Topic, records) {
                Permit::Go | Permit::Probe => return Ok(true),
                Permit::OneOnly => return Ok(false),
                // The other half may open it at any time.
                Permit::Wait(time) => self.waiting.sleep(time.min(PERMIT_WAIT)).await?,
            }
        }
    }

    /// See [`wait_for_room`].
    pub(super) async fn wait_for_room(&self) -> Result<(), Stopped> {
        let limit = self.handling.settings.parked_limit;
        wait_for_room(limit, &self.tenure, &self.waiting).await
    }
}

/// Waits while as many records are parked as may be. It holds the partition up: that is the bound.
pub(in crate::consumer) async fn wait_for_room(
    limit: usize,
    tenure: &Tenure,
    waiting: &Waiting,
) -> Result<(), Stopped> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let place = tenure.place();
    let say = |full, records| {
        emit(ParkingFull {
            group: place.consumer,
            topic: place.topic,
            partition: place.partition,
            full,
            records,
        });
    };
    if tenure.records() < limit {
        return Ok(());
    }
    say(true, tenure.records());
    waiting.note(Some(format!(
        "{} records of {}/{} are parked, which is the limit",
        tenure.records(),
        place.topic,
        place.partition
    )));
    let waited = async {
        while tenure.records() >= limit {
            waiting.sleep(ROOM_WAIT).await?;
        }
        Ok(())
    };
    let waited = waited.await;
    say(false, tenure.records());
    waiting.note(None);
    waited
}
