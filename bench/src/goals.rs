//! Goals, each beside what was measured.

use serde::Serialize;

use crate::spread::number;

/// A goal and how it came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    pub(crate) met: bool,
}

/// On which side of its limit a goal is met.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Judges one.
pub(crate) fn goal(name: &str, bound: Bound, measured: f64, unit: &str) -> Goal {
    let (sign, limit, met) = match bound {
        Bound::AtLeast(limit) => (">=", limit, measured >= limit),
        Bound::AtMost(limit) => ("<=", limit, measured <= limit),
    };
    let digits = if measured.abs() < 10.0 && measured.fract() != 0.0 {
        2
    } else if measured.abs() < 100.0 && measured.fract() != 0.0 {
        1
    } else {
        0
    };
    Goal {
        name: name.to_owned(),
        wanted: format!("{sign} {limit} {unit}").trim_end().to_owned(),
        measured: format!("{} {unit}", number(measured, digits))
            .trim_end()
            .to_owned(),
        met,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_on_its_own_side_of_the_limit() {
        let low = goal("p50", Bound::AtMost(5.0), 4.321, "ms");
        assert_eq!(
            (low.met, low.wanted.as_str(), low.measured.as_str()),
            (true, "<= 5 ms", "4.32 ms")
        );
        assert!(!goal("p50", Bound::AtMost(5.0), 5.01, "ms").met);
        assert!(goal("ratio", Bound::AtLeast(4.0), 4.0, "x").met);
        assert!(!goal("ratio", Bound::AtLeast(4.0), f64::NAN, "x").met);
        assert_eq!(goal("twice", Bound::AtMost(0.0), 0.0, "").measured, "0");
    }
}
