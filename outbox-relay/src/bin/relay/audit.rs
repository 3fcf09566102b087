//! Who decided what.

use cli_kit::text::{self, clean, time};
use cli_kit::{Client, Done, Failure};
use outbox_relay::api::views::AuditLine;

use crate::sources::chosen;

/// A page, as far as it is read here.
#[derive(Debug, serde::Deserialize)]
struct Page {
    items: Vec<AuditLine>,
}

pub(crate) async fn audit(
    client: &Client,
    source: Option<String>,
    limit: u32,
) -> Result<Done, Failure> {
    let source = chosen(client, source).await?;
    let (answer, page) = client
        .get::<Page>(
            &["sources", &source, "audit"],
            &[("limit", Some(limit.to_string()))],
        )
        .await?;
    if client.json {
        text::json(&answer)?;
    } else if !page.items.is_empty() {
        let rows: Vec<Vec<String>> = page
            .items
            .iter()
            .map(|line| {
                vec![
                    time(line.at),
                    clean(&line.actor),
                    line.action.clone(),
                    line.rows.to_string(),
                    clean(&line.reason),
                    clean(&which(&line.detail)),
                ]
            })
            .collect();
        text::table(&["AT", "ACTOR", "ACTION", "ROWS", "REASON", "WHICH"], &rows)?;
    }
    Ok(if page.items.is_empty() {
        eprintln!("nobody decided anything about {source}");
        Done::Nothing
    } else {
        Done::Something
    })
}

/// What was chosen, without what was not.
fn which(detail: &serde_json::Value) -> String {
    let parts: Vec<String> = detail
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("{name} {value}")
        })
        .collect();
    if parts.is_empty() {
        "all".into()
    } else {
        parts.join(", ")
    }
}
