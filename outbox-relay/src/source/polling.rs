//! The polling source: asks the outbox for what a new snapshot sees and the settled one does not.
//!
//! Each question is one statement, so nothing is held open between two of them: no old snapshot that keeps
//! vacuum away, no session state that a connection pooler would lose.
//!
//! A window is never cut by transaction id: two transactions may lock one aggregate in the opposite order of their
//! ids, and only `seq` over the whole window is commit order for a key. Nor is there a lower bound of `seq` to be had
//! from the sequence: a row may draw its number before its transaction gets an id, so a snapshot that does not know
//! the transaction yet may be younger than the number.

mod copy;
mod desk;
mod layout;
mod link;
mod parked;
mod partitions;
mod piece;
mod question;
mod reset;
mod roster;
mod shape;
mod statements;
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
use crate::reset::{By, Reset};
use crate::shard::{Layout, Shard};
use link::Link;
use piece::Piece;
use statements::Statements;

pub use desk::{Choice, Decided, Decision, ParkedRow, Parkings};
pub use roster::{LeaseRow, Member, Roster, Tenant};
pub use table::Table;

/// Reads one shard of one database's outbox over one connection.
#[derive(Debug)]
pub struct PollingSource {
    link: Link,
    configured: Table,
    /// The table as it was found.
    table: Table,
    shard: Shard,
    statements: Statements,
    /// Whether the last look found rows.
    lively: bool,
    piece: Piece,
}

impl PollingSource {
    /// A source on that table of the database at `url`, undivided. Connects when it is first asked.
    ///
    /// # Errors
    /// [`SourceError::Database`] when that is no PostgreSQL address.
    pub fn new(url: &str, table: &Table) -> Result<Self, SourceError> {
        Ok(Self::over(Link::to(url)?, table, Shard::ONLY))
    }

    fn over(link: Link, table: &Table, shard: Shard) -> Self {
        Self {
            link,
            configured: table.clone(),
            table: table.clone(),
            shard,
            statements: Statements::of(table, shard),
            lively: false,
            piece: Piece::new(),
        }
    }
}

#[async_trait]
impl Source for PollingSource {
    fn another(&self, shard: Shard) -> Self {
        Self::over(self.link.another(), &self.configured, shard)
    }

    fn look_at(&mut self, shard: Shard) {
        if self.shard != shard {
            self.shard = shard;
            self.statements = Statements::of(&self.table, shard);
        }
    }

    async fn identity(&mut self) -> Result<Identity, SourceError> {
        let configured = self.configured.clone();
        let table = self
            .link
            .ask(async |connection| shape::check(connection, &configured).await)
            .await?;
        if table != self.table {
            self.statements = Statements::of(&table, self.shard);
            self.table = table;
        }
        self.link.identity()
    }

    async fn read(
        &mut self,
        cursor: &Cursor,
        limits: Limits,
        until: Option<&Snapshot>,
    ) -> Result<Batch, SourceError> {
        let (statements, lively, piece) = (&self.statements, self.lively, &mut self.piece);
        let batch = self
            .link
            .ask(async |connection| {
                read(connection, statements, cursor, limits, until, lively, piece).await
            })
            .await?;
        self.lively = !batch.rows.is_empty();
        Ok(batch)
    }

