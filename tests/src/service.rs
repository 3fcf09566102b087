//! One service as a process: started, awaited, killed, started again on the same port.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::guard::Guard;

/// A service's process and how to start it again.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    port: u16,
    environment: Vec<(String, String)>,
    log: PathBuf,
    group: i32,
    child: Mutex<Option<Child>>,
}

impl Service {
    /// A service that is not started yet, on a free port of its own, in the guard's process group.
    pub fn new(
        guard: &Guard,
        name: &'static str,
        logs: &Path,
        environment: &[(&str, String)],
    ) -> Self {
        let port = testkit::free_port();
        let mut environment: Vec<_> = environment
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        environment.push((
            "ONCEBOX_HTTP_ADDRESS".to_owned(),
            format!("127.0.0.1:{port}"),
        ));
        environment.push(("ONCEBOX_LOG_FORMAT".to_owned(), "text".to_owned()));
        Self {
            name,
            port,
            environment,
            log: logs.join(format!("{name}.log")),
            group: guard.group(),
            child: Mutex::new(None),
        }
    }

    /// The service's name, which is also its binary's.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Base of its HTTP interface.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Applies its migrations and returns.
    pub fn migrate(&self) {
        let status = self
            .command()
            .arg("migrate")
            .status()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        assert!(
            status.success(),
            "{} migrate failed:\n{}",
            self.name,
            self.log_tail()
        );
    }

    /// Starts the process; readiness is awaited by [`Service::ready`].
    pub fn start(&self) {
        let child = self
            .command()
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let before = self.child.lock().unwrap().replace(child);
        assert!(before.is_none(), "{} runs already", self.name);
    }

    /// Waits until it says that it and everything it depends on is ready.
    pub async fn ready(&self) {
        let url = format!("{}/health/ready", self.url());
        let probe = async || {
            if let Some(status) = self.exited() {
                panic!("{} ended with {status}:\n{}", self.name, self.log_tail());
            }
            let answer = reqwest::get(&url).await.ok()?;
            answer.status().is_success().then_some(())
        };
        testkit::eventually(
            &format!("{} to be ready ({})", self.name, self.log.display()),
            Duration::from_secs(60),
            probe,
        )
        .await;
    }

    /// Kills the process without warning, as a crash does.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Asks it to stop, and waits until it has.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
        self.wait();
    }

    /// Freezes it (`SIGSTOP`).
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.lock().unwrap().as_ref().map(Child::id)
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn exited(&self) -> Option<std::process::ExitStatus> {
        self.child.lock().unwrap().as_mut()?.try_wait().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap();
        let pid = child
            .as_ref()
            .unwrap_or_else(|| panic!("{} does not run", self.name))
            .id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    fn wait(&self) {
        let mut child = self.child.lock().unwrap().take().unwrap();
        child.wait().unwrap();
    }

    fn command(&self) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let mut command = Command::new(binaries().join(self.name));
        for (name, _) in std::env::vars() {
            // The stack's addresses are given one by one below; a service refuses keys that it does not know.
            if name.starts_with("ONCEBOX_") {
                command.env_remove(name);
            }
        }
        command
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .process_group(self.group)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where the services' binaries are: beside the test's own, unless the runner says otherwise.
pub fn binaries() -> PathBuf {
    if let Ok(folder) = std::env::var("ONCEBOX_TEST_BIN_DIR") {
        return folder.into();
    }
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}
