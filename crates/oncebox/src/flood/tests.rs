//! The guard alone: what it lets through, over time and over restarts.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::FloodPolicy;
use super::guard::{Change, Guard, Kept, Permit, Ruling, Side};
use crate::failure::{ErrorClass, Failure};

const CODE: &str = "test.refused";
const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    guard: Guard,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let mut guard = Guard::new(FloodPolicy::default(), None, now);
        guard.probes.jitter = 0.0;
        Self { guard, now }
    }

    fn fail(&mut self, class: ErrorClass, offset: i64, last: bool) -> (Ruling, Option<Change>) {
        let failure = Failure::new(class, CODE, "refused");
        self.guard
            .failed(self.now, Side::Topic, offset, &failure, last)
    }

    fn succeed(&mut self, offsets: std::ops::Range<i64>) -> Option<Change> {
        let records = offsets.clone().count();
        self.guard.succeeded(self.now, records, offsets)
    }

    fn restart(&mut self) {
        let kept = self.guard.keep_due(self.now);
        if let Some(kept) = kept {
            self.restart_with(Some(kept));
        }
    }

    fn restart_with(&mut self, kept: Option<Kept>) {
        self.guard = Guard::new(FloodPolicy::default(), kept, self.now);
        self.guard.probes.jitter = 0.0;
    }

    fn close(&mut self) {
        for offset in 0..5 {
            self.fail(ErrorClass::Transient, offset, false);
        }
        assert_eq!(self.guard.closed_for(), Some(CODE));
    }
}

#[test]
fn one_record_is_no_outage_however_often_it_fails() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        let ruled = bench.fail(ErrorClass::Transient, 7, false);
        assert_eq!(ruled, (Ruling::Count, None));
    }
    let ruled = bench.fail(ErrorClass::Transient, 7, true);
    assert_eq!(ruled, (Ruling::Bury, None), "with the free slot");
}

#[test]
fn five_of_the_last_twenty_close_it_and_nothing_counts_any_more() {
    let mut bench = Bench::new();
    bench.succeed(0..1_000);
    // Those speak for failures of that moment only.
    bench.now += 2 * SECOND;
    let mut closed = Vec::new();
    for offset in 1_000..1_010 {
        // Three of four succeed in between.
        bench.succeed(offset * 10..offset * 10 + 3);
        let (ruling, change) = bench.fail(ErrorClass::Transient, offset, true);
        if change == Some(Change::Closed) {
            closed.push(offset);
            assert_eq!(ruling, Ruling::PutOff);
            break;
        }
    }
    assert_eq!(closed, [1_004]);
    // Plenty of slots were earned, and none is for an outage.
    assert!(bench.guard.slots(bench.now) > 20);
    for offset in 2_000..2_100 {
        let ruled = bench.fail(ErrorClass::Transient, offset, true);
        assert_eq!(ruled, (Ruling::PutOff, None));
    }
}

#[test]
fn one_in_a_hundred_of_a_batch_does_not_close_it_and_all_that_follow_do() {
    let mut bench = Bench::new();
    for batch in 0..100 {
        let first = batch * 500;
        // The good ones are committed together, the others follow one by one.
        bench.succeed(first..first + 495);
        for offset in first + 495..first + 500 {
            let ruled = bench.fail(ErrorClass::Transient, offset, false);
            assert_eq!(ruled, (Ruling::Count, None), "{offset}");
        }
    }
    let more = (50_000..60_000)
        .find(|offset| bench.fail(ErrorClass::Transient, *offset, false).1 == Some(Change::Closed));
    assert!(more.is_some_and(|offset| offset < 50_150), "{more:?}");
}

#[test]
fn parked_keys_that_fail_again_are_no_news() {
    let mut bench = Bench::new();
    let failure = Failure::new(ErrorClass::Transient, CODE, "refused");
    for offset in (0..50).cycle().take(500) {
        let ruled = bench
            .guard
            .failed(bench.now, Side::Parking, offset, &failure, false);
        assert_eq!(ruled, (Ruling::Count, None));
    }
    // Nor do they make news of one record that fails for the first time.
    let ruled = bench.fail(ErrorClass::Transient, 1_000, false);
    assert_eq!(ruled, (Ruling::Count, None));
    // Nor are they given up while nothing succeeds.
    let ruled = bench
        .guard
        .failed(bench.now, Side::Parking, 7, &failure, true);
    assert_eq!(ruled, (Ruling::PutOff, None));
}

