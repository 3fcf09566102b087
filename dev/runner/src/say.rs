//! Plain lines of progress with the time since the start.

use std::time::Instant;

use devstack::Say;

/// Prints each line behind the seconds since now.
pub(crate) fn timed() -> Say {
    let start = Instant::now();
    Say::new(move |line| println!("[{:6.1} s] {line}", start.elapsed().as_secs_f64()))
}
