//! `dlq replay`, `dlq replays`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use dlq_replayer::api::views::{ReplayAnswer, ReplayView};
use http_kit::Page;
use serde_json::{Value, json};

use crate::args::Replay;
use crate::text::{self, clean, or_dash, time};
use cli_kit::Done;
use cli_kit::{Client, Failure};

pub(crate) async fn replay(client: &Client, choice: Replay) -> Result<Done, Failure> {
    let bulk = choice.ids.is_empty();
    let body = body(&choice);
    if bulk && !choice.yes && !choice.dry_run {
        if !io::stdin().is_terminal() {
            return Err(Failure::Usage(
                "this replays everything that matches; add --yes, or --dry-run to see how much that is".to_owned(),
            ));
        }
        let (_, planned) = ask(client, &with(&body, "dry_run", json!(true))).await?;
        if planned.replayed == 0 {
            report(&planned);
            return Ok(Done::Nothing);
        }
        if !confirmed(&format!("replay {}?", letters(planned.replayed)))? {
            eprintln!("nothing was replayed");
            return Ok(Done::Nothing);
        }
    }
    let (answer, done) = ask(client, &body).await?;
    if client.json {
        text::json(&answer)?;
    } else {
        report(&done);
    }
    Ok(if done.replayed == 0 {
        Done::Nothing
    } else {
        Done::Something
    })
}

async fn ask(client: &Client, body: &Value) -> Result<(Value, ReplayAnswer), Failure> {
    client.post(&["dlq", "replays"], body.clone()).await
}

fn body(choice: &Replay) -> Value {
    let actor = choice
        .actor
        .clone()
        .or_else(|| std::env::var("USER").ok())
        .filter(|actor| !actor.trim().is_empty());
    let mut body =
        json!({ "again": choice.again, "force": choice.force, "dry_run": choice.dry_run });
    let optional = [
        ("ids", (!choice.ids.is_empty()).then(|| json!(choice.ids))),
        ("topic", choice.topic.as_ref().map(|topic| json!(topic))),
        ("group", choice.group.as_ref().map(|group| json!(group))),
        ("error_code", choice.code.as_ref().map(|code| json!(code))),
        ("limit", choice.limit.map(|limit| json!(limit))),
        ("reason", choice.reason.as_ref().map(|reason| json!(reason))),
        ("actor", actor.map(|actor| json!(actor))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body = with(&body, name, value);
        }
    }
    body
}

fn with(body: &Value, name: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[name] = value;
    body
}

fn confirmed(question: &str) -> io::Result<bool> {
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn letters(count: usize) -> String {
    if count == 1 {
        "1 dead letter".to_owned()
    } else {
        format!("{count} dead letters")
    }
}

fn report(done: &ReplayAnswer) {
    let verb = if done.dry_run {
        "would be replayed"
    } else {
        "replayed"
    };
    println!("{} {verb}", letters(done.replayed));
    if let Some(replay) = done.replay {
        println!("replay {replay}");
    }
    for (reason, count) in &done.skipped {
        println!("{count} left alone: {}", clean(reason));
    }
    if done.remaining > 0 {
        println!("{} more match; run it again for the next", done.remaining);
    }
}

pub(crate) async fn audit(client: &Client, limit: u32) -> Result<Done, Failure> {
    let query = [("limit", Some(limit.to_string()))];
    let (answer, page): (Value, Page<ReplayView>) = client.get(&["dlq", "replays"], &query).await?;
    if client.json {
        text::json(&answer)?;
    } else if page.items.is_empty() {
        eprintln!("nothing has been replayed");
    } else {
        let rows: Vec<Vec<String>> = page
            .items
            .iter()
            .map(|replay| {
                vec![
                    replay.replay.to_string(),
                    time(replay.requested_at),
                    clean(&replay.actor),
                    replay.letters.to_string(),
                    or_dash(replay.reason.as_deref()),
                ]
            })
            .collect();
        text::table(&["REPLAY", "AT", "BY", "LETTERS", "REASON"], &rows)?;
    }
    Ok(if page.items.is_empty() {
        Done::Nothing
    } else {
        Done::Something
    })
}
