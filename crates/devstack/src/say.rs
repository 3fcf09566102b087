//! Progress in plain lines: who starts a stack decides where they go.

use std::fmt;
use std::sync::Arc;

/// Where lines of progress go.
#[derive(Clone)]
pub struct Say(Arc<dyn Fn(&str) + Send + Sync>);

impl Say {
    /// Lines go to `to`.
    pub fn new(to: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(to))
    }

    /// Lines go nowhere.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Says one line.
    pub fn line(&self, line: &str) {
        (self.0)(line);
    }
}

impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Say")
    }
}
