//! Having a source changed as a whole, and waiting until that is done.

use std::time::Duration;

use cli_kit::{Client, Failure};
use outbox_relay::api::views::ChangeView;
use outbox_relay::state::Status;
use serde_json::Value;

const INTERVAL: Duration = Duration::from_secs(1);

/// Gives the order; returns the API's last answer once it is carried out.
pub(crate) async fn order(
    client: &Client,
    source: &str,
    what: &str,
    request: Value,
) -> Result<(Value, ChangeView), Failure> {
    let (mut answer, mut change) = client
        .post::<ChangeView>(&["sources", source, what], request)
        .await?;
    while change.ended_at.is_none() {
        if !client.json {
            let waiting = waiting(client, source).await?;
            eprintln!("{}: {waiting} rows are published first", change.task);
        }
        tokio::time::sleep(INTERVAL).await;
        (answer, change) = client.get(&["sources", source, "change"], &[]).await?;
    }
    Ok((answer, change))
}

/// Rows that wait in the source, as far as this relay knows.
async fn waiting(client: &Client, source: &str) -> Result<i64, Failure> {
    let (_, shards) = client.get::<Vec<Status>>(&["sources"], &[]).await?;
    let shards = shards.iter().filter(|shard| shard.source == source);
    Ok(shards.map(|shard| shard.pending_rows).sum())
}
