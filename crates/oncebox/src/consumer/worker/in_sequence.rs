//! What of a chunk has its turn, where the consumer demands sequences.

use std::collections::BTreeMap;

use telemetry::emit;

use super::Worker;
use crate::consumer::batch::Chunk;
use crate::consumer::happening::SequenceDropped;
use crate::consumer::waiting::Stopped;
use crate::handler::BatchHandler;
use crate::sequence::{self, InSequence};

impl<H: BatchHandler> Worker<H> {
    /// How sequences are demanded. Of replays they never are: one comes when its turn is long over.
    pub(super) fn demand(&self) -> Option<InSequence> {
        let demand = self.handling.settings.in_sequence;
        demand.filter(|_| !self.replayed)
    }

    /// Leaves of the chunk what has its turn, by one look at the streams of its keys.
    pub(super) async fn put_in_order(
        &mut self,
        chunk: &mut Chunk<H::Message>,
    ) -> Result<(), Stopped> {
        let Some(demand) = self.demand() else {
            return Ok(());
        };
        let needed = chunk.streams_needed();
        let streams = loop {
            if needed.is_empty() {
                break BTreeMap::new();
            }
            let (pool, place) = (&self.handling.pool, self.tenure.place());
            match sequence::store::load(pool, place, &needed, demand.first).await {
                Ok(streams) => break streams,
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        };
        let dropped = chunk.arrange(streams, &mut self.tenure.lanes());
        emit(SequenceDropped {
            group: &self.handling.settings.group,
            topic: &self.partition.topic,
            records: dropped,
        });
        Ok(())
    }
}
