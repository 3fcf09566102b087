//! A running stack: found by its folder, changed through its record, so that any process may hold it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::compose::{self, Project};
use crate::error::{StackError, Tried};
use crate::process::{Identity, tail};
use crate::state::{FILE, Part, State};
use crate::{StackOptions, kafka, postgres, ready, start};

/// How long a part may take to end when asked, before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Lines of a log that a crash report shows.
const TAIL: usize = 20;

/// How a part is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Asked to end, and waited for.
    Ask,
    /// Killed (SIGKILL), as by a power cut.
    Kill,
}

/// A Kafka, a PostgreSQL and a schema registry.
///
/// The one that [`start`](Self::start) returns owns its processes: when it is dropped without [`stop`](Self::stop) they
/// are killed. One from [`attach`](Self::attach) only controls them. When the owner is itself killed they run on, and
/// the next start in the same folder ends them first.
#[derive(Debug)]
pub struct Stack {
    dir: PathBuf,
    kafka: String,
    database_url: String,
    registry_url: String,
    project: Option<Project>,
    owner: bool,
}

impl Stack {
    /// Starts what `options` ask for and returns when every part answers. Ends what a killed runner left in the
    /// same folder before.
    ///
    /// # Errors
    /// [`StackError::Running`] when a stack of that folder runs; otherwise what kept a part from starting, after ending those
    /// that had started.
    pub async fn start(options: StackOptions) -> Result<Self, StackError> {
        let dir = options.dir.clone();
        let started = start::start(options).await;
        if started.is_err() && !matches!(started, Err(StackError::Running { .. })) {
            end_recorded(&dir).await?;
        }
        started?;
        let mut stack = Self::attach(&dir)?;
        stack.owner = true;
        Ok(stack)
    }

    /// The stack whose folder, or record, that is. It may have been started by another process.
    ///
    /// # Errors
    /// [`StackError::NoSuchPart`] when there is none.
    pub fn attach(at: &Path) -> Result<Self, StackError> {
        let dir = if at.ends_with(FILE) {
            at.parent().unwrap_or(at)
        } else {
            at
        };
        let state = State::read(dir)?.ok_or_else(|| {
            StackError::NoSuchPart(format!("no stack has been started in {}", dir.display()))
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            kafka: state.kafka,
            database_url: state.database_url,
            registry_url: state.registry_url,
            project: state.compose_project.map(Project),
            owner: false,
        })
    }

    /// Kafka's bootstrap address, host and port.
    #[must_use]
    pub fn kafka(&self) -> &str {
        &self.kafka
    }

    /// URL of the server's `postgres` database, as an administrator.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Base URL of the registry's Confluent API.
    #[must_use]
    pub fn registry_url(&self) -> &str {
        &self.registry_url
    }

    /// Its folder: data, `logs`, the record.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Path of the record, with which another process can [`attach`](Self::attach).
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Stops the broker; data and port stay for [`start_kafka`](Self::start_kafka). Returns when it is gone.
    ///
    /// # Errors
    /// [`StackError::NoSuchPart`] when it is not ours to stop.
    pub async fn stop_kafka(&self, how: Stop) -> Result<(), StackError> {
        self.stop_part(kafka::NAME, how).await
    }

    /// Starts the stopped broker again and returns when it answers.
    ///
    /// # Errors
    /// [`StackError::Crashed`] or [`StackError::NotReady`] when it does not come back.
    pub async fn start_kafka(&self) -> Result<(), StackError> {
        self.start_part(kafka::NAME).await?;
        ready::kafka(&self.dir, &self.kafka).await
    }

    /// Stops a part by name (`kafka`, `postgres`, `registry`, or one that a runner added). Returns when it is gone.
    ///
    /// # Errors
    /// [`StackError::NoSuchPart`] when the stack has no such part.
    pub async fn stop_part(&self, name: &str, how: Stop) -> Result<(), StackError> {
        if let Some(project) = &self.project
            && start::OWN.contains(&name)
        {
            return project.part(if how == Stop::Ask { "stop" } else { "kill" }, name);
        }
        let part = self.part(name)?;
        // First the record: somebody who watches for crashes must not take this for one.
        State::change(&self.dir, |state| {
            if let Some(part) = state.parts.get_mut(name) {
                part.process = None;
            }
        })?;
        end(&part, how).await;
        Ok(())
    }

    /// Starts a stopped or crashed part again as it was started before; does not wait until it answers.
    ///
    /// # Errors
    /// [`StackError::NoSuchPart`] when the stack has no such part, [`StackError::Io`] when it cannot be started.
    pub async fn start_part(&self, name: &str) -> Result<(), StackError> {
        if let Some(project) = &self.project
            && start::OWN.contains(&name)
        {
            return project.part("start", name);
        }
        let part = self.part(name)?;
        if part.is_alive() {
            return Ok(());
        }
        let process = part.launch.start()?;
        State::change(&self.dir, |state| {
            if let Some(part) = state.parts.get_mut(name) {
                part.process = Some(process);
            }
        })?;
        Ok(())
    }

    /// Suspends a part (SIGSTOP): it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// [`StackError::NoSuchPart`] when the stack has no such part.
    pub fn pause_part(&self, name: &str) -> Result<(), StackError> {
        self.signal(name, Signal::SIGSTOP, "pause")
    }

