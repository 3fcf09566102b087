//! The event that is consumed, and what all of them together must have done.

use anyhow::ensure;
use sqlx::PgPool;

/// Different keys; each is an account.
pub(crate) const KEYS: u64 = 10_000;
/// Every so manieth key fails where keys fail: 1 % of them.
const FAILING: u64 = 100;
/// So that a record is of a usual size.
const NOTE_BYTES: usize = 200;

/// An amount moved to an account.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Moved {
    pub(crate) account: i64,
    pub(crate) amount: i64,
    /// Microseconds since 1970.
    pub(crate) sent_at: i64,
    pub(crate) note: String,
}

oncebox::event! {
    Moved = "oncebox.bench.Moved" on "moves" keyed by |event| event.account.to_string(),
    schema r#"{"type":"record","name":"Moved","namespace":"oncebox.bench","fields":[
        {"name":"account","type":"long"},{"name":"amount","type":"long"},{"name":"sent_at","type":"long"},
        {"name":"note","type":"string"}]}"#
}

oncebox::messages! {
    /// What the topic carries.
    pub(crate) enum Move { Moved }
    others dead_letter
}

impl Moved {
    /// The event of that number; the amounts of different accounts differ.
    pub(crate) fn numbered(number: u64) -> Self {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Self {
            account: signed(number % KEYS),
            amount: signed(1 + number % 97),
            sent_at: now_micros(),
            note: "n".repeat(NOTE_BYTES),
        }
    }
}

impl Move {
    pub(crate) fn moved(&self) -> &Moved {
        let Self::Moved(moved) = self;
        moved
    }
}

/// Whether the account is one of those that fail.
pub(crate) fn fails(account: i64) -> bool {
    account.unsigned_abs().is_multiple_of(FAILING)
}

pub(crate) fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

/// Makes the accounts, all empty.
pub(crate) async fn open_accounts(pool: &PgPool) -> Result<(), sqlx::Error> {
    let sql = format!(
        "create table accounts (id bigint primary key, balance bigint not null, events bigint not null);
         insert into accounts select n, 0, 0 from generate_series(0, {KEYS} - 1) as n;
         create table seen (event_id uuid primary key);
         vacuum analyze accounts"
    );
    for statement in sql.split(';') {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(pool)
            .await?;
    }
    Ok(())
}

/// How many events have taken effect.
pub(crate) async fn effects(pool: &PgPool) -> anyhow::Result<u64> {
    let events: i64 = sqlx::query_scalar("select sum(events)::bigint from accounts")
        .fetch_one(pool)
        .await?;
    Ok(u64::try_from(events)?)
}

/// Fails unless each of the first `records` events has taken effect once, and nothing else has.
pub(crate) async fn assert_once(pool: &PgPool, records: u64, what: &str) -> anyhow::Result<()> {
    let wrong: i64 = sqlx::query_scalar(
        "select count(*) from accounts left join (
             select n % $2 as id, count(*) as events, sum(1 + n % 97)::bigint as balance
             from generate_series(0, $1 - 1) as n group by 1) as expected using (id)
         where accounts.events <> coalesce(expected.events, 0) or accounts.balance <> coalesce(expected.balance, 0)",
    )
    .bind(i64::try_from(records)?)
    .bind(i64::try_from(KEYS)?)
    .fetch_one(pool)
    .await?;
    ensure!(
        wrong == 0,
        "{what}: {wrong} accounts are not what {records} events, each once, make of them"
    );
    Ok(())
}
