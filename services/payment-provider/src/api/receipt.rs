//! What an operation is answered with, at the first time and at every repetition.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::entry::{Answer, Entry, Operation};
use crate::domain::ledger::Ledger;

/// An operation that had its effect.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "idempotency_key": "0198c0de-0000-7000-8000-000000000000-authorize", "operation": "authorize", "status": "approved",
    "id": "auth_0198c0df00007000800000000000", "authorization_id": "auth_0198c0df00007000800000000000",
    "reference": "0198c0de-0000-7000-8000-000000000000", "amount_minor": 1250, "currency": "EUR", "at": "2026-01-01T12:00:00Z"
}))]
pub(super) struct Receipt {
    idempotency_key: String,
    operation: Operation,
    status: Status,
    /// Names the effect; for an authorisation it is the authorisation's own id.
    id: String,
    authorization_id: String,
    /// The merchant's name for the payment: the order.
    reference: String,
    amount_minor: i64,
    currency: String,
    /// Why the authorisation was declined.
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_reason: Option<String>,
    at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Approved,
    Declined,
}

impl Receipt {
    /// None for an entry without an effect.
    pub(super) fn of(ledger: &Ledger, entry: &Entry) -> Option<Self> {
        let Answer::Done { id, declined } = &entry.answer else {
            return None;
        };
        let (authorization_id, authorization) = ledger.authorization(entry)?;
        Some(Self {
            idempotency_key: entry.key.clone(),
            operation: entry.work.operation(),
            status: if declined.is_some() {
                Status::Declined
            } else {
                Status::Approved
            },
            id: id.clone(),
            authorization_id: authorization_id.to_owned(),
            reference: authorization.reference.clone(),
            amount_minor: authorization.amount.minor(),
            currency: authorization.currency.to_string(),
            decline_code: declined.as_ref().map(|decline| decline.code.clone()),
            decline_reason: declined.as_ref().map(|decline| decline.reason.clone()),
            at: entry.at,
        })
    }
}
