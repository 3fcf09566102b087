//! The points at which a relay can die or stall, for tests that kill or freeze it there.
//!
//! A process does nothing here unless `ONCEBOX_TEST_FAILPOINT` names a point, an action and the hit that counts:
//! `commit.before=kill@3` dies by SIGKILL when it comes to that point for the third time, `…=stop@3` freezes by SIGSTOP.
//! The tests go through [`Point::ALL`], so a new point is attacked as soon as it is listed.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, raise};

/// The environment variable that arms one point.
pub const VARIABLE: &str = "ONCEBOX_TEST_FAILPOINT";

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal, $role:ident;)*) => {
        /// A place in the relay's course: between two of its steps, or inside one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// Every point, in the order in which a relay comes to them.
            pub const ALL: &'static [Self] = &[$(Self::$point),*];

            /// Its name in the variable.
            pub fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)* }
            }

            /// Which part of the relay comes to it.
            pub fn role(self) -> Role {
                match self { $(Self::$point => Role::$role,)* }
            }
        }
    };
}

/// Which part of the relay comes to a point, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Once a tenure, before anything is published.
    TakeOver,
    /// Once a batch.
    Batch,
    /// Once a row.
    Row,
    /// Every few seconds, beside publishing.
    Observer,
    /// Several times in the duration of a lease, beside publishing.
    Lease,
    /// When the broker refuses a row.
    Park,
    /// When it takes the row after all.
    Release,
    /// When the source is divided anew.
    Divide,
}

points! {
    /// Before the predecessor is fenced.
    InitBefore = "init.before", TakeOver;
    /// The first of the predecessor's producers is fenced.
    InitBetween = "init.between", TakeOver;
    /// All are, the cursor is not yet read back.
    InitAfter = "init.after", TakeOver;
    /// The cursor is read back, the claim not yet written.
    JournalAfter = "journal.after", TakeOver;
    /// Before a window, or a piece of one, is read.
    ReadBefore = "read.before", Batch;
    /// A batch is in memory, no transaction is open.
    ReadAfter = "read.after", Batch;
    /// Before a transaction begins.
    BeginBefore = "begin.before", Batch;
    /// A transaction is open and empty.
    BeginAfter = "begin.after", Batch;
    /// Before a row is handed to librdkafka.
    ProduceBefore = "produce.before", Row;
    /// After a row was handed over; its predecessors may be at the broker already.
    ProduceAfter = "produce.after", Row;
    /// All rows are handed over, the cursor is not.
    CursorBefore = "cursor.before", Batch;
    /// Rows and cursor are handed over.
    CursorAfter = "cursor.after", Batch;
    /// All of it is acknowledged, the commit not asked for.
    CommitBefore = "commit.before", Batch;
    /// While the commit is asked for: the broker may have it or not.
    CommitDuring = "commit.during", Batch;
    /// The commit is answered, and nobody was told.
    CommitAfter = "commit.after", Batch;
    /// Before the cursor is copied to the database.
    CopyBefore = "copy.before", Observer;
    /// The copy is written.
    CopyAfter = "copy.after", Observer;
    /// Before refused rows, or rows behind them, are parked.
    ParkBefore = "park.before", Park;
    /// They are parked, the cursor has not passed them.
    ParkAfter = "park.after", Park;
    /// Parked rows are published, the database has not forgotten them.
    ForgetBefore = "forget.before", Release;
    /// It has forgotten them.
    ForgetAfter = "forget.after", Release;
    /// Before the lease is renewed.
    RenewBefore = "renew.before", Lease;
    /// The lease is renewed.
    RenewAfter = "renew.after", Lease;
    /// The source is marked as being changed, the other relays may not have noticed.
    MarkAfter = "mark.after", Divide;
    /// Every shard is taken, the common snapshot is not.
    TakenAll = "taken.all", Divide;
    /// Everything up to the snapshot is published, the new layout has not begun.
    DivideBefore = "divide.before", Divide;
    /// It has begun.
    DivideAfter = "divide.after", Divide;
}

/// What happens at the armed point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
}

/// One armed point.
#[derive(Debug)]
struct Armed {
    point: Point,
    action: Action,
    /// Hits that are still let through, then this one; it counts on afterwards and does not come here again.
    left: AtomicU32,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// Comes to a point. Costs one load where none is armed.
pub(crate) fn hit(point: Point) {
    if let Some(action) = due(point) {
        act(action);
    }
}

/// Comes to a point that lies inside `work`: the action falls on it from another thread.
pub(crate) fn during<T>(point: Point, work: impl FnOnce() -> T) -> T {
    let Some(action) = due(point) else {
        return work();
    };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Into the middle of a call that takes one to three milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(1));
            act(action);
        });
        work()
    })
}

fn due(point: Point) -> Option<Action> {
    let armed = ARMED.get_or_init(from_environment).as_ref()?;
    let counted = armed.point == point && armed.left.fetch_sub(1, Ordering::Relaxed) == 1;
    counted.then_some(armed.action)
}

fn act(action: Action) {
    let signal = match action {
        Action::Kill => Signal::SIGKILL,
        Action::Stop => Signal::SIGSTOP,
    };
    // Neither signal can be refused by the process that raises it.
    if let Err(error) = raise(signal) {
        tracing::error!(%error, "failpoint not taken");
    }
}

fn from_environment() -> Option<Armed> {
    let text = std::env::var(VARIABLE).ok()?;
    match text.parse::<Armed>() {
        Ok(armed) => {
            tracing::warn!(
                failpoint = text,
                "a failpoint is armed: this process is meant to fail"
            );
            Some(armed)
        }
        Err(NoFailpoint(problem)) => {
            tracing::error!(
                failpoint = text,
                problem,
                "failpoint not understood, none is armed"
            );
            None
        }
    }
}

/// A text that is no failpoint.
#[derive(Debug, PartialEq, Eq)]
struct NoFailpoint(&'static str);

impl FromStr for Armed {
    type Err = NoFailpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = text.split_once('=').ok_or(NoFailpoint("no ="))?;
        let (action, hit) = rest.split_once('@').ok_or(NoFailpoint("no @"))?;
        let point = Point::ALL.iter().find(|point| point.name() == name);
        let hit: u32 = hit.parse().map_err(|_| NoFailpoint("no number after @"))?;
        Ok(Self {
            point: *point.ok_or(NoFailpoint("no such point"))?,
            action: match action {
                "kill" => Action::Kill,
                "stop" => Action::Stop,
                _ => return Err(NoFailpoint("neither kill nor stop")),
            },
            left: AtomicU32::new(hit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_a_point_an_action_and_a_hit() {
        let armed: Armed = "commit.before=stop@3".parse().unwrap();
        assert_eq!(
            (armed.point, armed.action),
            (Point::CommitBefore, Action::Stop)
        );
        for wrong in [
            "commit.before",
            "commit.before=kill",
            "nowhere=kill@1",
            "read.after=burn@1",
            "read.after=kill@x",
        ] {
            assert!(wrong.parse::<Armed>().is_err(), "{wrong}");
        }
    }
}
