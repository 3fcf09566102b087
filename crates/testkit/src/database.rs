//! A database of a test's own, with the kit's tables in it; dropped when the test passes, kept when it fails.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

/// A fresh database on the test stack's server.
#[derive(Debug)]
pub struct TestDb {
    name: String,
    url: String,
    pool: PgPool,
}

impl TestDb {
    /// An empty database whose name begins with `label`.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub async fn empty(label: &str) -> Self {
        let server = super::postgres_address();
        let name = format!(
            "test_{label}_{}",
            &uuid::Uuid::now_v7().simple().to_string()[16..]
        );
        let mut admin = connect(&server).await;
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
            .execute(&mut admin)
            .await
            .unwrap();
        let url = with_database(&server, &name);
        let pool = PgPoolOptions::new()
            .max_connections(20)
            .acquire_timeout(Duration::from_secs(10))
            .connect(&url)
            .await
            .unwrap();
        Self { name, url, pool }
    }

    /// A database with the kit's tables.
    ///
    /// # Panics
    /// When the server cannot be reached, or the migration fails.
    pub async fn new(label: &str) -> Self {
        let database = Self::empty(label).await;
        oncebox::migrate(&database.pool).await.unwrap();
        database
    }

    /// Connections to it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for inspection: database {}", self.url);
            return;
        }
        let (name, server) = (self.name.clone(), super::postgres_address());
        // A thread with a runtime of its own: drop is not async, and the test's runtime is ending.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut admin = connect(&server).await;
                let sql = format!("drop database if exists {name} with (force)");
                sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(&mut admin)
                    .await
                    .unwrap();
            });
        });
        let _ = dropped.join();
    }
}

async fn connect(server: &str) -> PgConnection {
    PgConnection::connect(server)
        .await
        .unwrap_or_else(|error| panic!("PostgreSQL at {server}: {error}"))
}

fn with_database(server: &str, name: &str) -> String {
    let options =
        PgConnectOptions::from_str(server).unwrap_or_else(|error| panic!("{server}: {error}"));
    let user = options.get_username().to_owned();
    format!(
        "postgres://{user}@{}:{}/{name}",
        options.get_host(),
        options.get_port()
    )
}
