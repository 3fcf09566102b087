//! What a failure leads to, and what becomes of a key after its first record: decisions only, no effects.

use std::time::Duration;

use super::OnDeadLetter;
use crate::failure::ErrorClass;
use crate::retry::RetryPolicy;

/// What happens to a record after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Tried again at once, in place.
    Again,
    /// Waits in the parking, its key's later records behind it.
    Park(Duration),
    /// Given up.
    Bury,
}

/// `failed` counts the attempts so far, this one included; `parked`: whether it was made from the parking. An outage
/// is not counted and does not come here.
pub(crate) fn after_failure(
    policy: &RetryPolicy,
    class: ErrorClass,
    failed: u32,
    parked: bool,
) -> Next {
    if class != ErrorClass::Transient || failed > policy.retries {
        Next::Bury
    } else if !parked && failed <= policy.quick_retries {
        Next::Again
    } else {
        // The delays begin where the quick retries end.
        Next::Park(policy.delay_after(failed.saturating_sub(policy.quick_retries).max(1)))
    }
}

/// What becomes of a parked key when its first record is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneEnd {
    /// Nothing waits: the key goes back to the normal path.
    Gone,
    /// The next record is due.
    GoesOn,
    /// An operator decides.
    Held,
}

/// `more`: whether records wait behind it; `buried`: whether it was dead-lettered.
pub(crate) fn settle(more: bool, buried: bool, policy: OnDeadLetter) -> LaneEnd {
    match (buried, policy) {
        (true, OnDeadLetter::Hold) => LaneEnd::Held,
        _ if more => LaneEnd::GoesOn,
        _ => LaneEnd::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            jitter: 0.0,
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn a_transient_failure_is_tried_at_once_then_parked_then_given_up() {
        let of = |failed, parked| after_failure(&policy(), ErrorClass::Transient, failed, parked);
        assert_eq!(of(1, false), Next::Again);
        assert_eq!(of(2, false), Next::Park(Duration::from_millis(200)));
        assert_eq!(of(3, true), Next::Park(Duration::from_millis(400)));
        assert_eq!(of(5, true), Next::Park(Duration::from_millis(1_600)));
        assert_eq!(of(6, true), Next::Bury);
        assert_eq!(
            of(1, true),
            Next::Park(Duration::from_millis(200)),
            "nothing is done in place while the key is parked"
        );
    }

    #[test]
    fn what_cannot_pass_is_given_up_at_once() {
        for class in [ErrorClass::Permanent, ErrorClass::Poison] {
            assert_eq!(after_failure(&policy(), class, 1, false), Next::Bury);
            assert_eq!(after_failure(&policy(), class, 1, true), Next::Bury);
        }
        let none = RetryPolicy {
            retries: 0,
            ..policy()
        };
        assert_eq!(
            after_failure(&none, ErrorClass::Transient, 1, false),
            Next::Bury
        );
    }

    #[test]
    fn only_a_dead_letter_holds_a_key_and_only_if_asked_to() {
        use OnDeadLetter::{Continue, Hold};
        assert_eq!(settle(true, true, Continue), LaneEnd::GoesOn);
        assert_eq!(settle(false, true, Continue), LaneEnd::Gone);
        assert_eq!(settle(false, true, Hold), LaneEnd::Held);
        assert_eq!(settle(true, false, Hold), LaneEnd::GoesOn);
        assert_eq!(settle(false, false, Hold), LaneEnd::Gone);
    }
}
