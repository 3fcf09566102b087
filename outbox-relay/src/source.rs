//! Where events come from: a database's outbox, read in windows. Polling is one way; the WAL can be another.

mod polling;
mod row;

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

pub use polling::{LeaseRow, PollingSource, Tenant};
pub use row::Row;

use crate::cursor::{Cursor, Identity};

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
    /// The outbox is not the table that it has to be.
    #[error("{0} (relay.outbox_shape)")]
    Shape(String),
    /// The database said something that this program does not understand.
    #[error("the database answered {0}")]
    Unexpected(String),
}

/// An outbox.
#[async_trait]
pub trait Source: Send {
    /// Which database this is. Once it has said so, it refuses to read any other.
    async fn identity(&mut self) -> Result<Identity, SourceError>;

    /// The next rows after a cursor, within the limits. Reading changes nothing: asked again, it answers
    /// with the same rows, or with these and later ones.
    async fn read(&mut self, cursor: &Cursor, limits: Limits) -> Result<Batch, SourceError>;

    /// Rows after a cursor, counted up to a bound, and the age of the oldest in seconds.
    async fn backlog(&mut self, cursor: &Cursor) -> Result<Backlog, SourceError>;

    /// Keeps a copy of the cursor beside the outbox, for lag figures and for dropping partitions.
    async fn keep_copy(&mut self, cursor: &Cursor) -> Result<(), SourceError>;

    /// Makes partitions ahead, and drops those whose rows the cursor has passed and whose day ended longer ago than the
    /// retention.
    async fn maintain(
        &mut self,
        cursor: &Cursor,
        retention: Duration,
    ) -> Result<Maintained, SourceError>;

    /// Who publishes this source now, if anybody ever did.
    async fn lease(&mut self) -> Result<Option<LeaseRow>, SourceError>;

    /// Takes the lease when nobody else has it, or the one who has it is known to be `dead`; says whether it did.
    async fn take_lease(
        &mut self,
        tenant: &Tenant,
        dead: Option<Uuid>,
    ) -> Result<bool, SourceError>;

    /// Makes the lease last anew; false when another has it.
    async fn renew_lease(&mut self, tenant: &Tenant) -> Result<bool, SourceError>;

    /// Gives the lease back before it expires.
    async fn release_lease(&mut self, tenant: &Tenant) -> Result<(), SourceError>;
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
    /// Counting stops here: a figure for a dashboard must not cost a scan of millions.
    pub const BOUND: i64 = 100_000;
}