#[test]
fn an_outage_closes_it_also_when_parked_keys_fail_again_in_between() {
    let mut bench = Bench::new();
    let failure = Failure::new(ErrorClass::Transient, CODE, "refused");
    for offset in 0..4 {
        bench.fail(ErrorClass::Transient, offset, false);
        // Those of this moment, and many that were parked long ago.
        for parked in (0..=offset).chain(-30..0) {
            bench
                .guard
                .failed(bench.now, Side::Parking, parked, &failure, false);
        }
        assert_eq!(bench.guard.closed_for(), None);
    }
    bench.fail(ErrorClass::Transient, 4, false);
    assert_eq!(bench.guard.closed_for(), Some(CODE));
}

#[test]
fn fewer_failures_are_dead_letters_as_far_as_slots_go() {
    let mut bench = Bench::new();
    bench.succeed(0..40);
    // Each fails alone among enough successes, but these are not enough for a slot each.
    let mut buried = 0;
    for round in 0..10 {
        let first = 100 + round * 10;
        bench.succeed(first + 1..first + 6);
        let (ruling, change) = bench.fail(ErrorClass::Transient, first, true);
        assert_eq!(change, None);
        buried += usize::from(ruling == Ruling::Bury);
    }
    assert_eq!(buried, 5, "1 free, 90 successes earn 4");
}

#[test]
fn of_an_outage_that_hits_few_records_one_is_given_up_at_most() {
    let mut bench = Bench::new();
    bench.succeed(0..1_000);
    // One record a minute, too few to close it before their attempts are over.
    let rulings = [1_001, 1_002, 1_003].map(|offset| {
        bench.now += 60 * SECOND;
        bench.fail(ErrorClass::Transient, offset, true).0
    });
    assert_eq!(rulings, [Ruling::Bury, Ruling::PutOff, Ruling::PutOff]);
    // A success shows that it is over; who fails now is given up.
    bench.succeed(1_002..1_003);
    assert_eq!(
        bench.fail(ErrorClass::Transient, 1_003, true).0,
        Ruling::Bury
    );
}

#[test]
fn what_is_permanent_is_a_dead_letter_at_once_also_while_closed() {
    let mut bench = Bench::new();
    bench.close();
    assert_eq!(
        bench.fail(ErrorClass::Permanent, 9, true).0,
        Ruling::Bury,
        "an outage of others does not hold it up"
    );
}

#[test]
fn a_flood_of_permanent_failures_is_stopped_when_the_slots_are_spent() {
    let mut bench = Bench::new();
    bench.succeed(0..60);
    let rulings: Vec<Ruling> = (100..120)
        .map(|offset| bench.fail(ErrorClass::Permanent, offset, true).0)
        .collect();
    let buried = rulings.iter().filter(|ruling| **ruling == Ruling::Bury);
    assert_eq!(buried.count(), 4, "1 free, 60 successes earn 3");
    assert!(bench.guard.closed_for().is_some());
    // The next window has one more for free.
    bench.now += 301 * SECOND;
    assert_eq!(bench.fail(ErrorClass::Poison, 200, true).0, Ruling::Bury);
    assert_eq!(bench.fail(ErrorClass::Poison, 201, true).0, Ruling::PutOff);
}

