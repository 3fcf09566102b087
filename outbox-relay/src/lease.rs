//! The lease of a source: which of several relays publishes it, the others standing by.
//!
//! Leases make takeover quick and polite. They are not what makes it safe: a relay that sleeps through the end of its
//! lease and wakes is refused by the broker (guarantee G4).

use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::failpoint::{self, Point};
use crate::happening::{LeaseChange, LeaseChanged, LeasesAbsent};
use crate::source::{Source, SourceError, Tenant};
use crate::state::{Shared, State};

/// A relay that stands by looks this often: a quarter of the second in which a graceful stop hands over.
const LOOK: Duration = Duration::from_millis(250);

/// One relay's side of one source's lease.
pub(crate) struct Lease<S> {
    name: String,
    source: S,
    shared: Arc<Shared>,
    tenant: Tenant,
    /// Not before it was ours once: a dead tenant on this host can only be our own predecessor then.
    just_started: bool,
    /// False where leases are switched off.
    used: bool,
    /// Whether this relay has it; not where the database has no table for leases, which may come any day.
    held: bool,
    absence_told: bool,
}

impl<S: Source> Lease<S> {
    /// A lease that lasts `lasts` without being renewed; zero switches leases off.
    pub(crate) fn new(name: &str, source: S, shared: Arc<Shared>, lasts: Duration) -> Self {
        Self {
            name: name.to_owned(),
            source,
            shared,
            used: !lasts.is_zero(),
            tenant: Tenant {
                owner: Uuid::now_v7(),
                holder: holder(std::process::id()),
                lasts,
            },
            just_started: true,
            held: false,
            absence_told: false,
        }
    }

    /// Stands by until the lease is this relay's; false when asked to stop first.
    ///
    /// # Errors
    /// When the database cannot be asked: whoever has the lease is not known then, and is not disturbed.
    pub(crate) async fn acquire(
        &mut self,
        shutdown: &CancellationToken,
    ) -> Result<bool, SourceError> {
        // Whatever ended the tenure before: it is had again only by taking it.
        self.held = false;
        while self.used {
            match self.try_to_take().await {
                Ok(true) => {
                    (self.just_started, self.held) = (false, true);
                    self.changed(LeaseChange::Taken);
                    return Ok(true);
                }
                Ok(false) => {}
                Err(error) if error.is_absent() => {
                    self.tell_absence(&error);
                    return Ok(!shutdown.is_cancelled());
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = shutdown.cancelled() => return Ok(false),
            }
        }
        Ok(!shutdown.is_cancelled())
    }

    /// Whether it was taken. False when another has it, or was quicker, which the next look tells.
    async fn try_to_take(&mut self) -> Result<bool, SourceError> {
        let mut dead = None;
        if let Some(row) = self.source.lease().await? {
            if self.just_started && is_dead(&row.holder) {
                dead = Some(row.owner);
            } else if !row.expired && row.owner != self.tenant.owner {
                self.shared.enter(State::Standby(row.holder));
                return Ok(false);
            }
        }
        self.source.take_lease(&self.tenant, dead).await
    }

    /// Renews until `stop` is cancelled; cancels it when the lease has gone to another.
    pub(crate) async fn keep(&mut self, stop: &CancellationToken) {
        while self.held {
            tokio::select! {
                () = tokio::time::sleep(self.tenant.lasts / 3) => {}
                () = stop.cancelled() => return,
            }
            failpoint::hit(Point::RenewBefore);
            if !self.is_ours().await {
                self.held = false;
                self.changed(LeaseChange::Lost);
                stop.cancel();
                return;
            }
            failpoint::hit(Point::RenewAfter);
        }
        stop.cancelled().await;
    }

    /// Whether no other relay has it, renewing it. A database that does not answer has not given it to another.
    pub(crate) async fn is_ours(&mut self) -> bool {
        if !self.used {
            return true;
        }
        if self.held {
            return self.source.renew_lease(&self.tenant).await.unwrap_or(true);
        }
        // Lost, or there was none to be had when the tenure began.
        matches!(self.source.lease().await, Ok(None) | Err(_))
    }

    /// Frees the lease for the next relay at once, after the last transaction has ended.
    pub(crate) async fn release(&mut self) {
        if std::mem::take(&mut self.held) {
            match self.source.release_lease(&self.tenant).await {
                Ok(()) => self.changed(LeaseChange::Released),
                Err(error) => {
                    tracing::debug!(source = self.name, %error, "lease not released, it expires")
                }
            }
        }
    }

    fn tell_absence(&mut self, error: &SourceError) {
        if !std::mem::replace(&mut self.absence_told, true) {
            telemetry::emit(LeasesAbsent {
                source: &self.name,
                error: &error.to_string(),
            });
        }
    }

    fn changed(&self, change: LeaseChange) {
        telemetry::emit(LeaseChanged {
            source: &self.name,
            change,
        });
    }
}

fn holder(process: u32) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "unknown".into());
    format!("{}/{process}", host.trim())
}

/// Whether a holder is a process of this host that is no more. So a relay that is started again after a crash goes on
/// at once instead of waiting for its predecessor's lease to expire.
fn is_dead(holder_of_lease: &str) -> bool {
    let Some(Ok(process)) = holder_of_lease
        .rsplit_once('/')
        .map(|(_, process)| process.parse::<u32>())
    else {
        return false;
    };
    if holder(process) != holder_of_lease {
        return false;
    }
    // A container gives the same number to each start.
    process == std::process::id()
        || i32::try_from(process)
            .is_ok_and(|process| kill(Pid::from_raw(process), None) == Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_host_can_be_known_to_be_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = child.id();
        child.wait().unwrap();
        assert!(is_dead(&holder(process)));
        assert!(is_dead(&holder(std::process::id())), "our predecessor");
        assert!(!is_dead(&holder(std::os::unix::process::parent_id())));
        assert!(!is_dead(&format!("another-host/{process}")));
        assert!(!is_dead("no process"));
    }
}
