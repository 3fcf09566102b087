//! `parked`: a consumer's parked keys on the command line.

mod args;

use std::process::ExitCode;

use clap::Parser as _;
use cli_kit::text::{self, clean, time};
use cli_kit::{Client, Done, Failure, Service};
use consumer_desk::views::{Decided, KeyView};
use serde_json::json;

use args::{Arguments, Command, Which};

const SERVICE: Service = Service {
    name: "service",
    url_variable: "PARKED_URL",
    token_variable: "PARKED_TOKEN",
};
/// The most that the service lists.
const LIMIT: u32 = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli_kit::exit(&SERVICE, run(arguments).await)
}

async fn run(arguments: Arguments) -> Result<Done, Failure> {
    let token = arguments.token.as_deref().unwrap_or_default();
    let client = Client::new(SERVICE, &arguments.url, token, arguments.json)?;
    match arguments.command {
        Command::List { limit } => list(&client, limit).await,
        Command::Retry(which) => decide(&client, "retry", which).await,
        Command::DeadLetter(which) => decide(&client, "dead_letter", which).await,
        Command::Release(which) => decide(&client, "release", which).await,
    }
}

async fn list(client: &Client, limit: u32) -> Result<Done, Failure> {
    let parameters = [("limit", Some(limit.to_string()))];
    let (answer, keys) = client.get::<Vec<KeyView>>(&["parked"], &parameters).await?;
    if client.json {
        text::json(&answer)?;
    } else if !keys.is_empty() {
        let rows: Vec<_> = keys.iter().map(line).collect();
        text::table(
            &[
                "TOPIC",
                "PARTITION",
                "KEY",
                "RECORDS",
                "ATTEMPTS",
                "NEXT",
                "ERROR",
            ],
            &rows,
        )?;
    }
    Ok(if keys.is_empty() {
        eprintln!("no key is parked");
        Done::Nothing
    } else {
        Done::Something
    })
}

fn line(key: &KeyView) -> Vec<String> {
    let next = match (key.held_for, key.waits_for, key.next_attempt_at) {
        (Some(event), ..) => format!("held for {event}"),
        (None, Some(sequence), at) => {
            let until = at.map_or_else(|| "-".to_owned(), time);
            format!("waits for sequence {sequence} until {until}")
        }
        (None, None, at) => at.map_or_else(|| "-".to_owned(), time),
    };
    let error = key.last_error.as_ref();
    vec![
        clean(&key.topic),
        key.partition.to_string(),
        name(key),
        key.depth.to_string(),
        key.attempts.to_string(),
        next,
        error.map_or_else(
            || "-".to_owned(),
            |error| clean(&format!("{}: {}", error.code, error.message)),
        ),
    ]
}

fn name(key: &KeyView) -> String {
    match (&key.key, &key.key_base64) {
        (Some(text), _) => clean(text),
        (None, Some(base64)) => format!("base64:{base64}"),
        (None, None) => format!("lane:{}", key.lane),
    }
}

async fn decide(client: &Client, decision: &'static str, which: Which) -> Result<Done, Failure> {
    let limit = [("limit", Some(LIMIT.to_string()))];
    let (_, keys) = client.get::<Vec<KeyView>>(&["parked"], &limit).await?;
    let chosen: Vec<&KeyView> = keys
        .iter()
        .filter(|key| which.all || which.key.as_deref() == Some(name(key).as_str()))
        .filter(|key| which.topic.as_ref().is_none_or(|topic| *topic == key.topic))
        // What is held waits for another decision than what is not.
        .filter(|key| key.held_for.is_some() == (decision == "release"))
        .collect();
    let actor = which
        .actor
        .or_else(|| std::env::var("USER").ok())
        .filter(|actor| !actor.trim().is_empty())
        .ok_or_else(|| Failure::Usage("say who decides, by --actor or PARKED_ACTOR".into()))?;
    let mut answers = Vec::new();
    for key in &chosen {
        let request = json!({
            "decision": decision, "topic": key.topic, "partition": key.partition, "lane": key.lane,
            "actor": actor, "reason": which.reason,
        });
        let (answer, _) = client
            .post::<Decided>(&["parked", "decisions"], request)
            .await?;
        answers.push(answer);
    }
    if client.json {
        text::json(&serde_json::Value::Array(answers))?;
    } else if !chosen.is_empty() {
        println!("{}: {} keys", decision.replace('_', "-"), chosen.len());
    }
    Ok(if chosen.is_empty() {
        eprintln!("no key is parked that matches");
        Done::Nothing
    } else {
        Done::Something
    })
}