    /// Lets a suspended part go on.
    ///
    /// # Errors
    /// [`StackError::NoSuchPart`] when the stack has no such part.
    pub fn resume_part(&self, name: &str) -> Result<(), StackError> {
        self.signal(name, Signal::SIGCONT, "unpause")
    }

    /// The first part that ended although nobody stopped it, with the tail of its log.
    ///
    /// # Errors
    /// [`StackError::Crashed`] is the finding.
    pub fn check(&self) -> Result<(), StackError> {
        check(&self.dir)
    }

    /// Ends every part, the last started first, and returns when they are gone. Data and logs stay.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub async fn stop(mut self) -> Result<(), StackError> {
        self.owner = false;
        end_recorded(&self.dir).await
    }

    /// [`stop`](Self::stop), then removes the folder with data and logs.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn remove(self) -> Result<(), StackError> {
        let (dir, project) = (self.dir.clone(), self.project.clone());
        let elsewhere = State::read(&dir)?.unwrap_or_default().elsewhere;
        self.stop().await?;
        if let Some(project) = project {
            project.down(true)?;
        }
        for folder in elsewhere
            .iter()
            .chain([&dir])
            .filter(|folder| folder.exists())
        {
            std::fs::remove_dir_all(folder)
                .tried(|| format!("cannot remove {}", folder.display()))?;
        }
        Ok(())
    }

    /// Gives the processes up: they run on when this is dropped, and are ended through the record.
    pub fn detach(mut self) {
        self.owner = false;
    }

    fn part(&self, name: &str) -> Result<Part, StackError> {
        let mut parts = State::read(&self.dir)?.unwrap_or_default().parts;
        let known: Vec<_> = parts.keys().cloned().collect();
        parts.remove(name).ok_or_else(|| {
            StackError::NoSuchPart(format!(
                "the stack in {} does not run {name:?} itself; it runs {}",
                self.dir.display(),
                known.join(", ")
            ))
        })
    }

    fn signal(&self, name: &str, signal: Signal, compose: &str) -> Result<(), StackError> {
        if let Some(project) = &self.project
            && start::OWN.contains(&name)
        {
            return project.part(compose, name);
        }
        if let Some(process) = self.part(name)?.process {
            process.signal(signal);
        }
        Ok(())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if !self.owner {
            return;
        }
        // No time to ask: this is a test that failed, or a runner that returned early.
        for part in State::read(&self.dir)
            .ok()
            .flatten()
            .unwrap_or_default()
            .parts
            .into_values()
        {
            if let Some(process) = part.process {
                process.signal(Signal::SIGKILL);
            }
        }
        if let Some(project) = &self.project {
            let _ = project.down(false);
        }
    }
}

/// See [`Stack::check`].
pub(crate) fn check(dir: &Path) -> Result<(), StackError> {
    let parts = State::read(dir)?.unwrap_or_default().parts;
    for (name, part) in parts {
        if let Some(process) = part.process.as_ref().filter(|process| !process.is_alive()) {
            return Err(StackError::Crashed {
                part: name,
                pid: process.pid,
                tail: tail(&part.launch.log, TAIL),
                log: part.launch.log,
            });
        }
    }
    Ok(())
}

/// Ends what is left of the stack in `dir` and removes its data; artefacts and logs stay. For a stack in Docker, its
/// volumes go.
///
/// # Errors
/// [`StackError::Running`] when its runner lives, or when something cannot be removed.
pub async fn forget_data(dir: &Path) -> Result<(), StackError> {
    let state = State::read(dir)?.unwrap_or_default();
    if let Some(runner) = state.runner.filter(Identity::is_alive) {
        return Err(StackError::Running {
            dir: dir.to_owned(),
            pid: runner.pid,
        });
    }
    end_recorded(dir).await?;
    if compose::engine_answers() {
        Project::of(dir).down(true)?;
    }
    let inside = [kafka::NAME, postgres::NAME].map(|part| dir.join(part));
    for folder in inside
        .iter()
        .chain(&state.elsewhere)
        .filter(|folder| folder.exists())
    {
        std::fs::remove_dir_all(folder).tried(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Ends every part that the record in `dir` names, the last started first, by pid and start time. Data stays.
///
/// # Errors
/// When the record cannot be read or written.
pub async fn end_recorded(dir: &Path) -> Result<(), StackError> {
    let Some(state) = State::read(dir)? else {
        return Ok(());
    };
    let mut parts: Vec<_> = state
        .parts
        .values()
        .filter(|part| part.is_alive())
        .collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.order));
    // Parts of one order end together: services at once, then the registry, then broker and database.
    for together in parts.chunk_by(|one, other| one.order == other.order) {
        let mut ending = tokio::task::JoinSet::new();
        for part in together {
            let part = (*part).clone();
            ending.spawn(async move { end(&part, Stop::Ask).await });
        }
        while ending.join_next().await.is_some() {}
    }
    if let Some(project) = state.compose_project {
        Project(project).down(false)?;
    }
    State::change(dir, |state| {
        state.runner = None;
        state.compose_project = None;
        state
            .parts
            .values_mut()
            .for_each(|part| part.process = None);
    })?;
    Ok(())
}

async fn end(part: &Part, how: Stop) {
    if let Some(process) = &part.process {
        match how {
            Stop::Ask => process.end(part.launch.ask(), PATIENCE).await,
            Stop::Kill => process.end(Signal::SIGKILL, PATIENCE).await,
        }
    }
}
