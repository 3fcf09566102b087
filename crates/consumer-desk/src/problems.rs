//! Errors as problems.

use http_kit::{Kind, Problem, StatusCode};
use oncebox::parking::ParkedPlace;

use crate::views::Decision;

const KEY_UNKNOWN: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "parking.key_unknown",
    "no such parked key",
);

pub(crate) fn key_unknown(place: &ParkedPlace, decision: Decision) -> Problem {
    let what = match decision {
        Decision::Retry | Decision::DeadLetter => {
            "is not parked, or is held: it went on, or was dead-lettered meanwhile"
        }
        Decision::Release => "is not held",
    };
    Problem::of(KEY_UNKNOWN).detail(format!(
        "lane {} of partition {} of {} {what}",
        place.lane.as_uuid(),
        place.partition,
        place.topic
    ))
}
