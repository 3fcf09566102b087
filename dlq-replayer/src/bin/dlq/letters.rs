//! `dlq topics`, `dlq list`, `dlq show`.

use std::io::{self, Write as _};

use dlq_replayer::api::views::{DlqTopicList, LetterDetail, LetterView};
use http_kit::Page;
use serde_json::{Value, json};

use crate::args::{List, Status};
use crate::text::{self, bytes, clean, number, or_dash, time};
use cli_kit::Done;
use cli_kit::{Client, Failure};

/// The largest page that the API gives.
const PAGE: usize = 100;

pub(crate) async fn topics(client: &Client) -> Result<Done, Failure> {
    let (answer, list): (Value, DlqTopicList) = client.get(&["dlq", "topics"], &[]).await?;
    if client.json {
        text::json(&answer)?;
    } else if list.items.is_empty() {
        eprintln!("no dead letters");
    } else {
        let rows: Vec<Vec<String>> = list
            .items
            .iter()
            .map(|topic| {
                vec![
                    clean(&topic.topic),
                    or_dash(topic.group.as_deref()),
                    topic.open.to_string(),
                    topic.replayed.to_string(),
                    time(topic.oldest),
                    time(topic.newest),
                ]
            })
            .collect();
        text::table(
            &["TOPIC", "GROUP", "OPEN", "REPLAYED", "OLDEST", "NEWEST"],
            &rows,
        )?;
    }
    Ok(if list.items.is_empty() {
        Done::Nothing
    } else {
        Done::Something
    })
}

pub(crate) async fn list(client: &Client, query: List) -> Result<Done, Failure> {
    let wanted = if query.all {
        usize::MAX
    } else {
        query.limit as usize
    };
    let status = query.status.map(|status| match status {
        Status::Open => "open".to_owned(),
        Status::Replayed => "replayed".to_owned(),
    });
    let filter = [
        ("topic", query.topic),
        ("group", query.group),
        ("error_code", query.code),
        ("status", status),
        ("key", query.key),
        ("event_id", query.event_id.map(|id| id.to_string())),
    ];
    let (mut answers, mut letters, mut next) = (Vec::new(), Vec::new(), None);
    loop {
        let mut asked = filter.to_vec();
        asked.push((
            "limit",
            Some((wanted - letters.len()).min(PAGE).to_string()),
        ));
        asked.push(("cursor", next));
        let (mut answer, page): (Value, Page<LetterView>) =
            client.get(&["dlq", "letters"], &asked).await?;
        if let Some(Value::Array(items)) = answer.get_mut("items").map(Value::take) {
            answers.extend(items);
        }
        letters.extend(page.items);
        next = page.next;
        if next.is_none() || letters.len() >= wanted {
            break;
        }
    }
    if client.json {
        text::json(&json!({ "items": answers, "next": next }))?;
    } else if letters.is_empty() {
        eprintln!("no dead letter matches");
    } else {
        let rows: Vec<Vec<String>> = letters.iter().map(row).collect();
        text::table(
            &[
                "ID", "STATUS", "GROUP", "CODE", "ATTEMPTS", "FAILED", "KEY", "MESSAGE",
            ],
            &rows,
        )?;
        if next.is_some() {
            eprintln!("there are more: --limit N or --all");
        }
    }
    Ok(if letters.is_empty() {
        Done::Nothing
    } else {
        Done::Something
    })
}

fn row(letter: &LetterView) -> Vec<String> {
    vec![
        letter.id.to_string(),
        clean(&letter.status),
        or_dash(letter.group.as_deref()),
        or_dash(letter.error_code.as_deref()),
        number(letter.attempts),
        time(letter.last_failed_at.unwrap_or(letter.recorded_at)),
        bytes(letter.key.as_ref()),
        or_dash(letter.error_message.as_deref()),
    ]
}

pub(crate) async fn show(client: &Client, id: i64, raw: bool) -> Result<Done, Failure> {
    let id = id.to_string();
    if raw {
        let value = client.bytes(&["dlq", "letters", &id, "value"]).await?;
        io::stdout().lock().write_all(&value)?;
        return Ok(Done::Something);
    }
    let (answer, detail): (Value, LetterDetail) = client.get(&["dlq", "letters", &id], &[]).await?;
    if client.json {
        text::json(&answer)?;
    } else {
        print(&detail)?;
    }
    Ok(Done::Something)
}

fn print(detail: &LetterDetail) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let letter = &detail.letter;
    let clean_some = |text: &Option<String>| text.as_deref().map(clean);
    let from = letter.source_topic.as_deref().map(|topic| {
        match (detail.source_partition, detail.source_offset) {
            (Some(partition), Some(offset)) => format!("{}/{partition}/{offset}", clean(topic)),
            _ => clean(topic),
        }
    });
    text::fields(
        &mut out,
        &[
            ("letter", Some(letter.id.to_string())),
            ("status", Some(clean(&letter.status))),
            ("failed at", from),
            ("group", clean_some(&letter.group)),
            ("error", clean_some(&letter.error_message)),
            ("code", clean_some(&letter.error_code)),
            ("class", clean_some(&letter.error_class)),
            ("site", clean_some(&detail.error_site)),
            ("version", clean_some(&detail.service_version)),
            (
                "attempts",
                letter.attempts.map(|attempts| attempts.to_string()),
            ),
            ("first failed", letter.first_failed_at.map(time)),
            ("last failed", letter.last_failed_at.map(time)),
            ("event id", Some(letter.event_id.to_string())),
            ("key", letter.key.as_ref().map(|key| bytes(Some(key)))),
            (
                "dead letter",
                Some(format!(
                    "{}/{}/{}",
                    clean(&letter.topic),
                    letter.partition,
                    letter.offset
                )),
            ),
            ("replay goes to", clean_some(&detail.replay_topic)),
            ("not replayable", clean_some(&detail.unreplayable)),
            ("replay of", clean_some(&detail.replay_of)),
        ],
    )?;
    writeln!(out, "\nvalue")?;
    text::value(&mut out, &detail.value)?;
    if !detail.headers.is_empty() {
        writeln!(out, "\nheaders")?;
        text::headers(&mut out, &detail.headers)?;
    }
    if !detail.replays.is_empty() {
        writeln!(out, "\nreplays")?;
        for replay in &detail.replays {
            let why = replay
                .reason
                .as_deref()
                .map(|reason| format!(": {}", clean(reason)))
                .unwrap_or_default();
            writeln!(
                out,
                "  {}  by {}{why}",
                time(replay.requested_at),
                clean(&replay.actor)
            )?;
        }
    }
    if !detail.failed_again_as.is_empty() {
        let ids: Vec<String> = detail.failed_again_as.iter().map(i64::to_string).collect();
        writeln!(out, "\nfailed again as letter {}", ids.join(", "))?;
    }
    Ok(())
}
