//! The ledger, for tests and for the curious: how often was this order captured?

use std::sync::Arc;

use axum::extract::State;
use http_kit::{Query, StrictJson};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Provider;
use super::receipt::Receipt;
use crate::domain::counts::Tally;

/// How many names `doubled` shows at most.
const SHOWN: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// The order. Without it: all orders together.
    reference: Option<String>,
}

/// Effects and calls, counted apart.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "reference": "0198c0de-0000-7000-8000-000000000000",
    "effects": {"authorize": 1, "capture": 1, "void": 0, "refund": 0}, "declined": 0,
    "calls": {"authorize": 1, "capture": 2, "void": 0, "refund": 0},
    "held_minor": 0, "captured_minor": 1250, "operations": [], "doubled": []
}))]
pub(super) struct LedgerAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(flatten)]
    tally: Tally,
    /// The order's operations that had an effect, oldest first; empty for all orders together.
    operations: Vec<Receipt>,
    /// Orders for which an operation had its effect more than once, at most 100: what must never be.
    doubled: Vec<String>,
}

/// How often was it authorised, captured, voided, refunded?
#[utoipa::path(
    get, path = "/v1/ledger", tag = "tests", params(Asked),
    responses((status = 200, description = "zeroes for an order that nobody asked about", body = LedgerAnswer))
)]
pub(super) async fn ledger(
    State(provider): State<Arc<Provider>>,
    Query(asked): Query<Asked>,
) -> StrictJson<LedgerAnswer> {
    let pages = provider.book.lock();
    let ledger = &pages.ledger;
    let (tally, operations, mut doubled) = match &asked.reference {
        Some(reference) => {
            let (tally, effects) = ledger.order(reference);
            let doubled = if tally.effects.highest() > 1 {
                vec![reference.as_str()]
            } else {
                Vec::new()
            };
            (
                tally,
                effects
                    .into_iter()
                    .filter_map(|entry| Receipt::of(ledger, entry))
                    .collect(),
                doubled,
            )
        }
        None => (ledger.totals(), Vec::new(), ledger.doubled()),
    };
    doubled.truncate(SHOWN);
    let doubled = doubled.into_iter().map(str::to_owned).collect();
    StrictJson(LedgerAnswer {
        reference: asked.reference,
        tally,
        operations,
        doubled,
    })
}
