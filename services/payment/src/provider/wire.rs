//! The provider's JSON, and what its statuses mean.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};

use super::CallError;
use crate::domain::account::AccountName;
use crate::domain::operation::OrderId;
use crate::domain::payment::{Charge, Outcome};

/// No more of a foreign error text than this goes into a message.
const DETAIL_LIMIT: usize = 300;

#[derive(Serialize)]
pub(super) struct Authorization<'a> {
    amount_minor: i64,
    currency: &'a str,
    token: &'a str,
    reference: String,
    merchant_account: Option<&'a str>,
}

impl<'a> Authorization<'a> {
    pub(super) fn of(order: OrderId, charge: &'a Charge) -> Self {
        Self {
            amount_minor: charge.amount.minor(),
            currency: charge.currency.as_str(),
            token: charge.token.expose(),
            reference: order.to_string(),
            merchant_account: charge.account.as_ref().map(AccountName::as_str),
        }
    }
}

/// What the provider says about an operation that it carried out. Members that are not needed here are ignored: a
/// provider may add some.
#[derive(Debug, Deserialize)]
pub(super) struct Receipt {
    status: String,
    id: String,
    decline_code: Option<String>,
    decline_reason: Option<String>,
}

impl Receipt {
    pub(super) fn outcome(self) -> Result<Outcome, CallError> {
        match self.status.as_str() {
            "approved" => Ok(Outcome::Approved { id: self.id }),
            "declined" => Ok(Outcome::Declined {
                code: self.decline_code.unwrap_or_else(|| "declined".into()),
                reason: self
                    .decline_reason
                    .unwrap_or_else(|| "the provider gave no reason".into()),
            }),
            other => Err(CallError::unintelligible(format!(
                "its answer has the unknown status {other:?}"
            ))),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ProblemAnswer {
    code: String,
    title: String,
    detail: String,
}

/// Sends a request and sorts its answer. None is a look-up that found nothing.
pub(super) async fn send(
    request: RequestBuilder,
    look_up: bool,
    timeout: Duration,
) -> Result<Option<Receipt>, CallError> {
    let response = request
        .send()
        .await
        .map_err(|error| lost(&error, timeout))?;
    let status = response.status();
    let body = response
        .bytes()
        .await
        .map_err(|error| lost(&error, timeout))?;
    if status.is_success() {
        let receipt = serde_json::from_slice(&body);
        return receipt.map(Some).map_err(|error| {
            CallError::unintelligible(format!("its answer cannot be read: {error}"))
        });
    }
    let problem: ProblemAnswer = serde_json::from_slice(&body).unwrap_or_default();
    match status {
        StatusCode::NOT_FOUND if look_up => Ok(None),
        StatusCode::CONFLICT => Err(CallError::Conflict {
            detail: text(&problem, status),
        }),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Err(CallError::Unavailable {
            status: status.as_u16(),
        }),
        _ if status.is_client_error() => Err(CallError::Refused {
            status: status.as_u16(),
            detail: text(&problem, status),
        }),
        _ => Err(CallError::Failed {
            detail: text(&problem, status),
        }),
    }
}

fn text(problem: &ProblemAnswer, status: StatusCode) -> String {
    let parts = [&problem.code, &problem.title, &problem.detail];
    let said: Vec<&str> = parts
        .into_iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    let text = if said.is_empty() {
        format!("HTTP {status}")
    } else {
        said.join(": ")
    };
    text.chars().take(DETAIL_LIMIT).collect()
}

/// Only a connection that was never made is sure not to have delivered the request.
fn lost(error: &reqwest::Error, timeout: Duration) -> CallError {
    let detail = innermost(error);
    if error.is_connect() {
        CallError::Unreachable { detail }
    } else {
        CallError::NoAnswer {
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            detail,
        }
    }
}

/// The cause that says something; the outer ones repeat the address.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
