//! The records of one partition between the thread that polls and the task that handles: bounded by bytes, in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::bell::Bell;
use crate::record::Record;

/// Filled by the poll thread without waiting, emptied by the partition's task.
#[derive(Debug)]
pub(super) struct Buffer {
    inner: Mutex<Inner>,
    filled: Notify,
    share: Arc<Share>,
}

/// What each partition of a consumer may buffer: together they have a fixed number of bytes.
#[derive(Debug)]
pub(super) struct Share {
    together: usize,
    each: AtomicUsize,
    /// Rung when a buffer that was full has room again.
    room: Arc<Bell>,
}

/// A partition gets no less, so that it has something to do while more is fetched.
const LEAST: usize = 64 * 1024;
/// Nor more: what is fetched too early only takes memory.
const MOST: usize = 1024 * 1024;

impl Share {
    pub(super) fn new(together: usize, room: Arc<Bell>) -> Self {
        Self {
            together,
            each: AtomicUsize::new(MOST.min(together)),
            room,
        }
    }

    /// Divides anew among so many partitions.
    pub(super) fn divide(&self, partitions: usize) {
        let each = (self.together / partitions.max(1)).clamp(LEAST, MOST);
        self.each.store(each, Ordering::Relaxed);
    }

    fn each(&self) -> usize {
        self.each.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Inner {
    records: VecDeque<Record>,
    bytes: usize,
    /// It was full, and whoever fills it waits to be told.
    full: bool,
}

impl Buffer {
    pub(super) fn new(share: Arc<Share>) -> Self {
        Self {
            inner: Mutex::default(),
            filled: Notify::new(),
            share,
        }
    }

    /// Adds a record; false when there is no room for another. A full buffer takes it all the same.
    pub(super) fn push(&self, record: Record) -> bool {
        let mut inner = self.lock();
        inner.bytes += record.footprint();
        inner.records.push_back(record);
        inner.full = inner.bytes >= self.share.each();
        let room = !inner.full;
        drop(inner);
        self.filled.notify_one();
        room
    }

    /// Whether there is room for a record.
    pub(super) fn has_room(&self) -> bool {
        let inner = self.lock();
        !inner.full
    }

    /// Waits for records and takes up to one batch of them; at least one, however large.
    pub(super) async fn take(&self, max_records: usize, max_bytes: usize) -> Vec<Record> {
        loop {
            let batch = self.take_now(max_records, max_bytes);
            if !batch.is_empty() {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    fn take_now(&self, max_records: usize, max_bytes: usize) -> Vec<Record> {
        let mut inner = self.lock();
        let (mut count, mut bytes) = (0, 0);
        for record in &inner.records {
            let record_bytes = record.footprint();
            if count > 0 && (count >= max_records || bytes + record_bytes > max_bytes) {
                break;
            }
            count += 1;
            bytes += record_bytes;
        }
        inner.bytes -= bytes;
        let taken = inner.records.drain(..count).collect();
        // Half, so that whoever fills it has something to do when it is told.
        if inner.full && inner.bytes <= self.share.each() / 2 {
            inner.full = false;
            drop(inner);
            self.share.room.ring();
        }
        taken
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;

    fn record(offset: i64, bytes: usize) -> Record {
        Record {
            topic: "t".into(),
            partition: 0,
            offset,
            timestamp: None,
            key: None,
            value: Some(vec![0; bytes].into()),
            headers: Headers::new(),
        }
    }

    fn share(together: usize) -> Arc<Share> {
        Arc::new(Share::new(together, Arc::default()))
    }

    #[tokio::test]
    async fn batches_are_bounded_by_records_and_by_bytes_but_never_empty() {
        let buffer = Buffer::new(share(1_000_000));
        for offset in 0..6 {
            assert!(buffer.push(record(offset, 10)));
        }
        assert_eq!(buffer.take(3, 1_000_000).await.len(), 3);
        assert_eq!(
            buffer.take(3, 1).await.len(),
            1,
            "one record passes whatever its size"
        );
        let rest = buffer.take(100, 1_000_000).await;
        assert_eq!(
            rest.iter().map(|record| record.offset).collect::<Vec<_>>(),
            [4, 5]
        );
    }

    #[test]
    fn bytes_fill_a_buffer_and_partitions_share_them() {
        let share = share(4 * MOST);
        let buffer = Buffer::new(Arc::clone(&share));
        assert!(buffer.push(record(0, MOST / 2)));
        assert!(!buffer.push(record(1, MOST / 2)));
        assert!(!buffer.has_room());
        assert_eq!(buffer.take_now(1, MOST).len(), 1);
        assert!(!buffer.has_room(), "more than half is left");
        assert_eq!(buffer.take_now(1, MOST).len(), 1);
        assert!(buffer.has_room());
        share.divide(8);
        assert!(
            !buffer.push(record(2, MOST / 2)),
            "there is less for each now"
        );
        share.divide(1_000_000);
        assert_eq!(buffer.take_now(10, 10 * MOST).len(), 1);
        assert!(buffer.push(record(3, LEAST / 2)));
    }

    #[test]
    fn whoever_fills_it_is_told_when_there_is_room() {
        let bell = Arc::new(Bell::default());
        let buffer = Buffer::new(Arc::new(Share::new(LEAST, Arc::clone(&bell))));
        while buffer.push(record(0, LEAST / 8)) {}
        std::thread::scope(|scope| {
            scope.spawn(|| while !buffer.take_now(1, MOST).is_empty() {});
            while !buffer.has_room() {
                bell.wait(std::time::Duration::from_secs(60));
            }
        });
    }

    #[test]
    fn empty_records_take_room_too() {
        let buffer = Buffer::new(share(LEAST));
        let count = (0..).find(|offset| !buffer.push(record(*offset, 0)));
        assert!(count.is_some_and(|count| count < 1_000), "{count:?}");
    }
}
