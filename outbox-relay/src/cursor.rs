//! Where the relay stands in a source: a PostgreSQL snapshot, not an id.
//!
//! Everything that the settled snapshot sees has been published. A window is what a later snapshot sees
//! and the settled one does not; inside a window the relay stands at a `seq`. Source: PostgreSQL manual, 9.27.13,
//! "pg_snapshot components".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A set of transactions: those below `xmax`, without those in `running`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

/// Text that is no `pg_snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a PostgreSQL snapshot (xmin:xmax:list of running transactions)")]
pub struct NoSnapshot(String);

impl Snapshot {
    /// The snapshot that sees nothing: where a relay begins that never ran.
    pub fn nothing() -> Self {
        // Transaction ids begin at 3, so nothing committed is below 1.
        Self {
            xmin: 1,
            xmax: 1,
            running: Vec::new(),
        }
    }

    /// The first transaction id that the snapshot cannot see.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Transactions below `xmax` that were still running.
    pub fn running(&self) -> &[u64] {
        &self.running
    }

    /// Whether the same transactions had ended in both: then they see the same rows.
    pub fn ended_as(&self, other: &Self) -> bool {
        self.xmax == other.xmax && self.running == other.running
    }

    /// What both see.
    #[must_use]
    pub fn in_common(&self, other: &Self) -> Self {
        let xmax = self.xmax.min(other.xmax);
        let mut running: Vec<u64> = [&self.running[..], &other.running[..]]
            .concat()
            .into_iter()
            .filter(|xid| *xid < xmax)
            .collect();
        running.sort_unstable();
        running.dedup();
        Self {
            xmin: running.first().copied().unwrap_or(xmax),
            xmax,
            running,
        }
    }

    /// Whether the snapshot sees the rows of that committed transaction.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmax && !self.running.contains(&xid)
    }
}

impl FromStr for Snapshot {
    type Err = NoSnapshot;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || -> Option<Self> {
            let mut parts = text.splitn(3, ':');
            let xmin = parts.next()?.parse().ok()?;
            let xmax = parts.next()?.parse().ok()?;
            let list = parts.next()?;
            let running = if list.is_empty() {
                Vec::new()
            } else {
                list.split(',')
                    .map(|xid| xid.parse().ok())
                    .collect::<Option<_>>()?
            };
            Some(Self {
                xmin,
                xmax,
                running,
            })
        };
        parse().ok_or_else(|| NoSnapshot(text.to_owned()))
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (index, xid) in self.running.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{xid}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Snapshot {
    type Error = NoSnapshot;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Snapshot> for String {
    fn from(snapshot: Snapshot) -> Self {
        snapshot.to_string()
    }
}

/// A window that is too large for one transaction, and how far it has been published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// What the window sees.
    pub snapshot: Snapshot,
    /// Rows of the window with a `seq` up to this one are published.
    pub position: i64,
}

/// Which database a cursor belongs to. A restored or swapped database must not be read with another's cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `pg_control_system().system_identifier`: made by initdb, shared by standbys and physical backups.
    pub system: String,
    /// Name of the database in that cluster.
    pub database: String,
    /// Its `pg_database.oid`: another one under the same name was made anew, for example from a dump.
    pub oid: i64,
    /// Timeline: grows when a standby is promoted or a backup recovered.
    pub timeline: i32,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "database {} (oid {}) of cluster {} on timeline {}",
            self.database, self.oid, self.system, self.timeline
        )
    }
}

/// The relay's place in one source, as it lies in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Version of this shape.
    pub version: u32,
    /// The database.
    pub identity: Identity,
    /// Everything that it sees is published.
    pub settled: Snapshot,
    /// The window in hand, when one transaction does not hold it.
    pub window: Option<Window>,
    /// Which tenure of which relay wrote it: a relay that the broker refuses reads here whether another has taken over.
    #[serde(default)]
    pub writer: Uuid,
    /// The highest `seq` that was published: a sequence that has given out less was set back.
    #[serde(default)]
    pub last_seq: i64,
    /// Parked rows that this transaction, or one before it, published, until the database is known to have forgotten
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<i64>,
    /// The layout that came after this cursor's: a database that still has the earlier one was set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<Uuid>,
}

impl Cursor {
    /// The version that this program writes.
    pub const VERSION: u32 = 1;

    /// The beginning of a source.
    pub fn beginning(identity: Identity) -> Self {
        Self {
            version: Self::VERSION,
            identity,
            settled: Snapshot::nothing(),
            window: None,
            writer: Uuid::nil(),
            last_seq: 0,
            released: Vec::new(),
            ended_by: None,
        }
    }

    /// A place that was found from an earlier state of this cursor, once rows up to `last_seq` are published. What was
    /// released since then stays said.
    #[must_use]
    pub fn moved_to(&self, place: Self, last_seq: Option<i64>) -> Self {
        Self {
            released: self.released.clone(),
            last_seq: self.last_seq.max(last_seq.unwrap_or(0)),
            ..place
        }
    }

    /// The same place, and these parked rows published.
    #[must_use]
    pub fn releasing(&self, released: Vec<i64>) -> Self {
        Self {
            released,
            ..self.clone()
        }
    }

    /// The same place, claimed by a tenure.
    #[must_use]
    pub fn claimed_by(self, writer: Uuid) -> Self {
        Self { writer, ..self }
    }

    /// After the last row of a window.
    pub fn settled_at(&self, snapshot: Snapshot) -> Self {
        Self {
            settled: snapshot,
            window: None,
            ..self.clone()
        }
    }

    /// Inside a window.
    pub fn inside(&self, snapshot: Snapshot, position: i64) -> Self {
        Self {
            window: Some(Window { snapshot, position }),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_read_and_write_themselves() {
        for text in ["10:10:", "10:20:10,14,15"] {
            assert_eq!(text.parse::<Snapshot>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1:2", "a:2:", "1:2:x"] {
            assert!(text.parse::<Snapshot>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_snapshot_sees_what_had_committed() {
        let snapshot: Snapshot = "10:20:10,14".parse().unwrap();
        assert!(snapshot.sees(9) && snapshot.sees(11) && snapshot.sees(19));
        assert!(!snapshot.sees(10) && !snapshot.sees(14) && !snapshot.sees(20));
        assert!(!Snapshot::nothing().sees(3));
    }

    #[test]
    fn what_two_snapshots_have_in_common_is_what_both_see() {
        let (a, b): (Snapshot, Snapshot) = (
            "10:20:10,14".parse().unwrap(),
            "12:17:12,14".parse().unwrap(),
        );
        let both = a.in_common(&b);
        assert_eq!(
            (&both, both.to_string().as_str()),
            (&b.in_common(&a), "10:17:10,12,14")
        );
        for xid in 1..25 {
            assert_eq!(both.sees(xid), a.sees(xid) && b.sees(xid), "{xid}");
        }
    }
}
