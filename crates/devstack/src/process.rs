//! Processes by pid *and* start time: a pid alone may belong to somebody else by the time we look again.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{StackError, Tried};

/// One certain process: never true of another that got the same pid later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// When it started, in the system's own words; compared, never read.
    pub started: String,
}

/// How a process is started: kept in the state file, so that any process can start the part again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Environment variables that are added.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Working directory.
    pub folder: PathBuf,
    /// Where its output goes.
    pub log: PathBuf,
    /// User and group to run as; none: our own.
    #[serde(default)]
    pub user: Option<(u32, u32)>,
    /// Whether it is asked to end by SIGINT instead of SIGTERM. PostgreSQL takes SIGTERM as "when the last client has gone".
    #[serde(default)]
    pub interrupt: bool,
}

impl Identity {
    /// The running process with that pid; none when there is none, or only its zombie.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        started(pid).map(|started| Self { pid, started })
    }

    /// The calling process.
    #[must_use]
    pub fn own() -> Self {
        let pid = std::process::id();
        Self::of(pid).unwrap_or(Self {
            pid,
            started: String::new(),
        })
    }

    /// Whether this very process still runs. A zombie does not run.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        started(self.pid).as_deref() == Some(self.started.as_str())
    }

    /// Sends a signal; nothing when the process has gone.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive()
            && let Ok(pid) = i32::try_from(self.pid)
        {
            // It may end between the look and the signal: then there is nothing to do.
            let _ = signal::kill(Pid::from_raw(pid), signal);
        }
    }

    /// Asks the process to end (SIGTERM) and returns at once.
    pub fn ask_to_end(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Asks the process to end, and kills it when it has not after `patience`. Returns when it is gone.
    pub async fn end(&self, ask: Signal, patience: Duration) {
        // A stopped process does not act on anything but SIGKILL.
        self.signal(Signal::SIGCONT);
        self.signal(ask);
        if !self.gone_within(patience).await {
            self.signal(Signal::SIGKILL);
            self.gone_within(Duration::from_secs(10)).await;
        }
    }

    /// Waits until the process has gone; false when it has not in that time.
    pub async fn gone_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }
}

impl Launch {
    /// Starts the process in a group of its own, so that a Ctrl-C in the terminal reaches us alone and we end
    /// the parts in order. It outlives us: whoever starts it records it.
    ///
    /// # Errors
    /// When the program cannot be started or its log not be written.
    pub fn start(&self) -> Result<Identity, StackError> {
        let name = self.program.display();
        if let Some(folder) = self.log.parent() {
            std::fs::create_dir_all(folder)
                .tried(|| format!("cannot create {}", folder.display()))?;
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .tried(|| format!("cannot write {}", self.log.display()))?;
        let errors = log
            .try_clone()
            .tried(|| format!("cannot write {}", self.log.display()))?;
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            // Settings of whoever starts us are not the part's: services refuse keys that they do not know.
            if name.to_string_lossy().starts_with("ONCEBOX_") {
                command.env_remove(name);
            }
        }
        command
            .args(&self.arguments)
            .envs(&self.environment)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let child = command.spawn().tried(|| format!("cannot start {name}"))?;
        let pid = child.id();
        // Reaped in the background, or an ended part would stay a zombie until we end.
        std::thread::spawn(move || {
            let mut child = child;
            let _ = child.wait();
        });
        // Already gone: an identity that is never alive, so that the caller reports a crash with the log.
        Ok(Identity::of(pid).unwrap_or(Identity {
            pid,
            started: "ended at once".to_owned(),
        }))
    }

    /// The signal that asks it to end.
    #[must_use]
    pub fn ask(&self) -> Signal {
        if self.interrupt {
            Signal::SIGINT
        } else {
            Signal::SIGTERM
        }
    }
}

/// The last `lines` lines of a log; says so when there are none.
#[must_use]
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<_> = text.lines().collect();
    if all.is_empty() {
        return "  (it logged nothing)".to_owned();
    }
    let last = all.get(all.len().saturating_sub(lines)..).unwrap_or(&all);
    last.iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Boot id and start time in ticks since then: a reboot starts both pids and ticks anew.
#[cfg(target_os = "linux")]
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold spaces and brackets itself.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let ticks = fields.nth(18)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{}/{ticks}", boot.trim()))
}

#[cfg(not(target_os = "linux"))]
fn started(pid: u32) -> Option<String> {
    let output = Command::new("ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (state, started) = said.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path) -> Launch {
        Launch {
            program: "sleep".into(),
            arguments: vec!["600".into()],
            environment: BTreeMap::new(),
            folder: folder.to_owned(),
            log: folder.join("sleep.log"),
            user: None,
            interrupt: false,
        }
    }

    #[tokio::test]
    async fn a_process_is_known_by_pid_and_start_time() {
        let folder = tempfile::tempdir().unwrap();
        let process = sleeper(folder.path()).start().unwrap();
        assert!(process.is_alive());
        let other = Identity {
            started: format!("{}0", process.started),
            ..process.clone()
        };
        assert!(
            !other.is_alive(),
            "same pid, other start time: somebody else"
        );
        other.end(Signal::SIGKILL, Duration::from_millis(50)).await;
        assert!(
            process.is_alive(),
            "a stranger with a recorded pid is left alone"
        );
        process.end(Signal::SIGTERM, Duration::from_secs(5)).await;
        assert!(!process.is_alive());
    }

    #[tokio::test]
    async fn a_process_that_does_not_listen_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let stubborn = Launch {
            program: "sh".into(),
            arguments: vec![
                "-c".into(),
                "trap '' TERM; echo deaf; while :; do sleep 0.05; done".into(),
            ],
            ..sleeper(folder.path())
        };
        let process = stubborn.start().unwrap();
        while !std::fs::read_to_string(&stubborn.log)
            .unwrap()
            .contains("deaf")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process
            .end(Signal::SIGTERM, Duration::from_millis(200))
            .await;
        assert!(!process.is_alive());
    }

    #[tokio::test]
    async fn a_stopped_process_ends_too() {
        let folder = tempfile::tempdir().unwrap();
        let process = sleeper(folder.path()).start().unwrap();
        process.signal(Signal::SIGSTOP);
        process.end(Signal::SIGTERM, Duration::from_secs(5)).await;
        assert!(!process.is_alive());
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(tail(&log, 2), "  (it logged nothing)");
        std::fs::write(&log, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail(&log, 2), "  two\n  three");
    }
}
