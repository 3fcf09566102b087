//! A Kafka Connect worker: one JVM in distributed mode, as it runs in earnest.

use std::path::PathBuf;

use tokio::process::Command;

use super::Mode;
use crate::ground::Ground;
use crate::program::{Program, free_port};
use crate::relay::topic::blocking;

const POM: &str = include_str!("../../../assets/debezium.xml");
const LOGGING: &str = include_str!("../../../assets/log4j2.xml");

/// How to start the worker; its topics outlive it.
pub(super) struct Worker {
    pub(super) port: u16,
    java: PathBuf,
    artefacts: PathBuf,
    properties: PathBuf,
    logging: PathBuf,
}

impl Worker {
    /// Fetches Connect and Debezium where they are not there yet, and writes the configuration.
    pub(super) async fn prepare(ground: &Ground, mode: Mode) -> anyhow::Result<Self> {
        let (artefacts, java) = blocking(|| {
            let say = devstack::Say::new(|line| eprintln!("{line}"));
            let artefacts = devstack::maven::fetched("debezium", POM, &say)?;
            Ok((artefacts, devstack::maven::java(&say)?))
        })
        .await?;
        let port = free_port()?;
        let folder = devstack::place::target().join("bench");
        let (properties, logging) = (
            folder.join(format!("connect-{}.properties", mode.label())),
            folder.join("log4j2.xml"),
        );
        let group = format!("{}.connect.{}", ground.name, mode.label());
        let exactly_once = match mode {
            Mode::ExactlyOnce => "enabled",
            Mode::AtLeastOnce => "disabled",
        };
        let plugins = artefacts.join("plugins");
        let text = format!(
            "bootstrap.servers={kafka}\n\
             group.id={group}\n\
             listeners=http://127.0.0.1:{port}\n\
             config.storage.topic={group}.configs\n\
             config.storage.replication.factor=1\n\
             offset.storage.topic={group}.offsets\n\
             offset.storage.replication.factor=1\n\
             offset.storage.partitions=1\n\
             status.storage.topic={group}.status\n\
             status.storage.replication.factor=1\n\
             status.storage.partitions=1\n\
             key.converter=org.apache.kafka.connect.storage.StringConverter\n\
             value.converter=org.apache.kafka.connect.converters.ByteArrayConverter\n\
             plugin.path={plugins}\n\
             plugin.discovery=service_load\n\
             offset.flush.interval.ms=10000\n\
             exactly.once.source.support={exactly_once}\n\
             connector.client.config.override.policy=All\n\
             scheduled.rebalance.max.delay.ms=0\n",
            kafka = ground.kafka,
            plugins = plugins.display(),
        );
        std::fs::write(&properties, text)?;
        std::fs::write(&logging, LOGGING)?;
        Ok(Self {
            port,
            java,
            artefacts,
            properties,
            logging,
        })
    }

    pub(super) fn start(&self, ground: &Ground) -> anyhow::Result<Program> {
        let mut command = Command::new(&self.java);
        command
            .args([
                "-Xms256m",
                "-Xmx1g",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
            ])
            .arg(format!(
                "-Dlog4j2.configurationFile={}",
                self.logging.display()
            ))
            .arg("-cp")
            .arg(format!("{}/connect/*", self.artefacts.display()))
            .arg("org.apache.kafka.connect.cli.ConnectDistributed")
            .arg(&self.properties);
        Program::start(ground, command, "debezium")
    }
}
