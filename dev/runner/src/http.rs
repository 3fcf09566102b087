//! Speaks HTTP to our services.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// A client with a deadline on every call.
pub(crate) fn client() -> anyhow::Result<Client> {
    Client::builder()
        .timeout(Duration::from_secs(5))
        .build()
        .context("cannot make an HTTP client")
}

/// Whether the service on that port is ready; otherwise what it says.
pub(crate) async fn ready(client: &Client, port: u16) -> Result<(), String> {
    let answer = client
        .get(format!("http://127.0.0.1:{port}/health/ready"))
        .send()
        .await
        .map_err(|_| "it does not answer".to_owned())?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(format!(
        "{status}: {}",
        answer.text().await.unwrap_or_default()
    ))
}

/// Sends a request and reads JSON; an answer that is no success is an error with its text, except those in `fine`.
pub(crate) async fn call(
    client: &Client,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
    fine: &[StatusCode],
) -> anyhow::Result<Value> {
    let mut request = client.request(method.clone(), url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request
        .send()
        .await
        .with_context(|| format!("{method} {url}"))?;
    let status = answer.status();
    let text = answer
        .text()
        .await
        .with_context(|| format!("{method} {url}"))?;
    if !status.is_success() && !fine.contains(&status) {
        bail!("{method} {url} answered {status}: {text}");
    }
    Ok(serde_json::from_str(&text).unwrap_or_default())
}
