//! One partition that this consumer owns: its buffer, how far it is finished, and the task that handles it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::buffer::Buffer;
use super::prefix::Prefix;

/// Shared by the poll thread and the partition's task.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) number: i32,
    pub(super) buffer: Buffer,
    /// Asks the task to end: no new batch, no more waiting; the transaction in hand may finish.
    pub(super) stop: CancellationToken,
    prefix: Mutex<Prefix>,
    /// The offset after the last record of the finished prefix; -1 before the first.
    finished: AtomicI64,
    /// What the broker was told last; -1 when nothing or when telling failed.
    committed: AtomicI64,
    /// Since when records have been taken without interruption.
    flows_since: Mutex<Instant>,
    /// Since when another process is known to own it.
    superseded: Mutex<Option<Instant>>,
    task: Mutex<Option<Task>>,
}

/// The handling task, seen from the poll thread, which cannot await.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) abort: AbortHandle,
    /// Disconnects when the task is gone, however it went.
    pub(super) gone: mpsc::Receiver<Infallible>,
}

impl Partition {
    pub(super) fn new(topic: &str, number: i32, buffer: Buffer, stop: CancellationToken) -> Self {
        Self {
            topic: topic.to_owned(),
            number,
            buffer,
            stop,
            prefix: Mutex::default(),
            finished: AtomicI64::new(-1),
            committed: AtomicI64::new(-1),
            flows_since: Mutex::new(Instant::now()),
            superseded: Mutex::default(),
            task: Mutex::default(),
        }
    }

    pub(super) fn set_task(&self, task: Task) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// Every record before `offset` is finished, its transaction being committed, but for those that go their own way.
    pub(super) fn finish(&self, offset: i64) {
        self.progress(|prefix| prefix.reach(offset));
    }

    /// The record at that offset goes its own way.
    pub(super) fn begin(&self, offset: i64) {
        self.progress(|prefix| prefix.begin(offset));
    }

    /// It is finished.
    pub(super) fn end(&self, offset: i64) {
        self.progress(|prefix| prefix.end(offset));
    }

    fn progress(&self, change: impl FnOnce(&mut Prefix)) {
        let mut prefix = self.prefix.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut prefix);
        self.finished.store(prefix.finished(), Ordering::Release);
    }

    /// The offset after the last finished record, where there is one.
    pub(super) fn finished(&self) -> Option<i64> {
        let offset = self.finished.load(Ordering::Acquire);
        (offset >= 0).then_some(offset)
    }

    /// What the broker should be told, if that is news to it.
    pub(super) fn to_commit(&self) -> Option<i64> {
        let finished = self.finished()?;
        (finished > self.committed.load(Ordering::Acquire)).then_some(finished)
    }

    pub(super) fn set_committed(&self, offset: i64) {
        self.committed.store(offset, Ordering::Release);
    }

    pub(super) fn forget_committed(&self) {
        self.committed.store(-1, Ordering::Release);
    }

    /// Notes that nothing can be taken for a time.
    pub(super) fn hold_up(&self, time: Duration) {
        *self
            .flows_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now() + time;
    }

    /// How long records have been taken without interruption.
    pub(super) fn flowing_for(&self) -> Duration {
        let since = *self
            .flows_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Instant::now().saturating_duration_since(since)
    }

    /// Notes that another process owns it; true when that is news.
    pub(super) fn set_superseded(&self) -> bool {
        let mut since = self
            .superseded
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let news = since.is_none();
        since.get_or_insert_with(Instant::now);
        news
    }

    /// How long another process has been known to own it.
    pub(super) fn superseded_for(&self) -> Option<Duration> {
        let since = self
            .superseded
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed())
    }

    /// Whether the task ended without being asked to: a mistake in this kit, never the handler's doing.
    pub(super) fn task_died(&self) -> bool {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        !self.stop.is_cancelled()
            && task
                .as_ref()
                .is_some_and(|task| task.gone.try_recv() == Err(mpsc::TryRecvError::Disconnected))
    }

    /// Waits until the task has ended; cuts it when `until` comes first.
    fn wait_until_gone(&self, until: Instant) {
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(task) = task else { return };
        let left = until.saturating_duration_since(Instant::now());
        if task.gone.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!(
                topic = self.topic,
                partition = self.number,
                "the batch in hand is abandoned at the deadline; its transaction is rolled back"
            );
            task.abort.abort();
            // An aborted task ends at its next await; one that blocks its thread is left behind, and the
            // inbox keeps its late effects from happening twice.
            let _ = task.gone.recv_timeout(Duration::from_secs(1));
        }
    }
}

/// All partitions that are owned now.
#[derive(Debug, Default)]
pub(super) struct Owned {
    partitions: HashMap<String, HashMap<i32, Arc<Partition>>>,
}

impl Owned {
    pub(super) fn get(&self, topic: &str, number: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(topic)?.get(&number)
    }

    pub(super) fn insert(&mut self, partition: Arc<Partition>) {
        self.partitions
            .entry(partition.topic.clone())
            .or_default()
            .insert(partition.number, partition);
    }

    pub(super) fn remove(&mut self, topic: &str, number: i32) -> Option<Arc<Partition>> {
        self.partitions.get_mut(topic)?.remove(&number)
    }

    pub(super) fn drain(&mut self) -> Vec<Arc<Partition>> {
        self.partitions
            .drain()
            .flat_map(|(_, partitions)| partitions.into_values())
            .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.values().flat_map(HashMap::values)
    }

    pub(super) fn len(&self) -> usize {
        self.partitions.values().map(HashMap::len).sum()
    }
}

/// Ends the tasks of these partitions: all are asked first, then waited for, together at most `deadline`.
pub(super) fn end_tasks(partitions: &[Arc<Partition>], deadline: Duration) {
    for partition in partitions {
        partition.stop.cancel();
    }
    let until = Instant::now() + deadline;
    for partition in partitions {
        partition.wait_until_gone(until);
    }
}