#[test]
fn one_record_probes_at_a_time_later_and_later_and_both_halves_in_turn() {
    let mut bench = Bench::new();
    bench.close();
    let (mut delays, mut sides) = (Vec::new(), Vec::new());
    let mut last = bench.now;
    for _ in 0..8 {
        let side = loop {
            let permits = [Side::Topic, Side::Parking].map(|side| (side, side));
            let probe = permits
                .into_iter()
                .find(|(_, side)| bench.guard.permit(bench.now, *side, 1) == Permit::Probe);
            if let Some((side, _)) = probe {
                break side;
            }
            bench.now += Duration::from_millis(10);
        };
        let other = match side {
            Side::Topic => Side::Parking,
            Side::Parking | Side::Free => Side::Topic,
        };
        assert!(matches!(
            bench.guard.permit(bench.now, other, 1),
            Permit::Wait(_)
        ));
        assert_eq!(bench.guard.permit(bench.now, other, 2), Permit::OneOnly);
        delays.push((bench.now - last).as_millis());
        sides.push(side);
        last = bench.now;
        let failure = Failure::new(ErrorClass::Transient, CODE, "refused");
        bench.guard.failed(bench.now, side, 50, &failure, false);
    }
    assert_eq!(delays, [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
    assert!(sides.windows(2).all(|pair| pair[0] != pair[1]), "{sides:?}");
}

#[test]
fn a_success_opens_it_and_nothing_transient_is_given_up_before_it_is_calm() {
    let mut bench = Bench::new();
    bench.succeed(500..600);
    bench.fail(ErrorClass::Outage, 1, false);
    bench.now += 60 * SECOND;
    assert_eq!(
        bench.succeed(1..2),
        Some(Change::Opened {
            lasted: 60 * SECOND
        })
    );
    assert_eq!(bench.guard.permit(bench.now, Side::Topic, 500), Permit::Go);
    bench.now += 9 * SECOND;
    assert_eq!(bench.fail(ErrorClass::Transient, 2, true).0, Ruling::PutOff);
    bench.now += SECOND;
    assert_eq!(bench.fail(ErrorClass::Transient, 2, true).0, Ruling::Bury);
}

#[test]
fn a_restart_gives_no_slot_and_opens_nothing() {
    let mut bench = Bench::new();
    assert_eq!(bench.fail(ErrorClass::Permanent, 1, true).0, Ruling::Bury);
    bench.restart();
    assert_eq!(bench.guard.slots(bench.now), 0);
    bench.close();
    bench.restart();
    assert_eq!(bench.guard.closed_for(), Some(CODE));
    assert_eq!(bench.guard.permit(bench.now, Side::Topic, 1), Permit::Probe);
    bench.now += 301 * SECOND;
    assert_eq!(bench.guard.slots(bench.now), 1, "a new window");
}

#[test]
fn successes_are_written_once_a_minute_and_when_the_partition_is_given_away() {
    let mut bench = Bench::new();
    for _ in 0..59 {
        bench.succeed(0..100);
        bench.now += SECOND;
        assert_eq!(bench.guard.keep_due(bench.now), None);
    }
    bench.now += SECOND;
    let kept = bench.guard.keep_due(bench.now).expect("a minute is over");
    assert_eq!(kept.successes, 5_900);
    bench.guard.saved(bench.now, kept.revision);
    assert_eq!(bench.guard.keep_last(bench.now), None);
    bench.succeed(0..100);
    let left = bench.guard.keep_last(bench.now).expect("a hundred more");
    bench.restart_with(Some(left));
    assert_eq!(bench.guard.slots(bench.now), 1 + 6_000 / 20);
}

/// A row as it is read so much later.
fn older(row: Kept, time: Duration) -> Kept {
    Kept {
        window_left: row.window_left.saturating_sub(time),
        closed: row.closed.map(|(since, code)| (since + time, code)),
        calm_in: row.calm_in.map(|left| left.saturating_sub(time)),
        ..row
    }
}

/// Whatever happens in which order, with restarts and crashes between any two steps: the dead letters of five minutes, which
/// touch two windows at most, are never more than the slots of these, and none is a transient failure while the guard is closed.
#[test]
fn no_order_of_events_floods() {
    for seed in 0..500 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bench = Bench::new();
        let (mut successes, mut letters) = (Vec::new(), Vec::new());
        let mut row: Option<(Kept, Instant)> = None;
        for step in 0..300 {
            bench.now += Duration::from_millis(random.random_range(0..5_000));
            let class = match random.random_range(0..10) {
                0..=3 => {
                    let records = random.random_range(1..30);
                    bench.succeed(0..records);
                    successes.push((bench.now, records.unsigned_abs()));
                    continue;
                }
                4 => {
                    // After a crash the last transaction's row is all there is.
                    let left = bench.guard.keep_last(bench.now);
                    if let Some(left) = left.filter(|_| random.random()) {
                        row = Some((left, bench.now));
                    }
                    let now = bench.now;
                    bench.restart_with(row.clone().map(|(row, written)| older(row, now - written)));
                    continue;
                }
                5 | 6 => ErrorClass::Permanent,
                7 => ErrorClass::Poison,
                _ => ErrorClass::Transient,
            };
            let closed = bench.guard.closed_for().is_some();
            let (ruling, _) = bench.fail(class, step, true);
            if ruling == Ruling::Bury {
                letters.push(bench.now);
                let since = |time: &Instant, seconds| bench.now - *time < seconds * SECOND;
                let dead = letters.iter().filter(|time| since(time, 300)).count();
                let earned: u64 = successes
                    .iter()
                    .filter(|(time, _)| since(time, 600))
                    .map(|(_, records)| records)
                    .sum();
                assert!(
                    dead as u64 <= 2 + earned / 20,
                    "seed {seed}, step {step}: {dead} dead letters, {earned} successes"
                );
                assert!(!(closed && class == ErrorClass::Transient), "seed {seed}");
            }
            // Every failure leads to a transaction, which writes what is unsaved.
            if let Some(kept) = bench.guard.keep_due(bench.now) {
                bench.guard.saved(bench.now, kept.revision);
                row = Some((kept, bench.now));
            }
        }
        assert!(letters.len() > 3, "seed {seed}: {}", letters.len());
    }
}