    async fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
        self.link
            .ask(async |connection| question::snapshot(connection).await)
            .await
    }

    async fn backlog(&mut self, cursor: &Cursor) -> Result<Backlog, SourceError> {
        let statements = &self.statements;
        self.link
            .ask(async |connection| question::backlog(connection, statements, cursor).await)
            .await
    }

    async fn keep_copy(&mut self, cursor: &Cursor) -> Result<(), SourceError> {
        let shard = self.shard.number();
        self.link
            .ask(async |connection| question::keep_copy(connection, shard, cursor).await)
            .await
    }

    async fn maintain(
        &mut self,
        settled: &Snapshot,
        upkeep: Upkeep,
    ) -> Result<Maintained, SourceError> {
        // Whoever made another table keeps it as well.
        let own = self.table.is_own();
        self.link
            .ask(async |connection| {
                parked::forget_dead(connection, upkeep.keep_dead).await?;
                if own {
                    partitions::drop_passed(connection, settled, upkeep.retention).await
                } else {
                    Ok(Maintained::default())
                }
            })
            .await
    }

    async fn claim(&mut self, writer: Uuid) -> Result<(), SourceError> {
        let shard = self.shard;
        self.link
            .ask(async |connection| parked::claim(connection, shard, writer).await)
            .await
    }

    fn forget_identity(&mut self) {
        self.link.forget();
    }

    async fn reset(
        &mut self,
        identity: &Identity,
        order: &Reset,
        change: (Uuid, Uuid),
    ) -> Result<Vec<Cursor>, SourceError> {
        let mut connection = self.link.take().await?;
        // Without a limit of time: every row may have to be written.
        let cursors = reset::reset(&mut connection, &self.table, identity, order, change).await?;
        self.link.keep(connection);
        Ok(cursors)
    }

    async fn copied_cursor(&mut self) -> Result<Option<(Cursor, DateTime<Utc>)>, SourceError> {
        let shard = self.shard;
        self.link
            .ask(async |connection| reset::copy(connection, shard).await)
            .await
    }

    async fn parked(&mut self, cursor: &Cursor) -> Result<Parked, SourceError> {
        let statements = &self.statements;
        self.link
            .ask(async |connection| parked::load(connection, statements, cursor).await)
            .await
    }

    async fn park(
        &mut self,
        rows: &[Park],
        first_pause: Duration,
        writer: Uuid,
    ) -> Result<(), SourceError> {
        let (statements, shard) = (&self.statements, self.shard);
        self.link
            .ask(async |connection| {
                parked::park(connection, statements, rows, first_pause, (shard, writer)).await
            })
            .await
    }

    async fn due(&mut self, limits: Limits, with_waiting: bool) -> Result<Due, SourceError> {
        let statements = &self.statements;
        self.link
            .ask(async |connection| parked::due(connection, statements, limits, with_waiting).await)
            .await
    }

    async fn parkings(&mut self) -> Result<Parkings, SourceError> {
        let shard = self.shard;
        self.link
            .ask(async |connection| desk::parkings(connection, shard).await)
            .await
    }

    async fn released(&mut self, seqs: &[i64]) -> Result<(), SourceError> {
        self.link
            .ask(async |connection| parked::released(connection, seqs).await)
            .await
    }

    async fn refused_again(
        &mut self,
        refused: &[Park],
        first_pause: Duration,
    ) -> Result<(), SourceError> {
        self.link
            .ask(async |connection| parked::refused_again(connection, refused, first_pause).await)
            .await
    }

    async fn roster(&mut self) -> Result<Roster, SourceError> {
        self.link
            .ask(async |connection| roster::look(connection).await)
            .await
    }

    async fn beat(
        &mut self,
        tenant: &Tenant,
        held: &[u16],
        offers: bool,
    ) -> Result<Roster, SourceError> {
        self.link
            .ask(async |connection| roster::beat(connection, tenant, held, offers).await)
            .await
    }

    async fn take_leases(
        &mut self,
        tenant: &Tenant,
        shards: &[u16],
        dead: &[Uuid],
    ) -> Result<Vec<u16>, SourceError> {
        self.link
            .ask(async |connection| roster::take(connection, tenant, shards, dead).await)
            .await
    }

    async fn give_back(&mut self, tenant: &Tenant, shards: &[u16]) -> Result<(), SourceError> {
        self.link
            .ask(async |connection| roster::give_back(connection, tenant, shards).await)
            .await
    }

    async fn leave(&mut self, tenant: &Tenant) -> Result<(), SourceError> {
        self.link
            .ask(async |connection| roster::leave(connection, tenant).await)
            .await
    }

    async fn layout(&mut self) -> Result<Layout, SourceError> {
        self.link
            .ask(async |connection| layout::layout(connection).await)
            .await
    }

    async fn beginning(&mut self, layout: Uuid) -> Result<Option<Cursor>, SourceError> {
        let shard = self.shard;
        self.link
            .ask(async |connection| layout::beginning(connection, layout, shard).await)
            .await
    }

    async fn mark(&mut self, change: Uuid, tenant: &Tenant) -> Result<bool, SourceError> {
        self.link
            .ask(async |connection| layout::mark(connection, change, tenant).await)
            .await
    }

    async fn keep_mark(&mut self, change: Uuid) -> Result<(), SourceError> {
        self.link
            .ask(async |connection| layout::keep_mark(connection, change).await)
            .await
    }

    async fn unmark(&mut self, change: Uuid) -> Result<(), SourceError> {
        self.link
            .ask(async |connection| layout::unmark(connection, change).await)
            .await
    }

    async fn divide(
        &mut self,
        change: (Uuid, Uuid),
        beginnings: &[Cursor],
        by: &By,
    ) -> Result<(), SourceError> {
        self.link
            .ask(async |connection| layout::divide(connection, change, beginnings, by).await)
            .await
    }
}

async fn read(
    connection: &mut PgConnection,
    statements: &Statements,
    cursor: &Cursor,
    limits: Limits,
    until: Option<&Snapshot>,
    lively: bool,
    piece: &mut Piece,
) -> Result<Batch, SourceError> {
    if let Some(window) = &cursor.window {
        let (snapshot, position) = (window.snapshot.clone(), window.position);
        return go_on(
            connection, statements, cursor, snapshot, position, limits, piece,
        )
        .await;
    }
    if let Some(until) = until {
        return read_until(connection, statements, cursor, limits, until, piece).await;
    }
    // The cheapest look first: while no transaction ends, there is nothing to find. Not where there was something a moment
    // ago: that costs a round trip, and there is more, most likely.
    if !lively {
        let now = question::snapshot(connection).await?;
        not_behind(&now, cursor)?;
        if now.ended_as(&cursor.settled) {
            return Ok(Batch::nothing(cursor.clone()));
        }
    }
    let found = question::open_window(connection, statements, &cursor.settled, limits).await?;
    not_behind(&found.snapshot, cursor)?;
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
        piece,
    )
    .await
}

/// A database that has seen fewer transactions than were published is an older state of it.
fn not_behind(now: &Snapshot, cursor: &Cursor) -> Result<(), SourceError> {
    let (settled, now) = (cursor.settled.xmax(), now.xmax());
    if now < settled {
        return Err(SourceError::Behind { settled, now });
    }
    Ok(())
}

/// The next rows of what an earlier snapshot sees; none when all of it is read.
async fn read_until(
    connection: &mut PgConnection,
    statements: &Statements,
    cursor: &Cursor,
    limits: Limits,
    until: &Snapshot,
    piece: &mut Piece,
) -> Result<Batch, SourceError> {
    if cursor.settled.ended_as(until) {
        return Ok(Batch::nothing(cursor.clone()));
    }
    let settled = &cursor.settled;
    let position = question::before_first(connection, statements, settled, until).await?;
    go_on(
        connection,
        statements,
        cursor,
        until.clone(),
        position,
        limits,
        piece,
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
    piece: &mut Piece,
) -> Result<Batch, SourceError> {
    let limits = Limits {
        rows: piece.rows(limits.rows),
        ..limits
    };
    let rows = question::read_window(
        connection,
        statements,
        &cursor.settled,
        &snapshot,
        position,
        limits,
    )
    .await?;
    *piece = Piece::after(limits.rows, rows.len());
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
