//! The polling source: asks the outbox for what a new snapshot sees and the settled one does not.
//!
//! Each question is one statement, so nothing is held open between two of them: no old snapshot that keeps
//! vacuum away, no session state that a connection pooler would lose.
//!
//! A window is never cut by transaction id: two transactions may lock one aggregate in the opposite order of their
//! ids, and only `seq` over the whole window is commit order for a key. Nor is there a lower bound of `seq` to be had
//! from the sequence: a row may draw its number before its transaction gets an id, so a snapshot that does not know
//! the transaction yet may be younger than the number.

mod desk;
mod lease;
mod link;
mod parked;
mod partitions;
mod question;
mod reset;
mod shape;
mod table;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Backlog, Batch, Due, Limits, Maintained, Source, SourceError};
use crate::cursor::{Cursor, Identity, Snapshot};
use crate::maintenance::Upkeep;
use crate::parking::{Park, Parked};
use crate::reset::Reset;
use link::Link;
use table::Statements;

pub use desk::{Choice, Decided, Decision, ParkedRow, Parkings};
pub use lease::{LeaseRow, Tenant};
pub use table::Table;

/// Reads one database's outbox over one connection.
#[derive(Debug)]
pub struct PollingSource {
    link: Link,
    configured: Table,
    /// The table as it was found.
    table: Table,
    statements: Statements,
}

impl PollingSource {
    /// A source on that table of the database at `url`. Connects when it is first asked.
    ///
    /// # Errors
    /// [`SourceError::Database`] when that is no PostgreSQL address.
    pub fn new(url: &str, table: &Table) -> Result<Self, SourceError> {
        Ok(Self {
            link: Link::to(url)?,
            configured: table.clone(),
            table: table.clone(),
            statements: Statements::of(table),
        })
    }
}

#[async_trait]
impl Source for PollingSource {
    async fn identity(&mut self) -> Result<Identity, SourceError> {
        let mut connection = self.link.take().await?;
        let table = link::answer(shape::check(&mut connection, &self.configured)).await?;
        if table != self.table {
            self.statements = Statements::of(&table);
            self.table = table;
        }
        self.link.keep(connection);
        self.link.identity()
    }

    async fn read(&mut self, cursor: &Cursor, limits: Limits) -> Result<Batch, SourceError> {
        let mut connection = self.link.take().await?;
        let batch = link::answer(read(&mut connection, &self.statements, cursor, limits)).await?;
        self.link.keep(connection);
        Ok(batch)
    }

    async fn backlog(&mut self, cursor: &Cursor) -> Result<Backlog, SourceError> {
        let mut connection = self.link.take().await?;
        let backlog =
            link::answer(question::backlog(&mut connection, &self.statements, cursor)).await?;
        self.link.keep(connection);
        Ok(backlog)
    }

    async fn keep_copy(&mut self, cursor: &Cursor) -> Result<(), SourceError> {
        let mut connection = self.link.take().await?;
        link::answer(question::keep_copy(&mut connection, cursor)).await?;
        self.link.keep(connection);
        Ok(())
    }

    async fn maintain(
        &mut self,
        cursor: &Cursor,
        upkeep: Upkeep,
    ) -> Result<Maintained, SourceError> {
        let mut connection = self.link.take().await?;
        link::answer(parked::forget_dead(&mut connection, upkeep.keep_dead)).await?;
        // Whoever made another table keeps it as well.
        let maintained = if self.table.is_own() {
            let work = partitions::drop_passed(&mut connection, &cursor.settled, upkeep.retention);
            link::answer(work).await?
        } else {
            Maintained::default()
        };
        self.link.keep(connection);
        Ok(maintained)
    }

    async fn claim(&mut self, writer: Uuid) -> Result<(), SourceError> {
        let mut connection = self.link.take().await?;
        link::answer(parked::claim(&mut connection, writer)).await?;
        self.link.keep(connection);
        Ok(())
    }

    fn forget_identity(&mut self) {
        self.link.forget();
    }

    async fn reset(&mut self, identity: &Identity, order: &Reset) -> Result<Cursor, SourceError> {
        let mut connection = self.link.take().await?;
        // Without a limit of time: every row may have to be written.
        let cursor = reset::reset(&mut connection, &self.table, identity, order).await?;
        self.link.keep(connection);
        Ok(cursor)
    }

    async fn copied_cursor(&mut self) -> Result<Option<(Cursor, DateTime<Utc>)>, SourceError> {
        let mut connection = self.link.take().await?;
        let copy = link::answer(reset::copy(&mut connection)).await?;
        self.link.keep(connection);
        Ok(copy)
    }

    async fn parked(&mut self, cursor: &Cursor) -> Result<Parked, SourceError> {
        let mut connection = self.link.take().await?;
        let parked = link::answer(parked::load(&mut connection, cursor, &self.table)).await?;
        self.link.keep(connection);
        Ok(parked)
    }

