//! Which source is meant, where none is named.

use cli_kit::{Client, Failure};
use outbox_relay::state::Status;

/// The named source, or the only one.
pub(crate) async fn chosen(client: &Client, named: Option<String>) -> Result<String, Failure> {
    if let Some(name) = named {
        return Ok(name);
    }
    let (_, sources) = client.get::<Vec<Status>>(&["sources"], &[]).await?;
    let names: Vec<_> = sources.into_iter().map(|status| status.source).collect();
    match names.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(Failure::Usage(format!(
            "which source? name one by --source: {}",
            names.join(", ")
        ))),
    }
}
