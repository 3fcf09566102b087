//! The stack that is measured on, and what this run has put there.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use e2e::guard::Guard;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::process;

/// Partitions of every topic that is measured.
pub(crate) const PARTITIONS: i32 = 6;
const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Where we measure.
pub(crate) struct Ground {
    pub(crate) kafka: String,
    /// The server's administration database.
    pub(crate) server: String,
    /// Begins the name of everything that this run makes.
    pub(crate) name: String,
    programs: PathBuf,
    logs: PathBuf,
    guard: Guard,
    postgres: Option<u32>,
    broker: Option<u32>,
    started: Instant,
    databases: Mutex<Vec<String>>,
    topics: Mutex<Vec<String>>,
}

/// Processor seconds of the servers, where they run on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Servers {
    pub(crate) postgres: Option<f64>,
    pub(crate) broker: Option<f64>,
}

impl Ground {
    /// What the environment points to, as for the tests.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        let set = |name: &str| {
            std::env::var(name).with_context(|| {
                format!("{name} is not set; `cargo dev bench` starts a stack and sets it")
            })
        };
        let (kafka, server) = (set("ONCEBOX_KAFKA")?, set("ONCEBOX_DATABASE_URL")?);
        let own = std::env::current_exe()?;
        let programs = std::env::var_os("ONCEBOX_TEST_BIN_DIR").map_or_else(
            || own.parent().unwrap_or(&own).to_owned(),
            std::convert::Into::into,
        );
        let logs = devstack::place::target().join("bench/logs");
        std::fs::create_dir_all(&logs)?;
        let port = |address: &str| {
            let (_, port) = address.split(',').next()?.rsplit_once(':')?;
            port.split('/').next()?.parse().ok()
        };
        let random = uuid::Uuid::new_v4().simple().to_string();
        Ok(Self {
            postgres: port(&server).and_then(process::listener),
            broker: port(&kafka).and_then(process::listener),
            kafka,
            server,
            name: format!("bench_{}", &random[..8]),
            programs,
            logs,
            guard: Guard::new(),
            started: Instant::now(),
            databases: Mutex::default(),
            topics: Mutex::default(),
        })
    }

    /// Progress, for whoever waits.
    pub(crate) fn say(&self, line: &str) {
        eprintln!("[{:7.1} s] {line}", self.started.elapsed().as_secs_f64());
    }

    /// A program of the workspace, built as we are.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// The process group that ends when we do, however that is.
    pub(crate) fn group(&self) -> i32 {
        self.guard.group()
    }

    /// What the servers have used until now.
    pub(crate) fn servers(&self) -> Servers {
        Servers {
            postgres: self.postgres.and_then(process::family_cpu_seconds),
            broker: self
                .broker
                .and_then(|broker| process::cpu_seconds(broker).ok()),
        }
    }

    /// A fresh database with the kit's tables; its address and connections to it.
    pub(crate) async fn database(&self, label: &str) -> anyhow::Result<(String, PgPool)> {
        let name = format!("{}_{label}", self.name);
        devstack::postgres::create_database(&self.server, &name).await?;
        keep(&self.databases, &name);
        let url = devstack::postgres::database_url(&self.server, &name);
        let pool = PgPoolOptions::new()
            .max_connections(20)
            .connect(&url)
            .await?;
        oncebox::migrate(&pool).await?;
        Ok((url, pool))
    }

    /// A topic as all are that are measured; its name.
    pub(crate) async fn topic(&self, label: &str) -> anyhow::Result<String> {
        let name = format!("{}.{label}", self.name);
        let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT));
        for made in self.admin()?.create_topics([&topic], &options).await? {
            if let Err((topic, code)) = made {
                bail!("cannot create topic {topic}: {code}");
            }
        }
        keep(&self.topics, &name);
        Ok(name)
    }

    /// Removes every database and topic that this run has made, so that a stack that stays is as before.
    pub(crate) async fn clean(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.server).await?;
        let databases = taken(&self.databases);
        release_slots(&mut connection, &databases).await?;
        for name in databases {
            let sql = format!("drop database if exists \"{name}\" with (force)");
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await?;
        }
        taken(&self.topics);
        // The relays' cursor topics are ours too.
        let admin = self.admin()?;
        let metadata = admin.inner().fetch_metadata(None, ADMIN_TIMEOUT)?;
        let ours: Vec<_> = metadata
            .topics()
            .iter()
            .map(|topic| topic.name())
            .filter(|name| name.starts_with(&self.name))
            .collect();
        admin.delete_topics(&ours, &AdminOptions::new()).await?;
        Ok(())
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(ClientConfig::new()
            .set("bootstrap.servers", &self.kafka)
            .create()?)
    }
}

impl Servers {
    /// What was used since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        let difference =
            |now: Option<f64>, before: Option<f64>| now.zip(before).map(|(now, then)| now - then);
        Self {
            postgres: difference(self.postgres, before.postgres),
            broker: difference(self.broker, before.broker),
        }
    }
}

/// A database with a replication slot cannot be dropped, nor a slot that is in use.
async fn release_slots(connection: &mut PgConnection, databases: &[String]) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let busy: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(active_pid)) from pg_replication_slots
             where database = any($1) and active",
        )
        .bind(databases)
        .fetch_one(&mut *connection)
        .await?;
        if busy == 0 {
            break;
        }
        anyhow::ensure!(
            started.elapsed() < ADMIN_TIMEOUT,
            "replication slots stay in use"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    sqlx::query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = any($1)")
        .bind(databases)
        .execute(connection)
        .await?;
    Ok(())
}

fn keep(list: &Mutex<Vec<String>>, name: &str) {
    list.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .push(name.to_owned());
}

fn taken(list: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(
        &mut *list
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    )
}