    async fn park(
        &mut self,
        rows: &[Park],
        first_pause: Duration,
        writer: Uuid,
    ) -> Result<(), SourceError> {
        let mut connection = self.link.take().await?;
        let park = parked::park(&mut connection, &self.statements, rows, first_pause, writer);
        link::answer(park).await?;
        self.link.keep(connection);
        Ok(())
    }

    async fn due(&mut self, limits: Limits, with_waiting: bool) -> Result<Due, SourceError> {
        let mut connection = self.link.take().await?;
        let due = link::answer(parked::due(&mut connection, limits, with_waiting)).await?;
        self.link.keep(connection);
        Ok(due)
    }

    async fn parkings(&mut self) -> Result<Parkings, SourceError> {
        let mut connection = self.link.take().await?;
        let parkings = link::answer(desk::parkings(&mut connection)).await?;
        self.link.keep(connection);
        Ok(parkings)
    }

    async fn released(&mut self, seqs: &[i64]) -> Result<(), SourceError> {
        let mut connection = self.link.take().await?;
        link::answer(parked::released(&mut connection, seqs)).await?;
        self.link.keep(connection);
        Ok(())
    }

    async fn refused_again(
        &mut self,
        refused: &[Park],
        first_pause: Duration,
    ) -> Result<(), SourceError> {
        let mut connection = self.link.take().await?;
        let put_off = parked::refused_again(&mut connection, refused, first_pause);
        link::answer(put_off).await?;
        self.link.keep(connection);
        Ok(())
    }

    async fn lease(&mut self) -> Result<Option<LeaseRow>, SourceError> {
        let mut connection = self.link.take().await?;
        let row = link::answer(lease::look(&mut connection)).await?;
        self.link.keep(connection);
        Ok(row)
    }

    async fn take_lease(
        &mut self,
        tenant: &Tenant,
        dead: Option<Uuid>,
    ) -> Result<bool, SourceError> {
        let mut connection = self.link.take().await?;
        let taken = link::answer(lease::take(&mut connection, tenant, dead)).await?;
        self.link.keep(connection);
        Ok(taken)
    }

    async fn renew_lease(&mut self, tenant: &Tenant) -> Result<bool, SourceError> {
        let mut connection = self.link.take().await?;
        let ours = link::answer(lease::renew(&mut connection, tenant)).await?;
        self.link.keep(connection);
        Ok(ours)
    }

    async fn release_lease(&mut self, tenant: &Tenant) -> Result<(), SourceError> {
        let mut connection = self.link.take().await?;
        link::answer(lease::give_back(&mut connection, tenant)).await?;
        self.link.keep(connection);
        Ok(())
    }
}

async fn read(
    connection: &mut PgConnection,
    statements: &Statements,
    cursor: &Cursor,
    limits: Limits,
) -> Result<Batch, SourceError> {
    if let Some(window) = &cursor.window {
        let (snapshot, position) = (window.snapshot.clone(), window.position);
        return go_on(connection, statements, cursor, snapshot, position, limits).await;
    }
    // The cheapest look first: while no transaction ends, there is nothing to find.
    let now = question::snapshot(connection).await?;
    if now.xmax() < cursor.settled.xmax() {
        return Err(SourceError::Behind {
            settled: cursor.settled.xmax(),
            now: now.xmax(),
        });
    }
    if now.ended_as(&cursor.settled) {
        return Ok(Batch::nothing(cursor.clone()));
    }
    let found = question::open_window(connection, statements, &cursor.settled, limits).await?;
    if let Some(last) = found.last_number.filter(|last| *last < cursor.last_seq) {
        return Err(SourceError::SequenceBehind {
            published: cursor.last_seq,
            last,
        });
    }
    if found.fits {
        return Ok(found.whole(cursor));
    }
    // A backlog: read from its first row on, in pieces.
    let position =
        question::before_first(connection, statements, &cursor.settled, &found.snapshot).await?;
    go_on(
        connection,
        statements,
        cursor,
        found.snapshot,
        position,
        limits,
    )
    .await
}

/// The rows of a window after a position.
async fn go_on(
    connection: &mut PgConnection,
    statements: &Statements,
    cursor: &Cursor,
    snapshot: Snapshot,
    position: i64,
    limits: Limits,
) -> Result<Batch, SourceError> {
    let rows = question::read_window(
        connection,
        statements,
        &cursor.settled,
        &snapshot,
        position,
        limits,
    )
    .await?;
    // Fewer rows than the limit may also mean that they reached the limit of bytes; only none at all is the end.
    let next = match rows.last() {
        Some(last) => cursor.inside(snapshot, last.seq),
        None => cursor.settled_at(snapshot),
    };
    // The next snapshot may see rows that committed while this window was read.
    Ok(Batch {
        rows,
        next,
        more: true,
    })
}
