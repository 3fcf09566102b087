//! When to stop.

use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGTERM or SIGINT (Ctrl-C). A second one ends the process at once.
///
/// Must be called inside a Tokio runtime.
#[must_use]
pub fn token() -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        match signal().await {
            Ok(name) => tracing::info!(signal = name, "stopping"),
            Err(error) => {
                // Without a handler the system's default stands: the signal ends the process.
                tracing::warn!(%error, "signals cannot be watched: no graceful shutdown");
                return;
            }
        }
        cancel.cancel();
        if let Ok(name) = signal().await {
            tracing::warn!(signal = name, "stopping at once, as asked twice");
            std::process::exit(130);
        }
    });
    token
}

#[cfg(unix)]
async fn signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

#[cfg(not(unix))]
async fn signal() -> std::io::Result<&'static str> {
    tokio::signal::ctrl_c().await.map(|()| "ctrl-c")
}
