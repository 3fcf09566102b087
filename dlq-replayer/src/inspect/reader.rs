//! Pages of records: the newest, from a place on, or those that match, always within a time limit.

mod merge;
mod scan;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use oncebox::Record;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

pub use scan::Isolation;
pub(crate) use scan::owned;
pub(super) use scan::{Scan, Span, Verdict};

use super::offsets::{Bounds, Partition};
use super::{Cluster, InspectError};
use crate::domain::position::Position;

/// A page holds at most this much, whatever number of records was asked for.
const MAX_PAGE_BYTES: usize = 32 * 1024 * 1024;

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With the newest records before the end.
    Newest {
        /// Only this partition.
        partition: Option<i32>,
    },
    /// At a position, and up to another.
    From {
        /// Only this partition.
        partition: Option<i32>,
        /// First record.
        from: Position,
        /// Where to stop; the end when the page is asked for.
        to: Option<Position>,
    },
    /// Where an earlier page stopped.
    At {
        /// Next offset by partition.
        positions: BTreeMap<i32, i64>,
        /// Where to stop, by partition; the end for those that are not named.
        ends: BTreeMap<i32, i64>,
    },
}

/// Which records to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Those with exactly this key.
    Key(Vec<u8>),
    /// Those whose header `id` or `ce_id` is this.
    EventId(String),
}

/// What to read.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// Full topic name.
    pub topic: String,
    /// Where to begin.
    pub start: Start,
    /// What to keep; everything when absent.
    pub filter: Option<Filter>,
    /// At most so many records.
    pub limit: usize,
    /// Whether records of open and aborted transactions count.
    pub isolation: Isolation,
    /// How long reading may take.
    pub time_limit: Duration,
}

/// What was read.
#[derive(Debug, Clone)]
pub struct Page {
    /// The records: in order within each partition, by time between partitions.
    pub records: Vec<Record>,
    /// Where the next page begins.
    pub positions: BTreeMap<i32, i64>,
    /// Where reading was to stop.
    pub ends: BTreeMap<i32, i64>,
    /// Records that were looked at.
    pub scanned: u64,
    /// Time ran out before the page was full or the end was reached.
    pub truncated: bool,
}

impl Page {
    /// Whether nothing is left before the ends.
    pub fn at_end(&self) -> bool {
        self.ends.iter().all(|(partition, end)| {
            self.positions
                .get(partition)
                .is_some_and(|position| position >= end)
        })
    }
}

impl Filter {
    fn keeps(&self, message: &BorrowedMessage<'_>) -> bool {
        match self {
            Self::Key(key) => message.key() == Some(key),
            Self::EventId(id) => message.headers().is_some_and(|headers| {
                headers.iter().any(|header| {
                    matches!(header.key, "id" | "ce_id") && header.value == Some(id.as_bytes())
                })
            }),
        }
    }
}

impl Cluster {
    pub(super) fn page(&self, request: &PageRequest) -> Result<Page, InspectError> {
        let deadline = Instant::now() + request.time_limit;
        match &request.start {
            Start::Newest { partition } => self.newest(request, *partition, deadline),
            Start::From {
                partition,
                from,
                to,
            } => {
                let positions = self.resolve(&request.topic, *partition, *from)?;
                let ends = match to {
                    Some(to) => self.resolve(&request.topic, *partition, *to)?,
                    None => BTreeMap::new(),
                };
                self.forward(request, positions, &ends, deadline)
            }
            Start::At { positions, ends } => {
                self.forward(request, positions.clone(), ends, deadline)
            }
        }
    }

