//! What a source is doing, for health, status and metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::cursor::Cursor;
use crate::shard::{Layout, Shard};
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

/// Figures of one shard of a source.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Name in the configuration.
    pub source: String,
    /// Which shard of the source; 0 where it is not divided.
    pub shard: u16,
    /// How many shards the source has.
    pub shards: u16,
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

/// What is known of one shard: shared by the instance that publishes it and whoever asks.
#[derive(Debug)]
pub struct Shared {
    status: Mutex<Status>,
    /// When the state was last worth telling.
    told: Mutex<Instant>,
    /// The cursor, while this relay publishes the shard.
    place: Mutex<Option<Cursor>>,
    /// An operator changed something about parked rows.
    pub(crate) poke: Notify,
    /// Something was written, or is about to be committed.
    pub(crate) wake: Notify,
}

/// What is known of each shard of a source.
#[derive(Debug)]
pub struct Shards {
    source: String,
    list: Mutex<Vec<Arc<Shared>>>,
}

impl Shards {
    /// One, until the database says otherwise.
    pub(crate) fn new(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            list: Mutex::new(vec![Arc::new(Shared::new(source, Shard::ONLY))]),
        }
    }

    /// The source's name in the configuration.
    pub fn name(&self) -> &str {
        &self.source
    }

    /// Each of them, in order.
    pub fn list(&self) -> Vec<Arc<Shared>> {
        self.lock().clone()
    }

    /// What is known of one; none when there are not that many.
    pub(crate) fn get(&self, shard: u16) -> Option<Arc<Shared>> {
        self.lock().get(usize::from(shard)).cloned()
    }

    /// Begins anew where the number of shards is another.
    pub(crate) fn divide(&self, layout: &Layout) {
        let mut list = self.lock();
        if list.len() != usize::from(layout.shards) {
            *list = layout
                .shards()
                .map(|shard| Arc::new(Shared::new(&self.source, shard)))
                .collect();
        }
    }

    /// Tells every instance that something was written.
    pub(crate) fn wake(&self) {
        for shared in self.list() {
            shared.wake.notify_one();
        }
    }

    /// Tells every instance that parked rows were changed.
    pub(crate) fn poke(&self) {
        for shared in self.list() {
            shared.poke.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Shared>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    fn new(source: &str, shard: Shard) -> Self {
        Self {
            status: Mutex::new(Status {
                source: source.to_owned(),
                shard: shard.index(),
                shards: shard.count(),
                state: State::Starting,
                published_rows: 0,
                pending_rows: 0,
                oldest_pending_seconds: 0.0,
                blocked_keys: 0,
                parked: Parkings::default(),
                cursor: None,
            }),
            told: Mutex::new(Instant::now()),
            place: Mutex::new(None),
            poke: Notify::new(),
            wake: Notify::new(),
        }
    }

    /// The cursor; none while another relay has the shard.
    pub(crate) fn place(&self) -> Option<Cursor> {
        self.place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn put_place(&self, cursor: Option<Cursor>) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
    }

    /// Which shard of its source.
    pub(crate) fn shard(&self) -> u16 {
        self.lock().shard
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
