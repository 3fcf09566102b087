//! Parked rows: list, show, decide.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cli_kit::text::{self, clean, number, or_dash, time};
use cli_kit::{Client, Done, Failure};
use outbox_relay::api::views::{BytesView, Decided, ParkedDetail, ParkedView};
use serde_json::{Value, json};

use crate::args::{List, Rows, State, actor};
use crate::sources::{chosen, chosen_or_all};

/// A page, as far as it is read here.
#[derive(Debug, serde::Deserialize)]
struct Page {
    items: Vec<ParkedView>,
    next: Option<String>,
}

pub(crate) async fn list(client: &Client, query: List) -> Result<Done, Failure> {
    let sources = chosen_or_all(client, query.source).await?;
    let state = query.state.map(|state| {
        match state {
            State::Refused => "refused",
            State::Waiting => "waiting",
            State::Delayed => "delayed",
            State::Dead => "dead",
        }
        .to_owned()
    });
    let parameters = [
        ("state", state),
        ("topic", query.topic),
        ("key", query.key),
        ("limit", Some(query.limit.to_string())),
    ];
    let (mut pages, mut answers) = (Vec::new(), serde_json::Map::new());
    for source in &sources {
        let (answer, page) = client
            .get::<Page>(&["sources", source, "parked"], &parameters)
            .await?;
        answers.insert(source.clone(), answer);
        pages.push((source, page));
    }
    let nothing = pages.iter().all(|(_, page)| page.items.is_empty());
    if client.json {
        // Of one source its page alone, of several by their names.
        let mut answers: Vec<(String, Value)> = answers.into_iter().collect();
        let answer = match answers.as_mut_slice() {
            [(_, only)] => only.take(),
            _ => Value::Object(answers.into_iter().collect()),
        };
        text::json(&answer)?;
    } else if !nothing {
        table(&pages)?;
    }
    Ok(if nothing {
        eprintln!("no row of {} is parked that matches", sources.join(", "));
        Done::Nothing
    } else {
        Done::Something
    })
}

fn table(pages: &[(&String, Page)]) -> std::io::Result<()> {
    let mut titles = vec![
        "SEQ", "STATE", "TOPIC", "KEY", "BYTES", "ATTEMPTS", "NEXT", "ERROR",
    ];
    let several = pages.len() > 1;
    if several {
        titles.insert(0, "SOURCE");
    }
    let mut rows = Vec::new();
    for (source, page) in pages {
        for row in &page.items {
            let mut line = line(row);
            if several {
                line.insert(0, clean(source));
            }
            rows.push(line);
        }
    }
    text::table(&titles, &rows)?;
    if pages.iter().any(|(_, page)| page.next.is_some()) {
        println!("… more; --limit shows up to 100, and --state, --topic or --key narrow it");
    }
    Ok(())
}

fn line(row: &ParkedView) -> Vec<String> {
    vec![
        row.seq.to_string(),
        row.state.clone(),
        clean(&row.topic),
        shown(row.key.as_ref()),
        number(row.payload_bytes),
        row.attempts.to_string(),
        row.next_attempt_at
            .or(row.not_before)
            .map_or_else(|| "-".to_owned(), time),
        or_dash(row.error.as_deref()),
    ]
}

fn shown(bytes: Option<&BytesView>) -> String {
    match bytes {
        None => "-".to_owned(),
        Some(BytesView::Text(text)) => clean(text),
        Some(BytesView::Binary { base64 }) => format!("base64:{base64}"),
    }
}

pub(crate) async fn show(
    client: &Client,
    source: Option<String>,
    seq: i64,
    raw: bool,
) -> Result<Done, Failure> {
    let source = chosen(client, source).await?;
    let path = ["sources", &source, "parked", &seq.to_string()];
    let (answer, detail) = client.get::<ParkedDetail>(&path, &[]).await?;
    let mut out = std::io::stdout().lock();
    if raw {
        match &detail.payload {
            None => {}
            Some(BytesView::Text(text)) => out.write_all(text.as_bytes())?,
            Some(BytesView::Binary { base64 }) => {
                let bytes = BASE64
                    .decode(base64)
                    .map_err(|error| Failure::Unreachable(error.to_string()))?;
                out.write_all(&bytes)?;
            }
        }
        return Ok(Done::Something);
    }
    drop(out);
    if client.json {
        text::json(&answer)?;
        return Ok(Done::Something);
    }
    let row = &detail.row;
    let mut out = std::io::stdout().lock();
    text::fields(
        &mut out,
        &[
            ("row", Some(row.seq.to_string())),
            ("event id", Some(row.event_id.to_string())),
            ("topic", Some(clean(&row.topic))),
            ("key", Some(shown(row.key.as_ref()))),
            ("state", Some(row.state.clone())),
            ("error", row.error.as_deref().map(clean)),
            ("attempts", Some(row.attempts.to_string())),
            ("next attempt", row.next_attempt_at.map(time)),
            ("not before", row.not_before.map(time)),
            ("written", row.created_at.map(time)),
            ("parked", Some(time(row.parked_at))),
        ],
    )?;
    writeln!(out, "headers")?;
    for (name, value) in detail.headers.as_object().into_iter().flatten() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "  {}  {}", clean(name), clean(&value))?;
    }
    match &detail.payload {
        None => writeln!(out, "value\n  none (a tombstone)")?,
        Some(value) => writeln!(out, "value\n  {}", shown(Some(value)))?,
    }
    Ok(Done::Something)
}

pub(crate) async fn decide(
    client: &Client,
    decision: &'static str,
    rows: Rows,
) -> Result<Done, Failure> {
    let source = chosen(client, rows.source).await?;
    let actor = actor(rows.by.actor)?;
    let request = |mut which: Value| {
        which["decision"] = json!(decision);
        which["actor"] = json!(actor);
        which["reason"] = json!(rows.by.reason);
        which
    };
    let requests: Vec<Value> = if rows.seq.is_empty() {
        let mut which = json!({});
        if rows.all {
            which["all"] = json!(true);
        }
        if let Some(topic) = rows.topic {
            which["topic"] = json!(topic);
        }
        if let Some(key) = rows.key {
            which["key"] = json!(key);
        }
        vec![request(which)]
    } else {
        rows.seq
            .iter()
            .map(|seq| request(json!({ "seq": seq })))
            .collect()
    };
    let mut concerned = 0;
    for request in requests {
        let path = ["sources", &source, "parked", "decisions"];
        let (answer, decided) = client.post::<Decided>(&path, request).await?;
        concerned += decided.rows;
        if client.json {
            text::json(&answer)?;
        }
    }
    if !client.json {
        println!("{decision}: {concerned} rows");
    }
    Ok(if concerned == 0 {
        Done::Nothing
    } else {
        Done::Something
    })
}
