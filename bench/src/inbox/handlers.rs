//! The handlers: one row updated by its key for each event, one statement an event or one for all.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use oncebox::{BatchFailure, BatchHandler, Delivery, ErrorClass, Failure, Handler};
use sqlx::PgConnection;

use super::event::{self, Move};
use super::histogram::Histogram;

/// Not counted after the first record: the group settles, caches fill.
const WARM_UP: Duration = Duration::from_secs(2);

/// When keys fail, and how late events come to their effect.
pub(crate) struct Watch {
    failing: Duration,
    first: OnceLock<Instant>,
    latencies: Mutex<Histogram>,
}

impl Watch {
    pub(crate) fn new(failing: Duration) -> Self {
        Self {
            failing,
            first: OnceLock::new(),
            latencies: Mutex::default(),
        }
    }

    pub(crate) fn latencies(&self) -> Histogram {
        self.latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn since_first(&self) -> Duration {
        self.first.get_or_init(Instant::now).elapsed()
    }

    fn fails(&self, message: &Move) -> Option<Failure> {
        let failing = self.failing > Duration::ZERO
            && event::fails(message.moved().account)
            && self.since_first() < self.failing;
        failing.then(|| {
            Failure::new(
                ErrorClass::Transient,
                "handler.unclear_failure",
                "this key fails",
            )
        })
    }

    /// Notes events that have taken effect, but for those of keys that fail sometimes.
    fn done<'a>(&self, messages: impl Iterator<Item = &'a Move>) {
        if self.since_first() < WARM_UP {
            return;
        }
        let now = event::now_micros();
        let mut latencies = self
            .latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for moved in messages.map(Move::moved) {
            if !event::fails(moved.account) {
                latencies.add(now.saturating_sub(moved.sent_at).max(0).unsigned_abs());
            }
        }
    }
}

/// One event at a time.
pub(crate) struct Move1(pub(crate) std::sync::Arc<Watch>);

#[async_trait]
impl Handler for Move1 {
    type Message = Move;

    fn prepares(&self) -> bool {
        false
    }

    async fn handle(
        &self,
        tx: &mut PgConnection,
        delivery: &Delivery<Move>,
    ) -> Result<(), Failure> {
        if let Some(failure) = self.0.fails(&delivery.message) {
            return Err(failure);
        }
        let moved = delivery.message.moved();
        sqlx::query(
            "update accounts set balance = balance + $2, events = events + 1 where id = $1",
        )
        .bind(moved.account)
        .bind(moved.amount)
        .execute(tx)
        .await?;
        self.0.done(std::iter::once(&delivery.message));
        Ok(())
    }
}

/// All events of a batch at once.
pub(crate) struct MoveMany(pub(crate) std::sync::Arc<Watch>);

#[async_trait]
impl BatchHandler for MoveMany {
    type Message = Move;

    fn prepares(&self) -> bool {
        false
    }

    async fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<Move>],
    ) -> Result<(), BatchFailure> {
        let failing = batch.iter().enumerate();
        let failing: Vec<(usize, Failure)> = failing
            .filter_map(|(index, delivery)| Some((index, self.0.fails(&delivery.message)?)))
            .collect();
        if !failing.is_empty() {
            return Err(BatchFailure::Records(failing));
        }
        let moves = batch.iter().map(|delivery| delivery.message.moved());
        let (accounts, amounts): (Vec<i64>, Vec<i64>) =
            moves.map(|moved| (moved.account, moved.amount)).unzip();
        sqlx::query(
            "update accounts set balance = balance + sums.amount, events = accounts.events + sums.events
             from (select id, sum(amount)::bigint as amount, count(*) as events
                   from unnest($1::bigint[], $2::bigint[]) as moves (id, amount) group by id) as sums
             where accounts.id = sums.id",
        )
        .bind(accounts)
        .bind(amounts)
        .execute(tx)
        .await?;
        self.0.done(batch.iter().map(|delivery| &delivery.message));
        Ok(())
    }
}
