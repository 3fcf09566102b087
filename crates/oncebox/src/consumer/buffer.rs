//! The records of one partition between the thread that polls and the task that handles: bounded, in order.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::record::Record;

/// Filled by the poll thread without waiting, emptied by the partition's task.
#[derive(Debug)]
pub(super) struct Buffer {
    inner: Mutex<Inner>,
    filled: Notify,
    max_records: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    records: VecDeque<Record>,
    bytes: usize,
}

impl Buffer {
    /// Two batches: one can be fetched while the other is handled.
    pub(super) fn new(batch_records: usize, batch_bytes: usize) -> Self {
        Self {
            inner: Mutex::default(),
            filled: Notify::new(),
            max_records: batch_records.saturating_mul(2),
            max_bytes: batch_bytes.saturating_mul(2),
        }
    }

    /// Adds a record; true when the partition should be paused. A full buffer still takes what was fetched already.
    pub(super) fn push(&self, record: Record) -> bool {
        let mut inner = self.lock();
        inner.bytes += size(&record);
        inner.records.push_back(record);
        let full = inner.records.len() >= self.max_records || inner.bytes >= self.max_bytes;
        drop(inner);
        self.filled.notify_one();
        full
    }

    /// Whether so little is left that fetching should go on: half, so that a partition does not flap.
    pub(super) fn wants_more(&self) -> bool {
        let inner = self.lock();
        inner.records.len() <= self.max_records / 2 && inner.bytes <= self.max_bytes / 2
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
            let record_bytes = size(record);
            if count > 0 && (count >= max_records || bytes + record_bytes > max_bytes) {
                break;
            }
            count += 1;
            bytes += record_bytes;
        }
        inner.bytes -= bytes;
        inner.records.drain(..count).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With the struct itself, so that a flood of empty records is bounded too.
fn size(record: &Record) -> usize {
    size_of::<Record>() + record.size_bytes()
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

    #[tokio::test]
    async fn batches_are_bounded_by_records_and_by_bytes_but_never_empty() {
        let buffer = Buffer::new(3, 1_000_000);
        assert!(!buffer.push(record(0, 10)));
        for offset in 1..6 {
            buffer.push(record(offset, 10));
        }
        assert!(!buffer.wants_more());
        assert_eq!(buffer.take(3, 1_000_000).await.len(), 3);
        assert!(buffer.wants_more());
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
    fn bytes_fill_a_buffer_too() {
        let buffer = Buffer::new(1_000, 1_000);
        assert!(buffer.push(record(0, 5_000)));
    }
}
