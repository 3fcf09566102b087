//! One relay's part in publishing a source beside others: which shards are its own, taken and given back by leases.
//!
//! Leases make handing over quick and polite. They are not what makes it safe: a relay that sleeps through the end of its
//! lease and wakes is refused by the broker (guarantee G4). What it asks the database for, every relay sees alike; what
//! each does about it is decided in [`crate::spread`].

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::failpoint::{self, Point};
use crate::happening::{LeaseChange, LeaseChanged, LeasesAbsent, Stopped};
use crate::instance::{FENCED, Instance, Outcome, away};
use crate::pace::Pace;
use crate::process;
use crate::settings::Settings;
use crate::shard::{Layout, Shard};
use crate::source::{Roster, Source, SourceError, Tenant};
use crate::spread::{Moves, Situation};
use crate::state::{Shards, State};
use crate::takeover::Seats;

pub(crate) use change::{Order, Task};

/// Beside others, a relay looks this often: a quarter of the second in which a graceful stop hands over.
const LOOK: Duration = Duration::from_millis(250);
/// How long a relay that signs off may take to end the transactions in hand, usually.
const LEAVES_WITHIN: Duration = Duration::from_secs(3);
/// Without leases there is only the layout to look for.
const LOOK_WITHOUT_LEASES: Duration = Duration::from_secs(1);

/// The shards of one source that this relay publishes.
pub(crate) struct Coordinator<S> {
    pub(crate) name: String,
    pub(crate) source: S,
    pub(crate) seats: Seats,
    pub(crate) settings: Arc<Settings>,
    pub(crate) shards: Arc<Shards>,
    pub(crate) shutdown: CancellationToken,
    /// This relay, as the others see it.
    tenant: Tenant,
    layout: Layout,
    /// What is being published, and what ends it.
    fleet: BTreeMap<u16, CancellationToken>,
    tasks: JoinSet<(u16, Outcome)>,
    /// Shards that only a person can get going here: left to other relays.
    unfit: BTreeSet<u16>,
    /// Where the database has leases: not in an older service's.
    leases: Leases,
    /// Until it has looked once: a dead tenant on this host can only be its own predecessor then.
    just_started: bool,
    beat_at: Instant,
    /// Since when a relay that has signed off is seen with leases.
    leaving_since: Option<Instant>,
    trouble: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leases {
    /// Switched off by the settings.
    Unused,
    Used,
    /// The database has no table for them, or did not when it was asked last.
    Absent,
}

impl<S: Source> Coordinator<S> {
    pub(crate) fn new(
        name: &str,
        source: S,
        seats: Seats,
        settings: Arc<Settings>,
        shards: Arc<Shards>,
        shutdown: CancellationToken,
    ) -> Self {
        let lasts = Duration::from_secs(settings.lease_seconds);
        Self {
            name: name.to_owned(),
            source,
            seats,
            shards,
            shutdown,
            tenant: Tenant {
                owner: Uuid::now_v7(),
                holder: process::this(),
                lasts,
            },
            layout: Layout::FIRST,
            fleet: BTreeMap::new(),
            tasks: JoinSet::new(),
            unfit: BTreeSet::new(),
            leases: if lasts.is_zero() {
                Leases::Unused
            } else {
                Leases::Used
            },
            just_started: true,
            beat_at: Instant::now(),
            leaving_since: None,
            trouble: Pace::away(),
            settings,
        }
    }

    /// Publishes what is this relay's until it is told to stop; then gives it back.
    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while !self.shutdown.is_cancelled() {
            let pause = match self.round().await {
                Ok(pause) => {
                    self.trouble.reset();
                    pause
                }
                Err(error) => self.not_looked(&error),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Some(ended) = self.tasks.join_next() => self.ended(ended).await,
                Some(order) = orders.recv() => self.carry_out(order).await,
                () = self.shutdown.cancelled() => {}
            }
        }
        // Before anything is given back: whoever sees a free lease then knows that it need not leave it to this relay, and
        // whoever sees that this one has signed off looks often.
        self.sign_off().await;
        self.recall_all().await;
    }

    async fn sign_off(&mut self) {
        if self.leases == Leases::Used
            && let Err(error) = self.source.leave(&self.tenant).await
        {
            tracing::debug!(source = self.name, %error, "not signed off, others find out");
        }
    }

