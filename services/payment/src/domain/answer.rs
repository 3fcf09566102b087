//! What a command is answered: always from what is stored, so a command that comes again gets its answer again.

use super::command::Ask;
use super::payment::{Payment, Standing};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Authorized { authorization: String },
    Declined { code: String, reason: String },
    Captured { capture: String },
    Voided { refunded: bool },
}

/// The answer, once the payment's standing settles the command; none before.
///
/// What was voided stays voided: an authorisation that comes late (a replay) is told so, and holds nothing.
pub fn answer(payment: &Payment, ask: &Ask) -> Option<Answer> {
    match (ask, &payment.standing) {
        (_, Standing::Voided) => Some(Answer::Voided { refunded: false }),
        (_, Standing::Refunded) => Some(Answer::Voided { refunded: true }),
        (
            Ask::Authorize(_),
            Standing::Authorized { authorization } | Standing::Captured { authorization, .. },
        ) => Some(Answer::Authorized {
            authorization: authorization.clone(),
        }),
        (Ask::Capture, Standing::Captured { capture, .. }) => Some(Answer::Captured {
            capture: capture.clone(),
        }),
        // Nothing is held of a declined payment, so there is nothing left to void.
        (Ask::Void, Standing::Declined { .. }) => Some(Answer::Voided { refunded: false }),
        (Ask::Authorize(_) | Ask::Capture, Standing::Declined { code, reason }) => {
            Some(Answer::Declined {
                code: code.clone(),
                reason: reason.clone(),
            })
        }
        _ => None,
    }
}
