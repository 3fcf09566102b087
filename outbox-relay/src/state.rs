//! What a source is doing, for health, status and metrics.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::source::Parkings;

/// What a source is doing now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum State {
    /// Taking over: fencing a predecessor and reading the cursor back.
    Starting,
    /// Another relay publishes this source; this one takes over when that one stops. Names it by host and process.
    Standby(String),
    /// Publishing, or waiting for something to publish.
    Running,
    /// Database or broker is away; tried again by itself.
    Waiting(String),
    /// Nothing is published: the broker refuses a row and it cannot be parked, or too many are. Tried again slowly.
    Refused(String),
    /// Ended until somebody acts: fenced by another relay, or a database that is not the cursor's.
    Stopped(String),
}

impl State {
    /// Every name that [`State::name`] gives.
    pub(crate) const NAMES: [&'static str; 6] = [
        "starting", "standby", "running", "waiting", "refused", "stopped",
    ];

    /// Its name in metrics, as in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby(_) => "standby",
            Self::Running => "running",
            Self::Waiting(_) => "waiting",
            Self::Refused(_) => "refused",
            Self::Stopped(_) => "stopped",
        }
    }
}

/// Figures of one source.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Name in the configuration.
    pub source: String,
    /// What it is doing.
    #[serde(flatten)]
    pub state: State,
    /// Rows published since this process started.
    pub published_rows: u64,
    /// Committed rows that wait; counted up to 100,000.
    pub pending_rows: i64,
    /// Age in seconds of the oldest row that waits.
    pub oldest_pending_seconds: f64,
    /// Keys that are blocked by a row that the broker refuses.
    pub blocked_keys: u64,
    /// Rows that are parked.
    pub parked: Parkings,
    /// The cursor: settled snapshot, and the position in a window that is not finished.
    pub cursor: Option<String>,
}

/// Shared by the instance that publishes and whoever asks.
#[derive(Debug)]
pub struct Shared {
    status: Mutex<Status>,
    /// When the state was last worth telling.
    told: Mutex<Instant>,
}

/// An outage that goes on is told again after this.
const REMINDER: Duration = Duration::from_secs(60);

/// Whether a state is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// It is another kind of state than before.
    New,
    /// It has been the same for a minute.
    Still,
    /// It was told within the last minute.
    Known,
}

impl Shared {
    pub(crate) fn new(source: &str) -> Self {
        Self {
            status: Mutex::new(Status {
                source: source.to_owned(),
                state: State::Starting,
                published_rows: 0,
                pending_rows: 0,
                oldest_pending_seconds: 0.0,
                blocked_keys: 0,
                parked: Parkings::default(),
                cursor: None,
            }),
            told: Mutex::new(Instant::now()),
        }
    }

    /// A copy of the figures.
    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.lock());
    }

    /// Moves to a state, and says whether that is worth telling.
    pub(crate) fn enter(&self, state: State) -> Telling {
        let mut status = self.lock();
        let changed = std::mem::discriminant(&status.state) != std::mem::discriminant(&state);
        status.state = state;
        drop(status);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let telling = match (changed, told.elapsed() >= REMINDER) {
            (true, _) => Telling::New,
            (false, true) => Telling::Still,
            (false, false) => return Telling::Known,
        };
        *told = Instant::now();
        telling
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