    /// Looks at the source and does what is this relay's to do; returns when to look again.
    async fn round(&mut self) -> Result<Duration, SourceError> {
        let roster = match self.look().await {
            Err(error) if error.is_absent() => {
                self.go_without_leases(&error);
                return Ok(self.tenant.lasts / 3);
            }
            roster => roster?,
        };
        if self.leases == Leases::Absent {
            // The service was brought up to date meanwhile. What runs goes on under a lease, if nobody else has it.
            self.leases = Leases::Used;
        }
        if let Some(change) = &roster.layout.change {
            if change.expired || (self.just_started && process::is_dead(&change.holder)) {
                self.source.unmark(change.id).await?;
                return Ok(Duration::ZERO);
            }
            self.stand_back(&change.holder).await;
            return Ok(LOOK);
        }
        if (roster.layout.id, roster.layout.shards) != (self.layout.id, self.layout.shards) {
            self.recall_all().await;
            self.shards.divide(&roster.layout);
            self.layout = roster.layout.clone();
        }
        if self.leases == Leases::Unused {
            self.deploy_all();
            return Ok(LOOK_WITHOUT_LEASES);
        }
        self.share(&roster).await
    }

    /// Asks the database who is at work, renewing what is this relay's when it is time.
    async fn look(&mut self) -> Result<Roster, SourceError> {
        if self.leases == Leases::Unused || Instant::now() < self.beat_at {
            return self.source.roster().await;
        }
        let held: Vec<u16> = self.fleet.keys().copied().collect();
        if !held.is_empty() {
            failpoint::hit(Point::RenewBefore);
        }
        let offers = self.unfit.is_empty();
        let roster = self.source.beat(&self.tenant, &held, offers).await?;
        if !held.is_empty() {
            failpoint::hit(Point::RenewAfter);
        }
        self.beat_at = Instant::now() + self.tenant.lasts / 3;
        for shard in held.iter().filter(|shard| !roster.renewed.contains(shard)) {
            self.lost(*shard);
        }
        Ok(roster)
    }

    /// Takes and gives back until this relay has its share.
    async fn share(&mut self, roster: &Roster) -> Result<Duration, SourceError> {
        let me = self.tenant.owner;
        let dead: Vec<Uuid> = if std::mem::take(&mut self.just_started) {
            let leases = roster
                .leases
                .iter()
                .map(|lease| (lease.owner, &lease.holder));
            let members = roster
                .members
                .iter()
                .map(|member| (member.owner, &member.holder));
            leases
                .chain(members)
                .filter(|(owner, holder)| *owner != me && process::is_dead(holder))
                .map(|(owner, _)| owner)
                .collect()
        } else {
            Vec::new()
        };
        let mut members: Vec<Uuid> = roster
            .members
            .iter()
            .map(|member| member.owner)
            .filter(|owner| *owner != me && !dead.contains(owner))
            .collect();
        if self.unfit.is_empty() {
            members.push(me);
        }
        let held: Vec<(u16, Uuid)> = roster
            .leases
            .iter()
            .filter(|lease| lease.owner != me && !lease.expired && !dead.contains(&lease.owner))
            .map(|lease| (lease.shard, lease.owner))
            .chain(self.fleet.keys().map(|shard| (*shard, me)))
            .collect();
        let alone = members
            .iter()
            .chain(held.iter().map(|(_, owner)| owner))
            .all(|owner| *owner == me);
        let Moves { mut take, release } = Situation {
            me,
            shards: self.layout.shards,
            members: &members,
            held: &held,
            source: &self.name,
        }
        .moves();
        for shard in release {
            self.recall(shard);
        }
        take.retain(|shard| !self.unfit.contains(shard));
        if !take.is_empty() {
            for shard in self.source.take_leases(&self.tenant, &take, &dead).await? {
                self.changed(shard, LeaseChange::Taken);
                self.deploy(shard);
            }
        }
        self.tell_standby(roster);
        let leaving = held
            .iter()
            .any(|(_, owner)| *owner != me && !members.contains(owner));
        Ok(if alone {
            self.beat_at.saturating_duration_since(Instant::now())
        } else {
            self.pause_beside_others(leaving)
        })
    }

    /// Until the next look; `leaving`: a relay has signed off and still has leases, which it gives back in a moment. Not
    /// so one that has signed off since it cannot publish some other shard.
    fn pause_beside_others(&mut self, leaving: bool) -> Duration {
        if !leaving {
            self.leaving_since = None;
            return LOOK;
        }
        let since = self.leaving_since.get_or_insert_with(Instant::now);
        if since.elapsed() < LEAVES_WITHIN {
            LOOK / 5
        } else {
            LOOK
        }
    }

    /// Says who publishes what this relay does not.
    fn tell_standby(&self, roster: &Roster) {
        for lease in &roster.leases {
            let elsewhere = !lease.expired && lease.owner != self.tenant.owner;
            if elsewhere && !self.is_busy_with(lease.shard) {
                self.enter(lease.shard, State::Standby(lease.holder.clone()));
            }
        }
    }

