//! `cargo dev status`: each part with pid, port, health and lag.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use devstack::state::State;
use reqwest::{Client, Method};
use schemas::topology;
use serde::Serialize;
use serde_json::Value;

use crate::services::ALL;
use crate::{http, platform, up};

/// How to show it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    pid: Option<u32>,
    port: u16,
    health: String,
    /// Outbox rows that wait (relay), or records that a group has not read yet; none: unknown, or it reads nothing.
    lag: Option<i64>,
}

/// Shows it. The exit code is 1 when nothing runs, or a part is not well.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let state = platform::running()?;
    let client = http::client()?;
    let lags = lags(&client, &state).await;
    let mut rows = Vec::new();
    let mut parts: Vec<_> = state.parts.iter().collect();
    parts.sort_by_key(|(_, part)| part.order);
    for (name, part) in parts {
        let health = match &part.process {
            None => "stopped".to_owned(),
            Some(process) if !process.is_alive() => "ended".to_owned(),
            Some(_) if ALL.iter().all(|service| service.name != name) => "running".to_owned(),
            Some(_) => match http::ready(&client, part.port).await {
                Ok(()) => "ready".to_owned(),
                Err(problem) => format!("not ready: {problem}"),
            },
        };
        let pid = part.process.as_ref().map(|process| process.pid);
        rows.push(Row {
            name: name.clone(),
            pid,
            port: part.port,
            health,
            lag: lags.get(name.as_str()).copied(),
        });
    }
    let well = rows
        .iter()
        .all(|row| matches!(row.health.as_str(), "ready" | "running"));
    if options.json {
        let shown = serde_json::json!({
            "well": well, "parts": rows, "kafka": state.kafka, "database_url": state.database_url,
            "schema_registry": state.registry_url, "logs": devstack::place::dev().join("logs"),
        });
        println!("{shown:#}");
    } else {
        println!(
            "{:<18} {:>8} {:>6} {:>8}  health",
            "part", "pid", "port", "lag"
        );
        for row in &rows {
            let shown = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
            println!(
                "{:<18} {:>8} {:>6} {:>8}  {}",
                row.name,
                shown(row.pid.map(|pid| pid.to_string())),
                row.port,
                shown(row.lag.map(|lag| lag.to_string())),
                row.health
            );
        }
    }
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn lags(client: &Client, state: &State) -> BTreeMap<&'static str, i64> {
    let mut lags = BTreeMap::new();
    let port = |name: &str| state.parts.get(name).map(|part| part.port);
    if let Some(port) = port("outbox-relay") {
        let url = format!("http://127.0.0.1:{port}/v1/sources");
        if let Ok(Value::Array(sources)) =
            http::call(client, Method::GET, &url, &[], None, &[]).await
        {
            let pending = sources
                .iter()
                .filter_map(|source| source.get("pending_rows")?.as_i64());
            lags.insert("outbox-relay", pending.sum());
        }
    }
    if let (Some(port), Some(token)) = (port("dlq-replayer"), state.notes.get(up::TOKEN)) {
        let bearer = format!("Bearer {token}");
        let groups = topology::GROUPS
            .iter()
            .map(|group| group.name)
            .chain(["dlq-replayer"]);
        for group in groups {
            let url = format!("http://127.0.0.1:{port}/v1/groups/{group}");
            let headers = [("authorization", bearer.as_str())];
            if let Ok(detail) = http::call(client, Method::GET, &url, &headers, None, &[]).await
                && let Some(lag) = lag_of(&detail)
            {
                lags.insert(group, lag);
            }
        }
    }
    lags
}

/// A group's total lag: its own figure, or the sum over its partitions.
fn lag_of(detail: &Value) -> Option<i64> {
    if let Some(total) = detail.get("lag").and_then(Value::as_i64) {
        return Some(total);
    }
    let partitions = detail.get("partitions")?.as_array()?;
    Some(
        partitions
            .iter()
            .filter_map(|partition| partition.get("lag")?.as_i64())
            .sum(),
    )
}
