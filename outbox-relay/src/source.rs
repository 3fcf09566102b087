//! Where events come from: a database's outbox, read in windows. Polling is one way; the WAL can be another.

mod polling;
mod row;

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use polling::{
    Choice, Decided, Decision, LeaseRow, Member, ParkedRow, Parkings, PollingSource, Roster, Table,
    Tenant,
};
pub use row::Row;

use crate::cursor::{Cursor, Identity, Snapshot};
use crate::maintenance::Upkeep;
pub use crate::parking::{Park, Parked, Why};
use crate::reset::{By, Reset};
use crate::shard::{Layout, Shard};

/// Rows in the order in which they are to be published, and the cursor that holds once they are.
#[derive(Debug)]
pub struct Batch {
    /// The rows; none when nothing new has committed.
    pub rows: Vec<Row>,
    /// The place after them.
    pub next: Cursor,
    /// Whether more is known to wait, so that reading on at once is worth it.
    pub more: bool,
}

impl Batch {
    /// Nothing new since the cursor.
    pub fn nothing(cursor: Cursor) -> Self {
        Self {
            rows: Vec::new(),
            next: cursor,
            more: false,
        }
    }
}

/// How large a batch may become. Its first row always belongs to it, whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows.
    pub rows: i64,
    /// Bytes of payloads and headers together; what bounds the relay's memory.
    pub bytes: i64,
}

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The database did not answer, or refused.
    #[error("the database cannot be read: {0}")]
    Database(#[from] sqlx::Error),
    /// The database did not answer in time.
    #[error("the database did not answer within {0:?}")]
    Silent(Duration),
    /// The address leads to a standby, which cannot be read in windows.
    #[error("the address leads to a standby that is in recovery; the relay reads the primary")]
    Standby,
    /// A new connection leads to another database than the one before.
    #[error("the address led to {known} and leads to {found} now")]
    Swapped {
        /// What the cursor belongs to.
        known: Box<Identity>,
        /// What answers now.
        found: Box<Identity>,
    },
    /// Transaction ids ran backwards: an older state of the same cluster was brought back.
    #[error(
        "the database has given out transaction ids up to {now}, and up to {settled} was seen already: it was set back to an older state"
    )]
    Behind {
        /// The first id that the cursor does not see.
        settled: u64,
        /// The first id that the database has not given out.
        now: u64,
    },
    /// The sequence has given out less than was published: it was reset, or the table truncated with it.
    #[error(
        "the outbox's sequence has given out numbers up to {last}, and rows up to {published} were published: it was set back"
    )]
    SequenceBehind {
        /// The highest number that was published.
        published: i64,
        /// The last number that the sequence has given out.
        last: i64,
    },
    /// The mark of a change is another's by now, or was cleared for want of a sign.
    #[error("another relay has changed the source's layout meanwhile")]
    ChangeLost,
    /// There is no copy of the cursor beside the outbox.
    #[error("there is no copy of the cursor beside the outbox to go on from; choose now or begin")]
    NoCopy,
    /// Another relay has claimed the right to park.
    #[error("another relay has claimed the source in its database")]
    Ousted,
    /// The outbox is not the table that it has to be.
    #[error("{0} (relay.outbox_shape)")]
    Shape(String),
    /// The database said something that this program does not understand.
    #[error("the database answered {0}")]
    Unexpected(String),
}

impl SourceError {
    /// Whether a table of the kit is not there: an older service's database, or a user that may not use it.
    pub(crate) fn is_absent(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else {
            return false;
        };
        // undefined_table, insufficient_privilege, invalid_schema_name (PostgreSQL documentation, appendix A).
        matches!(error.code().as_deref(), Some("42P01" | "42501" | "3F000"))
    }
}

