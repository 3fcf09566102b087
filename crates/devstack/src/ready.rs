//! Waiting until a part answers, without waiting any longer for one that has ended.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::StackError;
use crate::process::tail;
use crate::state::State;
use crate::{postgres, registry, stack};

/// How long a part may take: ten times what it needs on two cores.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for the broker.
pub(crate) async fn kafka(dir: &Path, bootstrap: &str) -> Result<(), StackError> {
    until(dir, crate::kafka::NAME, async || {
        crate::kafka::answers(bootstrap.to_owned()).await
    })
    .await
}

/// Waits for PostgreSQL.
pub(crate) async fn postgres(dir: &Path, url: &str) -> Result<(), StackError> {
    until(dir, postgres::NAME, async || {
        postgres::answers(url.to_owned()).await
    })
    .await
}

/// Waits for the registry.
pub(crate) async fn registry(dir: &Path, url: &str) -> Result<(), StackError> {
    until(dir, registry::NAME, async || {
        registry::answers(url.to_owned()).await
    })
    .await
}

async fn until(
    dir: &Path,
    name: &str,
    look: impl AsyncFn() -> Result<(), String>,
) -> Result<(), StackError> {
    let start = Instant::now();
    loop {
        let Err(last) = look().await else {
            return Ok(());
        };
        stack::check(dir)?;
        if start.elapsed() >= LIMIT {
            let log = State::read(dir)?
                .and_then(|mut state| state.parts.remove(name))
                .map_or_else(|| dir.join("logs"), |part| part.launch.log);
            return Err(StackError::NotReady {
                part: name.to_owned(),
                seconds: LIMIT.as_secs(),
                last,
                tail: tail(&log, 20),
                log,
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
