//! The flood guard: an outage pauses a partition, it does not turn the topic into dead letters (guarantee G8).
//!
//! Two rules keep the dead-letter topic small, each for a partition of its own:
//!
//! - **Slots.** A dead letter costs a slot. In each window (5 minutes) there is one for free, and one more for each 20
//!   records that succeeded. A record that finds none is parked with its key and waits for one; nothing else waits.
//! - **Closed.** When five of the last 20 records fail in a way that is no dead letter, or the handler reports an outage, the
//!   guard closes: the partition pauses, and one record at a time probes, with growing delays. While it is closed no
//!   attempt is counted and no transient failure is given up. A success opens it.
//!
//! Permanent failures and poison are dead letters at once, as long as there are slots. When every record fails
//! permanently (a bad release, a producer that writes garbage) the slots are used up soon, the guard closes, and the topic stays
//! where it is until the cause is gone: after a repair it is handled as if nothing had been.
//!
//! Everything is decided by `guard`, functions over values. The slots of the window and the fact of being closed are
//! kept in the database (table `oncebox.flood_guard`): they are written with each dead letter, with each failure that is put
//! off, once a minute while records succeed, and when the partition is given away. A restart therefore gives no new
//! free slot and opens nothing. What a crash can lose is the credit of the last minute's successes: a dead letter then
//! waits for 20 more. The other way round, an invented slot, would let an outage through.

pub(crate) mod bucket;
pub(crate) mod guard;
pub(crate) mod recent;
pub(crate) mod store;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// When the dead-letter topic is protected from a flood. It applies to each partition by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FloodPolicy {
    /// Dead letters of a window that need no success; 1.
    pub free_slots: u32,
    /// Successes of a window that earn one more; 20. Zero means no limit.
    pub successes_per_slot: u32,
    /// Seconds of a window; 300.
    pub window_s: u64,
    /// Failing records among the last ones at which the guard closes; 5. Zero means never.
    pub failing_records: u32,
    /// How many last records are looked at; 20.
    pub of_records: u32,
    /// Milliseconds before the first probe, and with jitter; 200. Each later delay is twice as long.
    pub first_probe_ms: u64,
    /// Milliseconds that a delay between probes never exceeds, without jitter; 5,000.
    pub max_probe_ms: u64,
    /// Milliseconds after the guard has opened in which transient failures are not given up yet; 10,000. A dependency
    /// that comes and goes would otherwise get records dead-lettered in between.
    pub calm_ms: u64,
}

impl Default for FloodPolicy {
    fn default() -> Self {
        Self {
            free_slots: 1,
            successes_per_slot: 20,
            window_s: 300,
            failing_records: 5,
            of_records: 20,
            first_probe_ms: 200,
            max_probe_ms: 5_000,
            calm_ms: 10_000,
        }
    }
}

impl FloodPolicy {
    /// For replays: their failures go back to where they came from, and the replay job has its own limit and needs
    /// every outcome. An outage still closes the guard.
    pub(crate) fn for_replays(self) -> Self {
        Self {
            successes_per_slot: 0,
            ..self
        }
    }
}
