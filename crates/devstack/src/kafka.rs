//! The broker: one KRaft node from its jars.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use uuid::Uuid;

use crate::artefacts::{self, Artefacts};
use crate::error::{StackError, Tried};
use crate::process::Launch;

/// Name of the part.
pub(crate) const NAME: &str = "kafka";

const PROPERTIES: &str = include_str!("../assets/server.properties");
const LOGGING: &str = include_str!("../assets/log4j2.xml");

/// Writes the broker's configuration and formats its data folder if that is new; returns how to start it.
///
/// With `peak` it compiles itself for throughput; otherwise it starts in half the time.
pub(crate) fn prepare(
    artefacts: &Artefacts,
    dir: &Path,
    port: u16,
    controller: u16,
    peak: bool,
) -> Result<Launch, StackError> {
    let folder = dir.join("kafka");
    let data = folder.join("data");
    std::fs::create_dir_all(&data).tried(|| format!("cannot create {}", data.display()))?;
    let properties = folder.join("server.properties");
    let text = format!(
        "{PROPERTIES}\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         log.dirs={}\n",
        data.display()
    );
    std::fs::write(&properties, text).tried(|| format!("cannot write {}", properties.display()))?;
    let logging = folder.join("log4j2.xml");
    std::fs::write(&logging, LOGGING).tried(|| format!("cannot write {}", logging.display()))?;
    let java = |program: &[&str]| {
        // What Kafka's own start script gives a broker; or a heap that one developer's load fills, the collector that costs
        // least on two cores, and quick code soon instead of the quickest later.
        let machine: &[&str] = if peak {
            &[
                "-Xms1g",
                "-Xmx1g",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
            ]
        } else {
            &[
                "-Xms256m",
                "-Xmx768m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
            ]
        };
        let mut arguments: Vec<String> = machine.iter().map(|&flag| flag.to_owned()).collect();
        arguments.push("-XX:-UsePerfData".to_owned());
        arguments.push(format!("-Dlog4j2.configurationFile={}", logging.display()));
        arguments.push("-cp".to_owned());
        arguments.push(format!("{}/*", artefacts.kafka.display()));
        arguments.extend(program.iter().map(|&argument| argument.to_owned()));
        arguments.push(properties.display().to_string());
        arguments
    };
    if !data.join("meta.properties").is_file() {
        let id = Uuid::new_v4().simple().to_string();
        let cluster = id.get(..22).unwrap_or(&id);
        let mut format = Command::new(&artefacts.java);
        format
            .args(java(&[
                "kafka.tools.StorageTool",
                "format",
                "-t",
                cluster,
                "-c",
            ]))
            .stdin(Stdio::null());
        artefacts::run(&mut format, "kafka's storage tool")?;
    }
    Ok(Launch {
        program: artefacts.java.clone(),
        arguments: java(&["kafka.Kafka"]),
        environment: BTreeMap::new(),
        folder,
        log: dir.join("logs/kafka.log"),
        user: None,
        interrupt: false,
    })
}

/// One look whether the broker answers: it has registered itself and serves metadata.
pub(crate) async fn answers(bootstrap: String) -> Result<(), String> {
    let look = move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("reconnect.backoff.max.ms", "200")
            .set("log_level", "0")
            .create()
            .map_err(|error| error.to_string())?;
        let metadata = consumer
            .fetch_metadata(None, Duration::from_millis(1500))
            .map_err(|error| error.to_string())?;
        if metadata.brokers().is_empty() {
            return Err("it knows no broker yet".to_owned());
        }
        Ok(())
    };
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| error.to_string())?
}
