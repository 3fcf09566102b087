//! One step towards a settled command: a call of the provider, or the look-up of an earlier one.

use oncebox::Failure;

use crate::domain::operation::Operation;
use crate::domain::payment::{Outcome, Payment};
use crate::provider::{CallError, Provider};
use crate::store::outcomes::Ended;

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Call(Operation),
    LookUp(Operation),
}

/// What a step came to.
#[derive(Debug)]
pub(super) struct Taken {
    /// What is to be stored of it.
    pub(super) ended: Option<Ended>,
    pub(super) next: Next,
}

#[derive(Debug)]
pub(super) enum Next {
    /// An outcome is known.
    Known(Operation, Outcome),
    /// The provider does not know the operation.
    Absent(Operation),
    /// The authorisation's state forbids it.
    Conflict(CallError),
    Failed(Failure),
}

pub(super) async fn take(provider: &Provider, payment: &Payment, step: Step) -> Taken {
    match step {
        Step::LookUp(operation) => look_up(provider, payment, operation).await,
        Step::Call(operation) => call(provider, payment, operation).await,
    }
}

async fn look_up(provider: &Provider, payment: &Payment, operation: Operation) -> Taken {
    match provider.look_up(payment.order, operation).await {
        Ok(Some(outcome)) => known(payment, operation, outcome, false),
        Ok(None) => Taken {
            ended: None,
            next: Next::Absent(operation),
        },
        Err(error) => Taken {
            ended: None,
            next: Next::Failed(error.into()),
        },
    }
}

async fn call(provider: &Provider, payment: &Payment, operation: Operation) -> Taken {
    let error = match provider.call(payment, operation).await {
        Ok(outcome) => return known(payment, operation, outcome, true),
        Err(error) => error,
    };
    let ended = Ended {
        order: payment.order,
        operation,
        result: Err(error.to_string()),
        answered: error.is_answer(),
    };
    if matches!(error, CallError::Conflict { .. }) {
        return Taken {
            ended: Some(ended),
            next: Next::Conflict(error),
        };
    }
    if error.is_answer() {
        return Taken {
            ended: Some(ended),
            next: Next::Failed(error.into()),
        };
    }
    // The answer is lost, the work may be done: asking at once often saves the record a retry.
    match provider.look_up(payment.order, operation).await {
        Ok(Some(outcome)) => known(payment, operation, outcome, false),
        Ok(None) => Taken {
            ended: Some(ended),
            next: Next::Failed(error.into()),
        },
        Err(away) => Taken {
            ended: Some(ended),
            next: Next::Failed(away.into()),
        },
    }
}

fn known(payment: &Payment, operation: Operation, outcome: Outcome, answered: bool) -> Taken {
    let ended = Ended {
        order: payment.order,
        operation,
        result: Ok(outcome.clone()),
        answered,
    };
    Taken {
        ended: Some(ended),
        next: Next::Known(operation, outcome),
    }
}
