//! The connector: Debezium's PostgreSQL source with its outbox router, tuned as its documentation and measurements advise,
//! and steered over the worker's HTTP interface.

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use sqlx::postgres::PgConnectOptions;

use super::Mode;
use super::table::Table;
use crate::ground::Ground;

const NAME: &str = "outbox";
/// A worker starts within half a minute; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) struct Connector {
    base: String,
    config: Value,
    client: reqwest::Client,
}

impl Connector {
    pub(super) fn new(
        ground: &Ground,
        mode: Mode,
        table: &Table,
        port: u16,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            base: format!("http://127.0.0.1:{port}/connectors/{NAME}"),
            config: config(ground, mode, table)?,
            client: reqwest::Client::new(),
        })
    }

    /// Gives the worker the configuration, which it keeps, and waits until it runs.
    pub(super) async fn configure(&self) -> anyhow::Result<()> {
        let url = format!("{}/config", self.base);
        self.until("the connector to be taken", async || {
            let put = self.client.put(&url).json(&self.config).send().await;
            let Ok(answer) = put else { return Ok(None) };
            let status = answer.status();
            match status.as_u16() {
                200 | 201 => Ok(Some(())),
                // Starting, or between two generations of its group.
                404 | 409 | 500 | 503 => Ok(None),
                _ => bail!("the worker answers {status}: {}", answer.text().await?),
            }
        })
        .await?;
        self.running().await
    }

    /// Waits until the connector's task runs.
    pub(super) async fn running(&self) -> anyhow::Result<()> {
        self.in_state("RUNNING", 1).await
    }

    /// Ends the task; the worker stays.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        self.put("stop").await?;
        self.in_state("STOPPED", 0).await
    }

    /// Lets a stopped connector go on; does not wait for it.
    pub(super) async fn resume(&self) -> anyhow::Result<()> {
        self.put("resume").await
    }

    async fn put(&self, verb: &str) -> anyhow::Result<()> {
        let url = format!("{}/{verb}", self.base);
        self.client.put(url).send().await?.error_for_status()?;
        Ok(())
    }

    async fn in_state(&self, state: &str, tasks: usize) -> anyhow::Result<()> {
        let url = format!("{}/status", self.base);
        self.until(&format!("the connector to be {state}"), async || {
            let Ok(answer) = self.client.get(&url).send().await else {
                return Ok(None);
            };
            if !answer.status().is_success() {
                return Ok(None);
            }
            let status: Value = answer.json().await?;
            let of_tasks: Vec<_> = status["tasks"].as_array().into_iter().flatten().collect();
            if let Some(failed) = of_tasks.iter().find(|task| task["state"] == "FAILED") {
                bail!("the connector's task failed: {}", failed["trace"]);
            }
            let there = status["connector"]["state"] == state
                && of_tasks.len() == tasks
                && of_tasks.iter().all(|task| task["state"] == state);
            Ok(there.then_some(()))
        })
        .await
    }

    async fn until(
        &self,
        what: &str,
        look: impl AsyncFn() -> anyhow::Result<Option<()>>,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while look().await?.is_none() {
            if started.elapsed() > PATIENCE {
                bail!("waited {} s in vain for {what}", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

fn config(ground: &Ground, mode: Mode, table: &Table) -> anyhow::Result<Value> {
    let database = PgConnectOptions::from_str(&table.url)?;
    let mut config = json!({
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "database.hostname": database.get_host(),
        "database.port": database.get_port().to_string(),
        "database.user": database.get_username(),
        // The stack asks for none.
        "database.password": "unused",
        "database.dbname": database.get_database().context("no database in the address")?,
        "topic.prefix": ground.name,
        "slot.name": table.slot,
        "publication.name": "bench",
        "publication.autocreate.mode": "disabled",
        "plugin.name": "pgoutput",
        "snapshot.mode": "no_data",
        "table.include.list": "public.outbox",
        "binary.handling.mode": "bytes",
        "tombstones.on.delete": "false",
        "max.batch.size": "16384",
        "max.queue.size": "65536",
        "poll.interval.ms": "5",
        "extended.headers.enabled": "false",
        "transforms": "outbox",
        "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
        "transforms.outbox.route.topic.replacement": "${routedByValue}",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
        "producer.override.acks": "all",
        "producer.override.enable.idempotence": "true",
        "producer.override.linger.ms": "5",
        "producer.override.batch.size": "524288",
        "producer.override.buffer.memory": "67108864",
        "producer.override.compression.type": "lz4",
    });
    if mode == Mode::ExactlyOnce {
        let more = Map::from_iter([
            ("exactly.once.support".to_owned(), json!("required")),
            ("transaction.boundary".to_owned(), json!("poll")),
        ]);
        if let Some(config) = config.as_object_mut() {
            config.extend(more);
        }
    }
    Ok(config)
}
