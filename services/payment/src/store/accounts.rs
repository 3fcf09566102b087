//! Merchant accounts, few and rarely changed.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};

use crate::domain::account::AccountName;
use crate::domain::money::Currency;

#[derive(Debug, FromRow)]
pub struct MerchantAccount {
    pub currency: String,
    pub account: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Sets the account of a currency; says whether there was none before.
pub async fn put(
    pool: &PgPool,
    currency: &Currency,
    account: &AccountName,
) -> Result<(MerchantAccount, bool), sqlx::Error> {
    #[derive(FromRow)]
    struct Put {
        #[sqlx(flatten)]
        account: MerchantAccount,
        created: bool,
    }
    // xmax is 0 in a row version that an insert made, and the locker's in one that replaced another.
    let put: Put = sqlx::query_as(
        "insert into merchant_accounts as m (currency, account) values ($1, $2)
         on conflict (currency) do update set account = excluded.account, updated_at = now()
         returning m.currency, m.account, m.created_at, m.updated_at, m.xmax = 0 as created",
    )
    .bind(currency.as_str())
    .bind(account.as_str())
    .fetch_one(pool)
    .await?;
    Ok((put.account, put.created))
}

/// All of them, by currency.
pub async fn list(pool: &PgPool) -> Result<Vec<MerchantAccount>, sqlx::Error> {
    sqlx::query_as(
        "select currency, account, created_at, updated_at from merchant_accounts order by currency",
    )
    .fetch_all(pool)
    .await
}

/// Removes it; says whether it was there. Payments that the provider was asked for already keep theirs.
pub async fn delete(pool: &PgPool, currency: &Currency) -> Result<bool, sqlx::Error> {
    let deleted = sqlx::query("delete from merchant_accounts where currency = $1")
        .bind(currency.as_str())
        .execute(pool)
        .await?;
    Ok(deleted.rows_affected() > 0)
}
