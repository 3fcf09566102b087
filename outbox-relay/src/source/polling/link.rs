//! The connection to one database: made when needed, checked to lead to the same database as before, thrown away
//! after any failure.
//!
//! Not a pool: a pool replaces a broken connection silently, and behind the new one may be another database (after a
//! restore, a failover, a changed name record), in which the cursor's transaction ids mean other transactions.

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::cursor::Identity;
use crate::source::SourceError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that says nothing for so long leads nowhere any more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// One database and, while all is well, a connection to it.
#[derive(Debug)]
pub(super) struct Link {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    identity: Option<Identity>,
}

impl Link {
    pub(super) fn to(url: &str) -> Result<Self, SourceError> {
        let options = PgConnectOptions::from_str(url)?
            .application_name("outbox-relay")
            // The planner's estimate for "xid >= x" is poor where most rows are published already; every question is
            // a scan of an index by design, which ends at its limit. That much being said, a plan serves for every
            // value: to plan a look anew, over a partition a day, would take six times as long as the look itself.
            .options([
                ("enable_seqscan", "off"),
                ("enable_bitmapscan", "off"),
                ("plan_cache_mode", "force_generic_plan"),
                ("jit", "off"),
            ]);
        Ok(Self {
            options,
            connection: None,
            identity: None,
        })
    }

    /// Another one to the same address, not yet connected.
    pub(super) fn another(&self) -> Self {
        Self {
            options: self.options.clone(),
            connection: None,
            identity: None,
        }
    }

    /// The connection, to be given back by [`Link::keep`] once it has answered; otherwise the next is a new one.
    pub(super) async fn take(&mut self) -> Result<PgConnection, SourceError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let connect = PgConnection::connect_with(&self.options);
        let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| SourceError::Silent(CONNECT_TIMEOUT))??;
        let found = answer(identity(&mut connection)).await?;
        match &self.identity {
            Some(known) if *known != found => Err(SourceError::Swapped {
                known: Box::new(known.clone()),
                found: Box::new(found),
            }),
            _ => {
                self.identity = Some(found);
                Ok(connection)
            }
        }
    }

    /// Asks over the connection, which is kept after an answer in time and thrown away otherwise.
    pub(super) async fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut PgConnection) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let mut connection = self.take().await?;
        let answered = answer(question(&mut connection)).await?;
        self.keep(connection);
        Ok(answered)
    }

    pub(super) fn keep(&mut self, connection: PgConnection) {
        self.connection = Some(connection);
    }

    /// Accepts whatever database the address leads to next.
    pub(super) fn forget(&mut self) {
        self.connection = None;
        self.identity = None;
    }

    /// Which database it leads to; known once there was a connection.
    pub(super) fn identity(&self) -> Result<Identity, SourceError> {
        self.identity
            .clone()
            .ok_or_else(|| SourceError::Unexpected("no identity".into()))
    }
}

/// An answer in time.
pub(super) async fn answer<T>(
    asked: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    tokio::time::timeout(ANSWER_TIMEOUT, asked)
        .await
        .unwrap_or(Err(SourceError::Silent(ANSWER_TIMEOUT)))
}

async fn identity(connection: &mut PgConnection) -> Result<Identity, SourceError> {
    // A standby's snapshots do not list running transactions the way a primary's do: a window read there loses rows.
    let standby: bool = sqlx::query_scalar("select pg_is_in_recovery()")
        .fetch_one(&mut *connection)
        .await?;
    if standby {
        return Err(SourceError::Standby);
    }
    // The timeline from the name of the WAL file being written: the control file names a promoted server's new one
    // only after its first checkpoint.
    let row = sqlx::query(
        "select (select system_identifier::text from pg_control_system()) as system,
                current_database()::text as database,
                (select oid::bigint from pg_database where datname = current_database()) as oid,
                ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer as timeline",
    )
    .fetch_one(connection)
    .await?;
    Ok(Identity {
        system: row.try_get("system")?,
        database: row.try_get("database")?,
        oid: row.try_get("oid")?,
        timeline: row.try_get("timeline")?,
    })
}
