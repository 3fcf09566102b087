//! The other half of a partition's task: tries the first record of each parked key when it is due, and lets the others
//! of the key follow.
//!
//! It goes on beside the half that takes records from the topic, so that a slow attempt holds up parked keys at most.

mod in_sequence;
mod step;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::partition::Partition;
use super::tenure::Tenure;
use super::waiting::{Stopped, Waiting};
use super::worker::Handling;
use crate::failure::Failure;
use crate::handler::BatchHandler;
use crate::parking::store;

/// Between looks for orders of operators, while anything is parked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Drain<H> {
    handling: Arc<Handling<H>>,
    tenure: Arc<Tenure>,
    replayed: bool,
    waiting: Waiting,
    /// The parked record that is known to fail from a try at several, which counts as its attempt.
    blame: Option<(i64, Failure)>,
    /// What was known when the database was last asked for all parked keys.
    compared: Option<u64>,
}

impl<H: BatchHandler> Drain<H> {
    pub(super) fn new(
        handling: Arc<Handling<H>>,
        tenure: Arc<Tenure>,
        replayed: bool,
        waiting: Waiting,
    ) -> Self {
        Self {
            handling,
            tenure,
            replayed,
            waiting,
            blame: None,
            compared: None,
        }
    }

    pub(super) async fn run(mut self, partition: &Partition) -> Stopped {
        match self.work(partition).await {
            Err(stopped) => stopped,
            Ok(never) => match never {},
        }
    }

    async fn work(&mut self, partition: &Partition) -> Result<Infallible, Stopped> {
        let mut woken = self.handling.woken.subscribe();
        loop {
            let idle = self.tenure.lanes().is_empty();
            let pause = if idle {
                None
            } else {
                Some(self.attend_due().await?)
            };
            let until = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    // Nothing is parked: nothing is asked.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = partition.stop.cancelled() => return Err(Stopped),
                () = self.tenure.parked.notified() => {}
                // Never closed: this drain shares the sender.
                _ = woken.changed() => {}
                () = until => {}
            }
        }
    }

    /// Attends to every key that is due, one step each; returns how long there is nothing to do.
    async fn attend_due(&mut self) -> Result<Duration, Stopped> {
        self.waiting.heed_broker();
        let version = self.tenure.lanes().version();
        let due = loop {
            match store::due(&self.handling.pool, self.tenure.place()).await {
                Ok(due) => break due,
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        };
        self.waiting.outage_over();
        if due.is_empty() {
            self.compare(version).await?;
            return Ok(LOOK_EVERY);
        }
        let mut next = LOOK_EVERY;
        for key in due {
            if key.wait() > Duration::ZERO {
                next = next.min(key.wait());
                break;
            }
            match self.attend(key).await? {
                None => next = Duration::ZERO,
                // Only what an operator gave up goes on meanwhile.
                Some(wait) => next = next.min(wait),
            }
            self.waiting.go_on()?;
        }
        Ok(next)
    }

    /// Forgets keys that are not parked any more; those that are held stay. Only when something has changed.
    async fn compare(&mut self, version: u64) -> Result<(), Stopped> {
        if self.compared == Some(version) {
            return Ok(());
        }
        loop {
            match store::load(&self.handling.pool, self.tenure.place()).await {
                Ok((lanes, records)) => {
                    self.tenure.forget_others(version, &lanes, records);
                    self.compared = Some(version);
                    return Ok(());
                }
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        }
    }
}
