//! Ready-made checks for [`Server::check`](crate::Server::check).

use futures::{FutureExt, future::BoxFuture};
use sqlx::PgPool;

/// Asks the database for a sign of life, over a connection of the pool that requests use: an exhausted pool shows, too.
pub fn database(
    pool: PgPool,
) -> impl Fn() -> BoxFuture<'static, Result<(), sqlx::Error>> + Send + Sync + 'static {
    move || {
        let pool = pool.clone();
        async move { sqlx::query("select 1").execute(&pool).await.map(drop) }.boxed()
    }
}