    /// From given offsets towards the ends.
    fn forward(
        &self,
        request: &PageRequest,
        positions: BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
        deadline: Instant,
    ) -> Result<Page, InspectError> {
        let now = self.ends(request, &positions.keys().copied().collect::<Vec<_>>())?;
        let ends: BTreeMap<i32, i64> = now
            .next
            .into_iter()
            .map(|((_, partition), end)| {
                (
                    partition,
                    ends.get(&partition).map_or(end, |asked| (*asked).min(end)),
                )
            })
            .collect();
        let scan = Scan::new(&self.config, &request.topic, request.isolation)?;
        let spans: Vec<Span> = positions
            .iter()
            .filter_map(|(partition, start)| {
                Some(Span {
                    partition: *partition,
                    start: *start,
                    end: *ends.get(partition)?,
                })
            })
            .collect();
        let mut found: BTreeMap<i32, VecDeque<Record>> = BTreeMap::new();
        let (mut bytes, mut hits) = (0, 0);
        let outcome = scan.run(&spans, deadline, |message| {
            if request
                .filter
                .as_ref()
                .is_some_and(|filter| !filter.keeps(message))
            {
                return Verdict::GoOn;
            }
            let record = owned(message);
            bytes += record.size_bytes();
            hits += 1;
            let of_partition = found.entry(message.partition()).or_default();
            of_partition.push_back(record);
            // A search wants any matches soon; browsing wants the first by time, so each partition gives its share.
            let full = if request.filter.is_some() {
                hits
            } else {
                of_partition.len()
            } >= request.limit;
            match (full, request.filter.is_some()) {
                _ if bytes >= MAX_PAGE_BYTES => Verdict::Stop,
                (true, true) => Verdict::Stop,
                (true, false) => Verdict::PartitionDone,
                (false, _) => Verdict::GoOn,
            }
        })?;
        let mut positions = positions;
        positions.extend(outcome.positions);
        let (records, left) = merge::oldest_first(found, request.limit);
        // What was read and not returned is read again by the next page.
        positions.extend(left);
        Ok(Page {
            records,
            positions,
            ends,
            scanned: outcome.scanned,
            truncated: outcome.timed_out,
        })
    }

    /// The newest records. How many offsets that goes back is not known beforehand, since transaction markers
    /// and compaction leave holes: the window grows until it holds enough.
    fn newest(
        &self,
        request: &PageRequest,
        partition: Option<i32>,
        deadline: Instant,
    ) -> Result<Page, InspectError> {
        let bounds = self.ends(request, &self.chosen_partitions(&request.topic, partition)?)?;
        let ends: BTreeMap<i32, i64> = bounds
            .next
            .iter()
            .map(|((_, partition), end)| (*partition, *end))
            .collect();
        let mut window = i64::try_from(request.limit)
            .unwrap_or(i64::MAX)
            .saturating_mul(2);
        let mut scanned = 0;
        loop {
            let mut whole = true;
            let spans: Vec<Span> = bounds
                .next
                .iter()
                .map(|(partition, end)| {
                    let first = bounds.first.get(partition).copied().unwrap_or(0);
                    whole &= end.saturating_sub(window) <= first;
                    Span {
                        partition: partition.1,
                        start: end.saturating_sub(window).max(first),
                        end: *end,
                    }
                })
                .collect();
            let mut found: BTreeMap<i32, VecDeque<Record>> = BTreeMap::new();
            let mut bytes = 0;
            // A new one for each window: a partition assigned again may still deliver its last window's end.
            let scan = Scan::new(&self.config, &request.topic, request.isolation)?;
            let outcome = scan.run(&spans, deadline, |message| {
                let of_partition = found.entry(message.partition()).or_default();
                let record = owned(message);
                bytes += record.size_bytes();
                of_partition.push_back(record);
                while of_partition.len() > request.limit
                    || (bytes > MAX_PAGE_BYTES && of_partition.len() > 1)
                {
                    bytes -= of_partition
                        .pop_front()
                        .map_or(0, |oldest| oldest.size_bytes());
                }
                Verdict::GoOn
            })?;
            scanned += outcome.scanned;
            let enough = spans.iter().all(|span| {
                let first = bounds
                    .first
                    .get(&(request.topic.clone(), span.partition))
                    .copied()
                    .unwrap_or(0);
                span.start <= first
                    || found
                        .get(&span.partition)
                        .is_some_and(|found| found.len() >= request.limit)
            });
            if enough || whole || outcome.timed_out || bytes > MAX_PAGE_BYTES {
                let records = merge::newest(found, request.limit);
                let positions = if outcome.timed_out {
                    outcome.positions
                } else {
                    ends.clone()
                };
                return Ok(Page {
                    records,
                    positions,
                    ends,
                    scanned,
                    truncated: outcome.timed_out,
                });
            }
            window = window.saturating_mul(8);
        }
    }

    /// First offsets, and the ends that this isolation sees.
    fn ends(&self, request: &PageRequest, partitions: &[i32]) -> Result<Bounds, InspectError> {
        let partitions: Vec<Partition> = partitions
            .iter()
            .map(|partition| (request.topic.clone(), *partition))
            .collect();
        let mut bounds = self.bounds(&partitions)?;
        if request.isolation == Isolation::Uncommitted {
            bounds.next = self.high_watermarks(&partitions)?;
        }
        Ok(bounds)
    }
}