/// A shard of an outbox.
#[async_trait]
pub trait Source: Send + Sync + Sized + 'static {
    /// One more, for a shard of the same outbox, with a connection of its own that is made when it is first asked.
    fn another(&self, shard: Shard) -> Self;

    /// Goes on with that shard, over the same connection.
    fn look_at(&mut self, shard: Shard);

    /// Which database this is. Once it has said so, it refuses to read any other.
    async fn identity(&mut self) -> Result<Identity, SourceError>;

    /// The next rows after a cursor, within the limits, and only those that a snapshot sees where one is given. Reading
    /// changes nothing: asked again, it answers with the same rows, or with these and later ones.
    async fn read(
        &mut self,
        cursor: &Cursor,
        limits: Limits,
        until: Option<&Snapshot>,
    ) -> Result<Batch, SourceError>;

    /// What a transaction that begins now sees.
    async fn snapshot(&mut self) -> Result<Snapshot, SourceError>;

    /// Rows after a cursor, counted up to a bound, and the age of the oldest in seconds.
    async fn backlog(&mut self, cursor: &Cursor) -> Result<Backlog, SourceError>;

    /// Keeps a copy of the cursor beside the outbox, for lag figures and for dropping partitions.
    async fn keep_copy(&mut self, cursor: &Cursor) -> Result<(), SourceError>;

    /// Makes partitions ahead, drops those whose rows the settled snapshot sees and whose day ended longer ago than the
    /// retention, and forgets skipped rows in their time.
    async fn maintain(
        &mut self,
        settled: &Snapshot,
        upkeep: Upkeep,
    ) -> Result<Maintained, SourceError>;

    /// Accepts another database than before from now on.
    fn forget_identity(&mut self);

    /// Makes the database ready for cursors elsewhere and begins a new layout with them, as many shards as before.
    /// [`SourceError::ChangeLost`] without the mark of the change (first: its id, then the new layout's); nothing is changed
    /// then.
    async fn reset(
        &mut self,
        identity: &Identity,
        order: &Reset,
        change: (Uuid, Uuid),
    ) -> Result<Vec<Cursor>, SourceError>;

    /// The copy of the cursor beside the outbox, and when it was written.
    async fn copied_cursor(&mut self) -> Result<Option<(Cursor, DateTime<Utc>)>, SourceError>;

    /// Lets only this tenure park from now on.
    async fn claim(&mut self, writer: Uuid) -> Result<(), SourceError>;

    /// What lies parked, as a relay finds it that begins at that cursor.
    async fn parked(&mut self, cursor: &Cursor) -> Result<Parked, SourceError>;

    /// Parks rows of the outbox. Rows that are parked already stay as they are. [`SourceError::Ousted`] when another
    /// tenure has claimed the source since.
    async fn park(
        &mut self,
        rows: &[Park],
        first_pause: Duration,
        writer: Uuid,
    ) -> Result<(), SourceError>;

    /// Parked rows that may be published now, in their order. Rows that wait behind others are looked through only
    /// `with_waiting`: they may be many, and none is free before a row that was refused is gone.
    async fn due(&mut self, limits: Limits, with_waiting: bool) -> Result<Due, SourceError>;

    /// How many rows are parked.
    async fn parkings(&mut self) -> Result<Parkings, SourceError>;

    /// Forgets parked rows, which are published. Repeated, it changes nothing.
    async fn released(&mut self, seqs: &[i64]) -> Result<(), SourceError>;

    /// Puts parked rows off that the broker refused again, each for twice as long as before.
    async fn refused_again(
        &mut self,
        refused: &[Park],
        first_pause: Duration,
    ) -> Result<(), SourceError>;

    /// Who is at work on the source.
    async fn roster(&mut self) -> Result<Roster, SourceError>;

    /// The same, renewing the leases of those shards, and saying that the tenant is there if it offers itself.
    async fn beat(
        &mut self,
        tenant: &Tenant,
        held: &[u16],
        offers: bool,
    ) -> Result<Roster, SourceError>;

    /// Takes leases that nobody else has, or that somebody has who is known to be `dead`; returns which it got.
    async fn take_leases(
        &mut self,
        tenant: &Tenant,
        shards: &[u16],
        dead: &[Uuid],
    ) -> Result<Vec<u16>, SourceError>;

    /// Gives leases back before they expire.
    async fn give_back(&mut self, tenant: &Tenant, shards: &[u16]) -> Result<(), SourceError>;

    /// Offers itself no longer.
    async fn leave(&mut self, tenant: &Tenant) -> Result<(), SourceError>;

    /// How the source is divided.
    async fn layout(&mut self) -> Result<Layout, SourceError>;

    /// Where the shard begins in that layout, if it says so.
    async fn beginning(&mut self, layout: Uuid) -> Result<Option<Cursor>, SourceError>;

    /// Marks the layout as being changed by the tenant; false when another is at it.
    async fn mark(&mut self, change: Uuid, tenant: &Tenant) -> Result<bool, SourceError>;

    /// Keeps the mark for some more seconds, if it still stands.
    async fn keep_mark(&mut self, change: Uuid) -> Result<(), SourceError>;

    /// Gives a change up.
    async fn unmark(&mut self, change: Uuid) -> Result<(), SourceError>;

    /// Begins a new layout with a shard for each of the cursors. [`SourceError::ChangeLost`] without the mark of the change
    /// (first: its id, then the new layout's).
    async fn divide(
        &mut self,
        change: (Uuid, Uuid),
        beginnings: &[Cursor],
        by: &By,
    ) -> Result<(), SourceError>;
}

/// What of the parked rows may be published now, and when to look again.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// The rows.
    pub rows: Vec<Row>,
    /// Which of them were delayed: they hold no place in the order of their key.
    pub delayed: HashSet<i64>,
    /// When the next one may be published.
    pub next: Option<Duration>,
    /// The last line of the audit: another than before means that an operator changed something.
    pub audit: i64,
}

/// What a round of maintenance did and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Partitions that were dropped, or emptied where it is the default one.
    pub dropped: Vec<String>,
    /// Whether one more could be dropped and somebody held a lock.
    pub busy: bool,
    /// Partitions that there are.
    pub partitions: i64,
    /// Rows in the default partition, counted up to 10,000.
    pub default_rows: i64,
}

/// What waits in an outbox.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// Committed rows that are not published, up to [`Backlog::BOUND`].
    pub rows: i64,
    /// Age of the oldest of them; 0 when there is none.
    pub oldest_seconds: f64,
    /// Age of the oldest transaction that is open in the database, the relay's own aside; 0 when there is none. While it
    /// is open, nothing that it may have written is published, and the partition that it wrote to is not dropped.
    pub oldest_open_transaction_seconds: f64,
}

impl Backlog {
    /// Nothing, or nothing that is this relay's to know.
    pub(crate) const NOTHING: Self = Self {
        rows: 0,
        oldest_seconds: 0.0,
        oldest_open_transaction_seconds: 0.0,
    };

    /// Counting stops here: a figure for a dashboard must not cost a scan of millions.
    pub const BOUND: i64 = 100_000;
}
