//! How far a consumer has come with the sequences of one key, and what becomes of the next record: decisions only.

use std::time::Duration;

use super::LARGEST;
use super::ranges::Ranges;

/// Runs of given-up sequences that are remembered for one key; beyond, what lies between the oldest counts as given up.
const MISSED_RUNS: usize = 100;
/// Runs of sequences that were finished ahead of their turn; beyond, the highest are forgotten, and waited for.
const AHEAD_RUNS: usize = 1_000;

/// One key's stream, as far as it is finished.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stream {
    /// Everything up to here is finished or given up; none while anything may come first.
    pub(super) last: Option<i64>,
    pub(super) ahead: Ranges,
    pub(super) missed: Ranges,
    pub(super) dead_to: Option<i64>,
    /// Of the row that it was read from; 0 where there is none.
    pub(super) version: i64,
}

/// Where a sequence lies in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// It is the next one.
    Next,
    /// It is the next one, behind a gap that was given up with all that waited behind it.
    Doomed,
    /// Others come first.
    Ahead,
    /// It is finished.
    Repeated,
    /// It was given up before it came.
    Late,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// It is handled.
    Handle,
    /// It is parked until the one that is missing comes.
    Wait,
    /// Another one of its sequence is finished: it is dropped.
    Drop,
    /// It comes after it was given up: it is dead-lettered.
    Late,
    /// It waited behind a gap that was given up: it is dead-lettered.
    GivenUp,
}

impl Stream {
    /// A stream of which nothing is known yet. `first` is the sequence that it begins with; none: whatever comes first.
    pub(crate) fn new(first: Option<u64>) -> Self {
        Self {
            last: first.map(|first| i64::try_from(first).unwrap_or(LARGEST).min(LARGEST) - 1),
            ahead: Ranges::default(),
            missed: Ranges::default(),
            dead_to: None,
            version: 0,
        }
    }

    /// The sequence that has to come next, where that is known.
    pub(crate) fn expected(&self) -> Option<i64> {
        self.last.map(|last| last + 1)
    }

    fn position(&self, sequence: i64) -> Position {
        let Some(last) = self.last else {
            return Position::Next;
        };
        if sequence <= last {
            if self.missed.contains(sequence) {
                Position::Late
            } else {
                Position::Repeated
            }
        } else if self.ahead.contains(sequence) {
            Position::Repeated
        } else if sequence - 1 > last {
            Position::Ahead
        } else if self.dead_to.is_some_and(|to| sequence <= to) {
            Position::Doomed
        } else {
            Position::Next
        }
    }

    /// A sequence is finished: handled, dead-lettered, or none of the consumer's business.
    pub(crate) fn finish(&mut self, sequence: i64) {
        match self.last {
            Some(last) if sequence <= last => self.missed.remove(sequence),
            Some(last) if sequence - 1 > last => {
                self.ahead.insert(sequence, sequence);
                self.ahead.cut_to(AHEAD_RUNS);
            }
            _ => self.reach(sequence),
        }
    }

    /// The gap before `sequence`, which waits behind it, is given up. `dead_to`: up to where what waits is
    /// dead-lettered; none when it is handled.
    pub(crate) fn give_up_before(&mut self, sequence: i64, dead_to: Option<i64>) {
        let Some(mut from) = self.expected() else {
            return;
        };
        for (first, last) in self.ahead.take_below(sequence) {
            self.missed.insert(from, first - 1);
            from = last + 1;
        }
        self.missed.insert(from, sequence - 1);
        self.missed.fill_to(MISSED_RUNS);
        self.dead_to = self.dead_to.max(dead_to);
        self.reach(sequence - 1);
    }

    fn reach(&mut self, sequence: i64) {
        let mut last = sequence;
        if self.ahead.contains(last + 1) {
            while self.ahead.contains(last + 1) {
                last += 1;
            }
            self.ahead.take_below(last + 1);
        }
        self.last = Some(last);
        // Passed: it says nothing any more.
        self.dead_to = self.dead_to.filter(|to| *to > last);
    }
}

/// Takes the records of one key one after the other and says what becomes of each, as if those before it were finished.
#[derive(Debug, Clone)]
pub(crate) struct Arrangement {
    stream: Stream,
    waits: bool,
}

impl Arrangement {
    pub(crate) fn new(stream: &Stream) -> Self {
        Self {
            stream: stream.clone(),
            waits: false,
        }
    }

    /// From here on everything waits that is not finished.
    pub(crate) fn hold(&mut self) {
        self.waits = true;
    }

