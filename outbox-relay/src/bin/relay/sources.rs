//! Which source is meant, where none is named.

use cli_kit::{Client, Failure};
use outbox_relay::state::Status;

/// The named source, or the only one.
pub(crate) async fn chosen(client: &Client, named: Option<String>) -> Result<String, Failure> {
    let names = chosen_or_all(client, named).await?;
    match names.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(Failure::Usage(format!(
            "which source? name one by --source: {}",
            names.join(", ")
        ))),
    }
}

/// The named source, or every one.
pub(crate) async fn chosen_or_all(
    client: &Client,
    named: Option<String>,
) -> Result<Vec<String>, Failure> {
    if let Some(name) = named {
        return Ok(vec![name]);
    }
    let (_, sources) = client.get::<Vec<Status>>(&["sources"], &[]).await?;
    let mut names: Vec<_> = sources.into_iter().map(|status| status.source).collect();
    names.dedup();
    Ok(names)
}
