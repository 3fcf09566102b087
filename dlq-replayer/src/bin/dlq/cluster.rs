//! `dlq kafka …`: topics and consumer groups.

use std::io::{self, Write as _};

use dlq_replayer::api::kafka::{GroupList, TopicList};
use dlq_replayer::domain::cluster::{GroupDetail, TopicDetail, TopicKind};
use serde_json::Value;

use crate::text::{self, clean, number, or_dash};
use cli_kit::Done;
use cli_kit::{Client, Failure};

pub(crate) async fn topics(client: &Client, internal: bool) -> Result<Done, Failure> {
    let (answer, list): (Value, TopicList) = client.get(&["topics"], &[]).await?;
    if client.json {
        text::json(&answer)?;
        return Ok(Done::Something);
    }
    let rows: Vec<Vec<String>> = list
        .items
        .iter()
        .filter(|topic| internal || topic.kind != TopicKind::Internal)
        .map(|topic| {
            let kind = match topic.kind {
                TopicKind::Records => "records",
                TopicKind::DeadLetters => "dead letters",
                TopicKind::Replays => "replays",
                TopicKind::Internal => "internal",
            };
            vec![
                clean(&topic.topic),
                kind.to_owned(),
                topic.partitions.to_string(),
                number(topic.offsets),
            ]
        })
        .collect();
    text::table(&["TOPIC", "KIND", "PARTITIONS", "OFFSETS"], &rows)?;
    Ok(Done::Something)
}

pub(crate) async fn topic(client: &Client, topic: &str) -> Result<Done, Failure> {
    let (answer, detail): (Value, TopicDetail) = client.get(&["topics", topic], &[]).await?;
    if client.json {
        text::json(&answer)?;
        return Ok(Done::Something);
    }
    let rows: Vec<Vec<String>> = detail
        .partitions
        .iter()
        .map(|partition| {
            vec![
                partition.partition.to_string(),
                number(partition.first_offset),
                number(partition.next_offset),
                number(partition.high_watermark),
                number(partition.leader),
                format!("{}/{}", partition.in_sync.len(), partition.replicas.len()),
            ]
        })
        .collect();
    text::table(
        &[
            "PARTITION",
            "FIRST",
            "NEXT",
            "HIGH WATERMARK",
            "LEADER",
            "IN SYNC",
        ],
        &rows,
    )?;
    let mut out = io::stdout().lock();
    writeln!(out)?;
    let configs: Vec<(&str, Option<String>)> = detail
        .configs
        .iter()
        .map(|(name, config)| {
            let origin = if config.set_here { "" } else { "  (broker's)" };
            (
                name.as_str(),
                config
                    .value
                    .as_deref()
                    .map(|value| format!("{}{origin}", clean(value))),
            )
        })
        .collect();
    text::fields(&mut out, &configs)?;
    Ok(Done::Something)
}

pub(crate) async fn groups(client: &Client) -> Result<Done, Failure> {
    let (answer, list): (Value, GroupList) = client.get(&["groups"], &[]).await?;
    if client.json {
        text::json(&answer)?;
    } else if list.items.is_empty() {
        eprintln!("no consumer groups");
    } else {
        let rows: Vec<Vec<String>> = list
            .items
            .iter()
            .map(|group| {
                vec![
                    clean(&group.group),
                    clean(&group.state),
                    group.members.to_string(),
                    clean(&group.protocol),
                ]
            })
            .collect();
        text::table(&["GROUP", "STATE", "MEMBERS", "PROTOCOL"], &rows)?;
    }
    Ok(if list.items.is_empty() {
        Done::Nothing
    } else {
        Done::Something
    })
}

pub(crate) async fn group(client: &Client, group: &str) -> Result<Done, Failure> {
    let (answer, detail): (Value, GroupDetail) = client.get(&["groups", group], &[]).await?;
    if client.json {
        text::json(&answer)?;
        return Ok(Done::Something);
    }
    println!(
        "{}: {}, {} members, lag {}\n",
        clean(&detail.group),
        clean(&detail.state),
        detail.members.len(),
        detail.lag
    );
    let rows: Vec<Vec<String>> = detail
        .partitions
        .iter()
        .map(|partition| {
            let client = detail
                .members
                .iter()
                .find(|member| Some(&member.member) == partition.member.as_ref())
                .map(|member| format!("{} {}", member.client, member.host));
            vec![
                clean(&partition.topic),
                partition.partition.to_string(),
                number(partition.committed),
                number(partition.next_offset),
                number(partition.lag),
                or_dash(client.as_deref()),
            ]
        })
        .collect();
    text::table(
        &["TOPIC", "PARTITION", "COMMITTED", "NEXT", "LAG", "READ BY"],
        &rows,
    )?;
    Ok(Done::Something)
}
