//! Plain lines of progress with the time since the start.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use devstack::Say;

/// Prints each line behind the seconds since the command was given, building included.
pub(crate) fn timed() -> Say {
    let start = Instant::now();
    let before = before();
    Say::new(move |line| {
        println!(
            "[{:6.1} s] {line}",
            (before + start.elapsed()).as_secs_f64()
        )
    })
}

/// How long the launcher took before us: it says when it began, in milliseconds of the epoch.
fn before() -> Duration {
    let begin = std::env::var("ONCEBOX_DEV_SINCE")
        .ok()
        .and_then(|since| since.parse().ok());
    let begin = begin.map(|since| UNIX_EPOCH + Duration::from_millis(since));
    begin
        .and_then(|begin| SystemTime::now().duration_since(begin).ok())
        .unwrap_or_default()
}
