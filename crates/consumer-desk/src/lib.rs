//! What an operator sees of a consumer's parked keys and decides about them, over HTTP: routes that a service adds to its
//! own. The command line `parked` speaks to them.
//!
//! ```no_run
//! # fn routes(pool: sqlx::PgPool, own: utoipa_axum::router::OpenApiRouter) -> utoipa_axum::router::OpenApiRouter {
//! let parking = oncebox::Parking::new(pool, "inventory");
//! own.merge(consumer_desk::routes(parking, "the service's token"))
//! # }
//! ```

mod problems;
pub mod views;

use axum::extract::State;
use http_kit::{
    BearerAuth, FieldError, Problem, ProblemBody, Query, StrictJson, ValidJson, Validate,
};
use oncebox::Parking;
use oncebox::parking::{Lane, ParkedPlace};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use problems::key_unknown;
use views::{Decided, Decision, DecisionRequest, KeyView};

const ACTOR_CHARACTERS: usize = 200;
const REASON_CHARACTERS: usize = 1_000;

/// The routes under `/v1/parked`, for whoever has the token; nobody has an empty one.
pub fn routes(parking: Parking, token: &str) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(decide))
        .with_state(parking)
        .route_layer(BearerAuth::new(token))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// How many; 1 to 1,000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Keys whose records are parked, because one of them keeps failing: what is tried next comes first
#[utoipa::path(get, path = "/v1/parked", tag = "parked keys", params(ListQuery), security(("token" = [])),
    responses((status = 200, body = Vec<KeyView>)))]
async fn list(
    State(parking): State<Parking>,
    Query(query): Query<ListQuery>,
) -> Result<StrictJson<Vec<KeyView>>, Problem> {
    let limit = query.limit.unwrap_or(100).clamp(1, 1000);
    let keys = parking.keys(limit).await?;
    Ok(StrictJson(keys.into_iter().map(KeyView::from).collect()))
}

/// Tries a parked key again now, gives its first record up, or lets a held key go on
///
/// `retry` does not wait for the next attempt. `dead_letter` gives the record up that is the key's first now, without another
/// attempt. `release` lets a key go on that is held for a dead letter. The consumer carries it out within about a second.
#[utoipa::path(post, path = "/v1/parked/decisions", tag = "parked keys", security(("token" = [])), request_body = DecisionRequest,
    responses((status = 200, body = Decided), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
async fn decide(
    State(parking): State<Parking>,
    ValidJson(request): ValidJson<DecisionRequest>,
) -> Result<StrictJson<Decided>, Problem> {
    let place = ParkedPlace {
        topic: request.topic,
        partition: request.partition,
        lane: Lane::from_uuid(request.lane),
    };
    let met = match request.decision {
        Decision::Retry => parking.retry_now(&place).await?,
        Decision::DeadLetter => parking.dead_letter_now(&place).await?,
        Decision::Release => parking.release(&place).await?,
    };
    if !met {
        return Err(key_unknown(&place, request.decision));
    }
    tracing::info!(
        decision = request.decision.name(),
        topic = place.topic,
        partition = place.partition,
        lane = %request.lane,
        actor = request.actor,
        reason = request.reason,
        "parked key decided about"
    );
    Ok(StrictJson(Decided {
        decision: request.decision,
    }))
}

impl Validate for DecisionRequest {
    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (pointer, text, most) in [
            ("/actor", &self.actor, ACTOR_CHARACTERS),
            ("/reason", &self.reason, REASON_CHARACTERS),
        ] {
            if text.trim().is_empty() {
                errors.push(FieldError::at(pointer, "must not be empty"));
            } else if text.chars().count() > most {
                let wrong = format!("must have at most {most} characters");
                errors.push(FieldError::at(pointer, wrong));
            }
        }
        errors
    }
}
