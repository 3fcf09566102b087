//! One call, from its script to its answer: delays, errors and lost answers happen here.

use std::sync::Arc;

use chrono::Utc;
use http_kit::Problem;
use uuid::Uuid;

use super::receipt::Receipt;
use super::{Provider, errors};
use crate::domain::entry::{Answer, Entry, Operation, Work};
use crate::domain::ledger::Refusal;
use crate::domain::mode::Fault;
use crate::domain::token::Script;

/// Does the work under its key, or repeats what came of it.
pub(super) async fn call(
    provider: Arc<Provider>,
    key: String,
    work: Work,
) -> Result<Receipt, Problem> {
    let mode = provider.mode();
    if mode.down {
        return Err(errors::down());
    }
    let script = provider.book.lock().ledger.script(&work)?;
    let operation = work.operation();
    let performed = slowly(provider.clone(), &script, key, work).await?;
    if performed.first && script.loses_answer(operation) {
        hang(&provider, operation).await;
    }
    Ok(performed.receipt)
}

struct Performed {
    receipt: Receipt,
    /// The effect is new: a lost answer is lost once.
    first: bool,
}

/// In a task of its own: a client that hangs up does not stop a provider that has the request.
async fn slowly(
    provider: Arc<Provider>,
    script: &Script,
    key: String,
    work: Work,
) -> Result<Performed, Problem> {
    let delay = script.delay();
    if delay.is_zero() {
        return perform(&provider, key, work);
    }
    let performing = tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        perform(&provider, key, work)
    });
    performing.await.map_err(Problem::internal)?
}

/// Deciding, writing and answering under one lock: of two calls with one key, one does the work.
fn perform(provider: &Provider, key: String, work: Work) -> Result<Performed, Problem> {
    let mut pages = provider.book.lock();
    let fault = provider.mode().fault(&key, pages.ledger.calls(&key));
    let id = format!("{}_{}", prefix(work.operation()), Uuid::now_v7().simple());
    let decided = match fault {
        Some(Fault::BeforeWork) => Ok(Answer::Failed),
        Some(Fault::AfterWork) | None => pages.ledger.decide(&key, &work, id),
    };
    let answer = match &decided {
        Ok(answer) => answer.clone(),
        Err(Refusal::Conflict(_)) => Answer::Refused,
        Err(_) => return Err(decided.err().map_or_else(errors::simulated, Problem::from)),
    };
    let entry = Entry {
        at: Utc::now(),
        key: key.clone(),
        work,
        answer: answer.clone(),
    };
    pages.record(entry).map_err(|error| {
        Problem::internal(format!("the ledger file cannot be written: {error}"))
    })?;
    if fault.is_some() || answer == Answer::Failed {
        return Err(errors::simulated());
    }
    if let Err(refusal) = decided {
        return Err(refusal.into());
    }
    let receipt = pages
        .ledger
        .effect(&key)
        .and_then(|entry| Receipt::of(&pages.ledger, entry));
    let receipt = receipt.ok_or_else(|| Problem::internal("an effect without a receipt"))?;
    Ok(Performed {
        receipt,
        first: answer != Answer::Repeated,
    })
}

/// Keeps the client waiting for longer than it can wait. A provider that is told to stop lets it go.
async fn hang(provider: &Provider, operation: Operation) {
    tracing::info!(
        operation = operation.name(),
        hang_ms = provider.hang.as_millis() as u64,
        "losing the answer, as the token asks"
    );
    tokio::select! {
        () = tokio::time::sleep(provider.hang) => {}
        () = provider.shutdown.cancelled() => {}
    }
}

fn prefix(operation: Operation) -> &'static str {
    match operation {
        Operation::Authorize => "auth",
        Operation::Capture => "cap",
        Operation::Void => "void",
        Operation::Refund => "ref",
    }
}
