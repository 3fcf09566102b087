//! What this service tells its operators: one struct a happening, log line and metric together.

use crate::domain::Answer;

/// A batch of commands was decided and written; its transaction is about to commit.
#[derive(Debug, Default)]
pub(crate) struct BatchDecided {
    reserved: u64,
    rejected: u64,
    committed: u64,
    released: u64,
}

impl BatchDecided {
    /// Adds one answer.
    pub(crate) fn count(&mut self, answer: &Answer) {
        match answer {
            Answer::Reserved => self.reserved += 1,
            Answer::Rejected(_) => self.rejected += 1,
            Answer::Committed => self.committed += 1,
            Answer::Released => self.released += 1,
        }
    }
}

impl telemetry::Happening for BatchDecided {
    fn emit(self) {
        tracing::debug!(
            reserved = self.reserved,
            rejected = self.rejected,
            committed = self.committed,
            released = self.released,
            "commands decided"
        );
        for (answer, count) in [
            ("reserved", self.reserved),
            ("rejected", self.rejected),
            ("committed", self.committed),
            ("released", self.released),
        ] {
            if count > 0 {
                metrics::counter!("oncebox_inventory_answers_total", "answer" => answer)
                    .increment(count);
            }
        }
    }
}
