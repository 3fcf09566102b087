//! The transactional producers of one shard, of which one publishes at a time, in turns.
//!
//! A broker answers a commit before it has written the commit's markers into every partition. Until then it turns the
//! producer's next transaction away, and librdkafka asks again after 20 ms, whatever it would have taken. The next producer
//! need not wait: the transaction before is committed for good once that was answered (Apache KIP-98, on EndTxnRequest), and a
//! read_committed reader sees nothing of the later one before the markers of the earlier. With several, each has the time of
//! some transactions to get ready.
//!
//! What several ids do not weaken is fencing (guarantees G2 and G4), because of two rules:
//! - whoever takes over fences the first producer, then the others, and only then reads the cursor;
//! - what it publishes first, its claim, goes by the first producer.
//!
//! Of two relays that take over at the same time, the one that fenced the first producer earlier cannot claim, and has
//! published nothing. The other fenced all of them after whoever published before, so nothing of that can come after the cursor
//! that it read.

use std::sync::atomic::{AtomicUsize, Ordering};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};

use super::deliveries::Deliveries;
use super::outcome::PublishError;
use super::producer::{CALL_TIMEOUT, producer_config};
use crate::failpoint::{self, Point};

/// How many there are. A relay that knew of fewer would leave some unfenced: never lower it.
const PRODUCERS: usize = 4;

pub(super) struct Turns {
    first: BaseProducer<Deliveries>,
    others: Vec<BaseProducer<Deliveries>>,
    turn: AtomicUsize,
}

impl Turns {
    /// Fences all of whoever had them.
    pub(super) fn take_over(config: &ClientConfig, id: &str) -> Result<Self, PublishError> {
        // The others connect while the first is fenced.
        let first = create(config, id)?;
        let others = (2..=PRODUCERS).map(|number| create(config, &format!("{id}.{number}")));
        let others = others.collect::<Result<Vec<_>, _>>()?;
        failpoint::hit(Point::InitBefore);
        fence(&first)?;
        failpoint::hit(Point::InitBetween);
        fence_all(&others)?;
        failpoint::hit(Point::InitAfter);
        Ok(Self {
            first,
            others,
            turn: AtomicUsize::new(0),
        })
    }

    /// Whose turn it is.
    pub(super) fn current(&self) -> &BaseProducer<Deliveries> {
        let turn = self.turn.load(Ordering::Relaxed) % PRODUCERS;
        let other = turn.checked_sub(1).and_then(|other| self.others.get(other));
        other.unwrap_or(&self.first)
    }

    /// After a commit that was answered. Not after an abort: what librdkafka has to mend then, it mends in the same
    /// producer's next transaction.
    pub(super) fn pass(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }
}

fn create(config: &ClientConfig, id: &str) -> Result<BaseProducer<Deliveries>, PublishError> {
    producer_config(config, id)
        .create_with_context(Deliveries::default())
        .map_err(PublishError::at("create producer"))
}

/// All at once: a takeover waits for it, and each asks its own coordinator.
fn fence_all(producers: &[BaseProducer<Deliveries>]) -> Result<(), PublishError> {
    std::thread::scope(|scope| {
        let fencing = producers.iter().map(|other| scope.spawn(|| fence(other)));
        let fencing: Vec<_> = fencing.collect();
        fencing.into_iter().try_for_each(|fenced| {
            let fenced = fenced.join();
            fenced.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// Ends the transaction of whoever had the id, and whatever it would still send.
fn fence(producer: &BaseProducer<Deliveries>) -> Result<(), PublishError> {
    producer
        .init_transactions(CALL_TIMEOUT)
        .map_err(PublishError::at("init transactions"))
}
