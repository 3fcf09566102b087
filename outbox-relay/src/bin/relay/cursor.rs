//! How far a source is published, and putting that elsewhere.

use std::io::Write as _;

use cli_kit::text::{self, time};
use cli_kit::{Client, Done, Failure};
use outbox_relay::api::views::CursorView;
use outbox_relay::cursor::Cursor;
use serde_json::json;

use crate::args::{By, actor};
use crate::change;
use crate::sources::chosen;

pub(crate) async fn show(client: &Client, source: Option<String>) -> Result<Done, Failure> {
    let source = chosen(client, source).await?;
    let (answer, views) = client
        .get::<Vec<CursorView>>(&["sources", &source, "cursor"], &[])
        .await?;
    if client.json {
        text::json(&answer)?;
        return Ok(Done::Something);
    }
    let mut out = std::io::stdout().lock();
    for view in &views {
        if views.len() > 1 {
            writeln!(out, "shard {}", view.shard)?;
        }
        writeln!(out, "in Kafka, which decides")?;
        tell(&mut out, view.kafka.as_ref())?;
        match view.copied_at {
            Some(at) => writeln!(out, "beside the outbox, of {}", time(at))?,
            None => writeln!(out, "beside the outbox")?,
        }
        tell(&mut out, view.copy.as_ref())?;
    }
    Ok(Done::Something)
}

fn tell(out: &mut impl std::io::Write, cursor: Option<&Cursor>) -> std::io::Result<()> {
    let Some(cursor) = cursor else {
        return writeln!(out, "  none");
    };
    let window = cursor
        .window
        .as_ref()
        .map(|window| format!("{} up to row {}", window.snapshot, window.position));
    text::fields(
        out,
        &[
            ("  database", Some(cursor.identity.to_string())),
            ("  settled", Some(cursor.settled.to_string())),
            ("  window", window),
            ("  last row", Some(cursor.last_seq.to_string())),
        ],
    )
}

pub(crate) async fn set(
    client: &Client,
    to: &'static str,
    source: Option<String>,
    by: By,
) -> Result<Done, Failure> {
    let source = chosen(client, source).await?;
    let request = json!({ "to": to, "actor": actor(by.actor)?, "reason": by.reason });
    let (answer, set) = change::order(client, &source, "cursor", request).await?;
    if client.json {
        text::json(&answer)?;
    } else {
        for cursor in &set.cursors {
            println!("{source} goes on from {}", cursor.settled);
        }
    }
    Ok(Done::Something)
}
