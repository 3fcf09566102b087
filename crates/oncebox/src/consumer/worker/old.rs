//! Records so old that their inbox rows may be forgotten.

use chrono::Utc;
use telemetry::emit;
use uuid::Uuid;

use super::Worker;
use crate::consumer::batch::{Chunk, Poison};
use crate::consumer::happening::OldMet;
use crate::consumer::waiting::Stopped;
use crate::handler::BatchHandler;
use crate::inbox::expiry::{self, Age, Way};
use crate::retention::SHORTEST;

/// Events that are older than the shortest retention: only these may be forgotten.
pub(super) fn old_ones<M>(chunk: &Chunk<M>) -> Vec<Uuid> {
    let young = Utc::now() - SHORTEST;
    let deliveries = chunk.deliveries.iter();
    deliveries
        .filter(|delivery| expiry::is_older(delivery.event_id.as_uuid(), &delivery.record, young))
        .map(|delivery| delivery.event_id.as_uuid())
        .collect()
}

impl<H: BatchHandler> Worker<H> {
    /// Drops what was finished before its row was forgotten, and turns into dead letters what nobody knows of. `old` are the
    /// events that [`old_ones`] found; those with a row are dropped already.
    pub(super) async fn sort_out_old(
        &mut self,
        chunk: &mut Chunk<H::Message>,
        old: &[Uuid],
    ) -> Result<(), Stopped> {
        let memory = loop {
            match expiry::ask(&self.handling.pool, self.tenure.place(), old).await {
                Ok(memory) => break memory,
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        };
        self.waiting.outage_over();
        let (mut finished, mut unknown) = (0, Vec::new());
        for delivery in std::mem::take(&mut chunk.deliveries) {
            let event_id = delivery.event_id.as_uuid();
            let way = Way::of(&delivery.record, self.replayed);
            match expiry::judge(&memory, event_id, &delivery.record, way) {
                Age::Unhandled => chunk.deliveries.push(delivery),
                Age::Finished => {
                    finished += 1;
                    if self.demand().is_some() {
                        chunk.pass(&delivery.record);
                    }
                }
                Age::Unknown => unknown.push(Poison {
                    failure: memory.failure(event_id, &delivery.record),
                    record: delivery.record,
                    event_id,
                    // To park it would only make it older.
                    slot: true,
                }),
            }
        }
        if finished > 0 || !unknown.is_empty() {
            let place = self.tenure.place();
            emit(OldMet {
                group: place.consumer,
                topic: place.topic,
                partition: place.partition,
                finished,
                unknown: unknown.len(),
            });
        }
        chunk.poison.append(&mut unknown);
        chunk.poison.sort_by_key(|poison| poison.record.offset);
        Ok(())
    }
}
