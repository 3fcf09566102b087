//! Every kind of old event, judged.

use super::*;
use crate::headers::Headers;

const NOW: &str = "2026-03-31T00:00:00Z";
const FORGOTTEN: &str = "2026-03-17T00:00:00Z";
const OLD: &str = "2026-03-01T00:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn id(made: &str) -> Uuid {
    let millis = u64::try_from(at(made).timestamp_millis()).unwrap();
    uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid()
}

fn record(offset: i64, published: &str) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset,
        timestamp: Some(at(published)),
        key: None,
        value: None,
        headers: Headers::new(),
    }
}

fn memory() -> Memory {
    Memory {
        forgotten_before: at(FORGOTTEN),
        position: Some((100, at("2026-03-20T00:00:00Z"))),
        dead: HashSet::new(),
    }
}

#[test]
fn what_is_remembered_was_not_handled() {
    for made in [FORGOTTEN, NOW] {
        for offset in [1, 200] {
            for way in [Way::Topic, Way::Replay { forced: false }] {
                let judged = judge(&memory(), id(made), &record(offset, made), way);
                assert_eq!(judged, Age::Unhandled, "{made} {offset} {way:?}");
            }
        }
    }
}

#[test]
fn a_backlog_is_handled_and_what_lies_before_the_position_is_finished() {
    let judged = |offset| judge(&memory(), id(OLD), &record(offset, OLD), Way::Topic);
    assert_eq!(judged(100), Age::Unhandled);
    assert_eq!(judged(99), Age::Finished);
}

#[test]
fn an_old_event_that_is_published_anew_may_have_been_handled() {
    let record = record(200, NOW);
    assert_eq!(judge(&memory(), id(OLD), &record, Way::Topic), Age::Unknown);
}

#[test]
fn a_delayed_event_is_as_old_as_its_delay_makes_it() {
    let mut record = record(200, NOW);
    record.headers.push(headers::names::NOT_BEFORE, NOW);
    assert_eq!(
        judge(&memory(), id(OLD), &record, Way::Topic),
        Age::Unhandled
    );
    // A header of the past makes nothing older.
    record.headers.set(headers::names::NOT_BEFORE, OLD);
    assert_eq!(born(id(NOW), &record), Some(at(NOW)));
}

#[test]
fn a_topic_made_anew_begins_before_the_old_position() {
    let record = record(5, NOW);
    let foreign = Uuid::from_u128(0xffff_0000_0000_4000_8000_0000_0000_0001);
    assert_eq!(
        judge(&memory(), foreign, &record, Way::Topic),
        Age::Unhandled
    );
    assert_eq!(
        judge(&memory(), id(OLD), &record, Way::Topic),
        Age::Unknown,
        "published long after the position was noted"
    );
}

#[test]
fn an_old_replay_needs_a_row_or_force() {
    let record = record(200, NOW);
    let plain = Way::Replay { forced: false };
    assert_eq!(judge(&memory(), id(OLD), &record, plain), Age::Unknown);
    let forced = Way::Replay { forced: true };
    assert_eq!(judge(&memory(), id(OLD), &record, forced), Age::Unhandled);
    let mut known = memory();
    known.dead.insert(id(OLD));
    assert_eq!(judge(&known, id(OLD), &record, plain), Age::Unhandled);
}

#[test]
fn an_id_without_a_time_is_as_old_as_its_record() {
    let foreign = Uuid::from_u128(0xffff_0000_0000_4000_8000_0000_0000_0001);
    assert_eq!(born(foreign, &record(1, OLD)), Some(at(OLD)));
    let judged =
        |offset, published| judge(&memory(), foreign, &record(offset, published), Way::Topic);
    assert_eq!(judged(1, OLD), Age::Finished);
    assert_eq!(judged(200, OLD), Age::Unhandled);
    assert_eq!(judged(200, NOW), Age::Unhandled);
}

#[test]
fn older_is_what_was_born_before() {
    for (made, published) in [(OLD, NOW), (NOW, OLD), (OLD, OLD), (NOW, NOW)] {
        let record = record(1, published);
        let found = is_older(id(made), &record, at(FORGOTTEN));
        assert_eq!(found, made == OLD, "{made} {published}");
        assert_eq!(born(id(made), &record), Some(at(made)));
        let foreign = Uuid::from_u128(0xffff_0000_0000_4000_8000_0000_0000_0001);
        let found = is_older(foreign, &record, at(FORGOTTEN));
        assert_eq!(found, published == OLD, "{published}");
    }
}

#[test]
fn only_a_replay_can_be_forced() {
    let mut record = record(1, NOW);
    record
        .headers
        .push(crate::dead_letter::names::REPLAY_FORCED, "true");
    assert_eq!(Way::of(&record, false), Way::Topic);
    assert_eq!(Way::of(&record, true), Way::Replay { forced: true });
    record
        .headers
        .set(crate::dead_letter::names::REPLAY_FORCED, "yes");
    assert_eq!(Way::of(&record, true), Way::Replay { forced: false });
}