    pub(crate) fn take(&mut self, sequence: i64) -> Fate {
        let fate = match self.stream.position(sequence) {
            Position::Repeated => return Fate::Drop,
            Position::Late => Fate::Late,
            Position::Next if !self.waits => Fate::Handle,
            Position::Doomed if !self.waits => Fate::GivenUp,
            Position::Next | Position::Doomed | Position::Ahead => {
                self.waits = true;
                return Fate::Wait;
            }
        };
        self.stream.finish(sequence);
        fate
    }

    /// A record that is finished without having been given to [`Arrangement::take`].
    pub(crate) fn pass(&mut self, sequence: i64) {
        self.stream.finish(sequence);
    }
}

/// How much longer a key waits for a missing sequence; none when it is given up. `waited`: since the first of the waiting
/// records was parked. `flowing`: since the consumer has been able to take what the topic holds without interruption,
/// for a record cannot come while nothing does.
pub(crate) fn wait_longer(
    deadline: Duration,
    waited: Duration,
    flowing: Duration,
) -> Option<Duration> {
    let left = deadline.saturating_sub(waited.min(flowing));
    (left > Duration::ZERO).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(stream: &Stream, sequences: &[i64]) -> Vec<Fate> {
        let mut arrangement = Arrangement::new(stream);
        sequences
            .iter()
            .map(|sequence| arrangement.take(*sequence))
            .collect()
    }

    #[test]
    fn what_comes_in_order_is_handled_and_the_rest_waits() {
        use Fate::{Drop, Handle, Wait};
        let stream = Stream::new(Some(1));
        assert_eq!(
            fates(&stream, &[1, 2, 2, 4, 3]),
            [Handle, Handle, Drop, Wait, Wait]
        );
        assert_eq!(
            fates(&stream, &[2, 1]),
            [Wait, Wait],
            "no overtaking in the parking"
        );
        assert_eq!(fates(&stream, &[0]), [Drop], "before the beginning");
        let anywhere = Stream::new(None);
        assert_eq!(
            fates(&anywhere, &[57, 58, 60, 56]),
            [Handle, Handle, Wait, Drop]
        );
        let mut parked = Arrangement::new(&stream);
        parked.hold();
        assert_eq!(parked.take(1), Wait);
    }

    #[test]
    fn what_needs_no_turn_closes_gaps() {
        let mut stream = Stream::new(Some(1));
        for sequence in [3, 4, 7] {
            stream.finish(sequence);
        }
        assert_eq!(stream.expected(), Some(1));
        assert_eq!(fates(&stream, &[4]), [Fate::Drop]);
        stream.finish(1);
        assert_eq!(stream.expected(), Some(2));
        stream.finish(2);
        assert_eq!(stream.expected(), Some(5));
    }

    #[test]
    fn a_gap_that_was_given_up_keeps_the_late_apart_from_the_repeated() {
        let mut stream = Stream::new(Some(1));
        stream.finish(1);
        stream.finish(4);
        stream.give_up_before(6, None);
        assert_eq!(stream.expected(), Some(6));
        let of = [1, 2, 3, 4, 5, 6];
        let late = [
            Fate::Drop,
            Fate::Late,
            Fate::Late,
            Fate::Drop,
            Fate::Late,
            Fate::Handle,
        ];
        assert_eq!(fates(&stream, &of), late);
        assert_eq!(
            fates(&stream, &[3, 3]),
            [Fate::Late, Fate::Drop],
            "it is kept once"
        );
    }

    #[test]
    fn what_waited_behind_a_gap_is_given_up_with_it_and_what_follows_is_not() {
        let mut stream = Stream::new(Some(1));
        stream.give_up_before(3, Some(4));
        assert_eq!(
            fates(&stream, &[3, 4, 5]),
            [Fate::GivenUp, Fate::GivenUp, Fate::Handle]
        );
        stream.finish(3);
        stream.finish(4);
        assert_eq!(stream.dead_to, None);
    }

    #[test]
    fn a_gap_is_waited_for_as_long_as_something_can_come() {
        let second = Duration::from_secs;
        assert_eq!(
            wait_longer(second(60), second(20), second(500)),
            Some(second(40))
        );
        assert_eq!(
            wait_longer(second(60), second(3_600), second(1)),
            Some(second(59))
        );
        assert_eq!(wait_longer(second(60), second(60), second(60)), None);
    }

    #[test]
    fn extremes_do_not_panic() {
        let mut stream = Stream::new(Some(u64::MAX));
        for sequence in [LARGEST, 0, LARGEST] {
            fates(&stream, &[sequence]);
            stream.finish(sequence);
        }
        let mut stream = Stream::new(Some(0));
        stream.finish(0);
        stream.give_up_before(LARGEST, Some(LARGEST));
        stream.finish(LARGEST);
        assert_eq!(fates(&stream, &[LARGEST]), [Fate::Drop]);
    }
}
