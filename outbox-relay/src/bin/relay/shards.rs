//! How a source is divided among relays, and dividing it anew.

use cli_kit::{Client, Done, Failure, text};
use outbox_relay::api::views::ShardsView;
use serde_json::json;

use crate::args::{By, actor};
use crate::change;
use crate::sources::chosen;

pub(crate) async fn show(client: &Client, source: Option<String>) -> Result<Done, Failure> {
    let source = chosen(client, source).await?;
    let (answer, view) = client
        .get::<ShardsView>(&["sources", &source, "shards"], &[])
        .await?;
    if client.json {
        text::json(&answer)?;
        return Ok(Done::Something);
    }
    let relay = |shard: u16| {
        let lease = view.leases.iter().find(|lease| lease.shard == shard);
        lease.map_or_else(|| "-".to_owned(), |lease| text::clean(&lease.relay))
    };
    let rows: Vec<_> = (0..view.shards)
        .map(|shard| vec![shard.to_string(), relay(shard)])
        .collect();
    text::table(&["SHARD", "PUBLISHED BY"], &rows)?;
    let idle = view
        .relays
        .iter()
        .filter(|relay| view.leases.iter().all(|lease| lease.relay != **relay));
    for relay in idle {
        println!("{} stands by", text::clean(relay));
    }
    if let Some(holder) = &view.changed_by {
        println!("{} is changing the source", text::clean(holder));
    }
    Ok(Done::Something)
}

pub(crate) async fn set(
    client: &Client,
    shards: u16,
    source: Option<String>,
    by: By,
) -> Result<Done, Failure> {
    let source = chosen(client, source).await?;
    let request = json!({ "shards": shards, "actor": actor(by.actor)?, "reason": by.reason });
    let (answer, _) = change::order(client, &source, "shards", request).await?;
    if client.json {
        text::json(&answer)?;
    } else {
        println!("{source} has {shards} shards");
    }
    Ok(Done::Something)
}
