//! Databases, topics and schemas: made before the services start, safe to repeat.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use devstack::process::Launch;
use devstack::{External, Stack, postgres};
use oncebox::codec::Registry;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use schemas::topology::{self, Cleanup, Topic};

use crate::services;
use crate::services::{ALL, Service};

/// `cargo dev provision`.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let say = crate::say::timed();
    let elsewhere = External::from_env();
    let (kafka, database_url, registry) = match (
        elsewhere.kafka,
        elsewhere.database_url,
        elsewhere.registry_url,
    ) {
        (Some(kafka), Some(database_url), Some(registry)) => (kafka, database_url, registry),
        _ => {
            let stack = Stack::attach(&devstack::place::dev()).context(
                    "nothing to provision: set ONCEBOX_KAFKA, ONCEBOX_DATABASE_URL and ONCEBOX_SCHEMA_REGISTRY, \
                     or start a stack with `cargo dev up`",
                )?;
            (
                stack.kafka().to_owned(),
                stack.database_url().to_owned(),
                stack.registry_url().to_owned(),
            )
        }
    };
    databases(&database_url).await?;
    say.line("databases are there; `<service> migrate` makes their tables, and each service does so when it starts");
    let topics = topics(&kafka).await?;
    say.line(&format!("{topics} topics are there"));
    let subjects = register(&registry).await?;
    say.line(&format!("{subjects} schemas are registered"));
    Ok(ExitCode::SUCCESS)
}

/// Creates each service's database.
pub(crate) async fn databases(server: &str) -> anyhow::Result<()> {
    for database in ALL.iter().filter_map(|service| service.database) {
        postgres::create_database(server, database)
            .await
            .with_context(|| format!("cannot create database {database}"))?;
    }
    Ok(())
}

/// Creates the topics that are not there, and says how many there are.
pub(crate) async fn topics(kafka: &str) -> anyhow::Result<usize> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .create()
        .context("cannot reach Kafka")?;
    let topics = topology::topics();
    let settings: Vec<_> = topics.iter().map(settings_of).collect();
    let new: Vec<_> = topics
        .iter()
        .zip(&settings)
        .map(|(topic, settings)| {
            // One replica: -1 would ask the broker's default, which a cluster sets to what it has.
            let topic = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1));
            settings
                .iter()
                .fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let made = admin
        .create_topics(&new, &AdminOptions::new())
        .await
        .context("cannot create topics")?;
    for outcome in made {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => bail!("cannot create topic {topic}: {code}"),
        }
    }
    Ok(topics.len())
}

/// Registers every schema, and says how many there are.
pub(crate) async fn register(registry: &str) -> anyhow::Result<usize> {
    let registry = Registry::new(registry)?;
    schemas::registration::register_all(&registry)
        .await
        .context("cannot register the schemas")
}

/// Runs each service's `migrate`, all at once.
pub(crate) async fn migrate(launches: &BTreeMap<&str, Launch>) -> anyhow::Result<()> {
    let mut running = Vec::new();
    for Service { name, database, .. } in services::ALL {
        if let (Some(_), Some(launch)) = (database, launches.get(name)) {
            let mut command = Command::new(&launch.program);
            clean(&mut command);
            let command = command
                .arg("migrate")
                .envs(&launch.environment)
                .stdin(Stdio::null());
            let child = command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            running.push((
                name,
                child.with_context(|| format!("cannot start {}", launch.program.display()))?,
            ));
        }
    }
    for (name, child) in running {
        let output = child
            .wait_with_output()
            .with_context(|| format!("{name} migrate"))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!(
                "{name} migrate failed:\n{}",
                String::from_utf8_lossy(&said).trim()
            );
        }
    }
    Ok(())
}

/// Takes our own settings away from a child that refuses keys it does not know.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ONCEBOX_") {
            command.env_remove(name);
        }
    }
}

fn settings_of(topic: &Topic) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    if topic.cleanup == Cleanup::Compact {
        settings.push(("cleanup.policy", "compact".to_owned()));
    }
    if let Some(days) = topic.retention_days {
        settings.push(("retention.ms", (u64::from(days) * 86_400_000).to_string()));
    }
    if let Some(bytes) = topic.max_message_bytes {
        settings.push(("max.message.bytes", bytes.to_string()));
    }
    settings
}
