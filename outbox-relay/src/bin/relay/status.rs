//! What each source does.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use cli_kit::{Client, Done, Failure, text};
use outbox_relay::state::{State, Status};

const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) async fn status(client: &Client, watch: bool) -> Result<Done, Failure> {
    let mut before: Option<(Instant, BTreeMap<String, u64>)> = None;
    loop {
        let (answer, sources) = client.get::<Vec<Status>>(&["sources"], &[]).await?;
        let now = Instant::now();
        if client.json {
            text::json(&answer)?;
        } else {
            if watch && std::io::stdout().is_terminal() {
                // From the top of an empty screen.
                print!("\x1b[H\x1b[2J");
            }
            let rate = |status: &Status| {
                let (at, published) = before.as_ref()?;
                let earlier = published.get(&name(status))?;
                let rows = status.published_rows.saturating_sub(*earlier);
                Some(rows as f64 / now.duration_since(*at).as_secs_f64())
            };
            show(&sources, rate)?;
        }
        if !watch {
            break;
        }
        let published = sources
            .into_iter()
            .map(|status| (name(&status), status.published_rows))
            .collect();
        before = Some((now, published));
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    Ok(Done::Something)
}

/// The source, with the shard where it is divided.
fn name(status: &Status) -> String {
    let source = text::clean(&status.source);
    if status.shards > 1 {
        format!("{source}/{}", status.shard)
    } else {
        source
    }
}

fn show(sources: &[Status], rate: impl Fn(&Status) -> Option<f64>) -> std::io::Result<()> {
    let bounded = |rows: i64| {
        if rows >= 100_000 {
            "100000+".to_owned()
        } else {
            rows.to_string()
        }
    };
    let rows: Vec<Vec<String>> = sources
        .iter()
        .map(|status| {
            let parked = status.parked;
            vec![
                name(status),
                status.state.name().to_owned(),
                status.published_rows.to_string(),
                rate(status).map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
                bounded(status.pending_rows),
                format!("{:.1}", status.oldest_pending_seconds),
                status.blocked_keys.to_string(),
                bounded(parked.refused + parked.waiting),
                bounded(parked.delayed),
                bounded(parked.dead),
            ]
        })
        .collect();
    text::table(
        &[
            "SOURCE",
            "STATE",
            "PUBLISHED",
            "ROWS/S",
            "PENDING",
            "OLDEST S",
            "BLOCKED KEYS",
            "PARKED",
            "DELAYED",
            "DEAD",
        ],
        &rows,
    )?;
    for status in sources {
        let reason = match &status.state {
            State::Starting | State::Running => continue,
            State::Standby(holder) => format!("published by {holder}"),
            State::Waiting(reason) | State::Refused(reason) | State::Stopped(reason) => {
                reason.clone()
            }
        };
        println!(
            "\n{} {}: {}",
            name(status),
            status.state.name(),
            text::clean(&reason)
        );
    }
    Ok(())
}