    fn is_busy_with(&self, shard: u16) -> bool {
        self.fleet.contains_key(&shard) || self.unfit.contains(&shard)
    }

    /// Another relay changes the source, and publishes what is left of it meanwhile.
    async fn stand_back(&mut self, holder: &str) {
        self.recall_all().await;
        for shard in self.layout.shards() {
            self.enter(shard.index(), State::Standby(holder.to_owned()));
        }
    }

    fn go_without_leases(&mut self, error: &SourceError) {
        if self.leases != Leases::Unused
            && std::mem::replace(&mut self.leases, Leases::Absent) != Leases::Absent
        {
            telemetry::emit(LeasesAbsent {
                source: &self.name,
                error: &error.to_string(),
            });
        }
        self.deploy_all();
    }

    fn deploy_all(&mut self) {
        for shard in self.layout.shards() {
            if !self.is_busy_with(shard.index()) {
                self.deploy(shard.index());
            }
        }
    }

    fn deploy(&mut self, shard: u16) {
        let stop = self.shutdown.child_token();
        if let Some(instance) = self.instance(shard, None, stop.clone()) {
            self.tasks
                .spawn(async move { (shard, instance.run().await) });
            self.fleet.insert(shard, stop);
        }
    }

    fn instance(
        &self,
        shard: u16,
        change: Option<Uuid>,
        stop: CancellationToken,
    ) -> Option<Instance<S>> {
        let shared = self.shards.get(shard)?;
        let shard = Shard::of(shard, self.layout.shards)?;
        Some(Instance {
            name: self.name.clone(),
            source: self.source.another(shard),
            seat: self.seats.seat(self.layout.id, shard),
            layout: self.layout.id,
            change,
            settings: Arc::clone(&self.settings),
            shared,
            stop,
        })
    }

    /// Ends a shard between two transactions. Its lease is kept until it has ended.
    fn recall(&self, shard: u16) {
        if let Some(stop) = self.fleet.get(&shard) {
            stop.cancel();
        }
    }

    async fn recall_all(&mut self) {
        for stop in self.fleet.values() {
            stop.cancel();
        }
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended).await;
        }
    }

    /// The lease has gone to another.
    fn lost(&self, shard: u16) {
        self.recall(shard);
        self.changed(shard, LeaseChange::Lost);
    }

    async fn ended(&mut self, ended: Result<(u16, Outcome), tokio::task::JoinError>) {
        let (shard, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.fleet.remove(&shard);
        if let Some(shared) = self.shards.get(shard) {
            shared.put_place(None);
        }
        if let Outcome::Stopped { code, reason } = outcome
            && !(code == FENCED && self.is_anothers(shard).await)
        {
            self.stopped(shard, code, &reason).await;
        }
        if self.leases == Leases::Used {
            match self.source.give_back(&self.tenant, &[shard]).await {
                Ok(()) => self.changed(shard, LeaseChange::Released),
                Err(error) => {
                    tracing::debug!(source = self.name, %error, "lease not released, it expires");
                }
            }
        }
    }

    /// Whether another relay has the shard by its lease. Not known is no.
    async fn is_anothers(&mut self, shard: u16) -> bool {
        if self.leases != Leases::Used {
            return false;
        }
        let Ok(roster) = self.source.roster().await else {
            return false;
        };
        let changed = roster.layout.id != self.layout.id || roster.layout.change.is_some();
        let mut leases = roster.leases.iter();
        changed || leases.any(|lease| lease.shard == shard && lease.owner != self.tenant.owner)
    }

    /// A person is needed here; the next relay may be better off, for example with a newer version.
    async fn stopped(&mut self, shard: u16, code: &'static str, reason: &str) {
        self.enter(shard, State::Stopped(format!("{reason} ({code})")));
        telemetry::emit(Stopped {
            source: &self.name,
            shard,
            code,
            reason,
        });
        self.unfit.insert(shard);
        self.sign_off().await;
    }

    /// The database did not answer: whoever has which lease is not known then, and is not disturbed. What runs tells of it
    /// itself.
    fn not_looked(&mut self, error: &SourceError) -> Duration {
        let reason = error.to_string();
        for shared in self.shards.list() {
            if !self.is_busy_with(shared.status().shard) {
                away(&self.name, &shared, &reason);
            }
        }
        self.trouble.pause()
    }

    fn enter(&self, shard: u16, state: State) {
        if let Some(shared) = self.shards.get(shard) {
            shared.enter(state);
        }
    }

    fn changed(&self, shard: u16, change: LeaseChange) {
        telemetry::emit(LeaseChanged {
            source: &self.name,
            shard,
            change,
        });
    }
}
