//! Idempotency keys on a real PostgreSQL: once is once, whoever repeats and whenever.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test helper fails the test"
)]

use std::time::Duration;

use axum::http::HeaderMap;
use http_kit::{
    IdempotencyKey, Problem, StatusCode,
    idempotency::{self, Answer, Fingerprint, Outcome},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::TestDb;
use tokio::{sync::Barrier, task::JoinSet};

const SCOPE: &str = "POST /v1/orders";

fn key(text: &str) -> IdempotencyKey {
    let mut headers = HeaderMap::new();
    headers.insert("idempotency-key", text.parse().unwrap());
    IdempotencyKey::from_headers(&headers).unwrap()
}

async fn database(label: &str) -> TestDb {
    let db = TestDb::empty(label).await;
    idempotency::migrate(db.pool()).await.unwrap();
    sqlx::raw_sql(
        "create table effects (id bigint generated always as identity primary key, payload jsonb)",
    )
    .execute(db.pool())
    .await
    .unwrap();
    db
}

/// What a service does: claim, effect, answer, commit. `hold` keeps the transaction open until told.
async fn submit(
    pool: &PgPool,
    key: &IdempotencyKey,
    payload: &Value,
    hold: Option<&Barrier>,
) -> Result<Answer, Problem> {
    let mut tx = pool.begin().await?;
    let claim =
        match idempotency::begin(&mut tx, SCOPE, key, Fingerprint::of(SCOPE, payload)?).await? {
            Outcome::First(claim) => claim,
            Outcome::Repeated(answer) => return Ok(answer),
        };
    let id: i64 = sqlx::query_scalar("insert into effects (payload) values ($1) returning id")
        .bind(payload)
        .fetch_one(&mut *tx)
        .await?;
    if let Some(barrier) = hold {
        barrier.wait().await;
        barrier.wait().await;
    }
    let answer = Answer::json(StatusCode::ACCEPTED, &json!({ "id": id }))?
        .header("location", format!("/v1/orders/{id}"));
    idempotency::finish(&mut tx, claim, &answer).await?;
    tx.commit().await?;
    Ok(answer)
}

async fn effects(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from effects")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_first_answer_is_given_again_byte_for_byte() {
    let db = database("idem_again").await;
    let first = submit(db.pool(), &key("k"), &json!({"a": 1, "b": 2}), None)
        .await
        .unwrap();
    let again = submit(db.pool(), &key("k"), &json!({"b": 2, "a": 1}), None)
        .await
        .unwrap();
    assert!(!first.is_replayed() && again.is_replayed());
    assert_eq!(
        (first.status(), first.body()),
        (again.status(), again.body())
    );
    let (first, again) = (
        axum::response::IntoResponse::into_response(first),
        axum::response::IntoResponse::into_response(again),
    );
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    for name in ["location", "content-type"] {
        assert_eq!(first.headers()[name], again.headers()[name]);
    }
    assert_eq!(effects(db.pool()).await, 1);
}

#[tokio::test]
async fn another_payload_is_refused_and_another_key_or_scope_is_not() {
    let db = database("idem_other").await;
    submit(db.pool(), &key("k"), &json!({"a": 1}), None)
        .await
        .unwrap();
    let problem = submit(db.pool(), &key("k"), &json!({"a": 2}), None)
        .await
        .unwrap_err();
    assert_eq!(
        (problem.status(), problem.code()),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency.payload_mismatch"
        )
    );
    submit(db.pool(), &key("other"), &json!({"a": 2}), None)
        .await
        .unwrap();
    assert_eq!(effects(db.pool()).await, 2);

    let mut tx = db.pool().begin().await.unwrap();
    let elsewhere = idempotency::begin(
        &mut tx,
        "POST /v1/other",
        &key("k"),
        Fingerprint::of("x", &1).unwrap(),
    )
    .await
    .unwrap();
    assert!(matches!(elsewhere, Outcome::First(_)));
}

#[tokio::test]
async fn while_the_first_runs_a_second_is_told_so_at_once() {
    let db = database("idem_flight").await;
    let barrier = std::sync::Arc::new(Barrier::new(2));
    let (pool, held) = (db.pool().clone(), barrier.clone());
    let first = tokio::spawn(async move { submit(&pool, &key("k"), &json!(1), Some(&held)).await });
    barrier.wait().await;
    let (k, payload) = (key("k"), json!(1));
    let second = submit(db.pool(), &k, &payload, None);
    let problem = tokio::time::timeout(Duration::from_secs(5), second)
        .await
        .expect("never waits")
        .unwrap_err();
    assert_eq!(
        (problem.status(), problem.code()),
        (StatusCode::CONFLICT, "idempotency.in_flight")
    );
    let response = axum::response::IntoResponse::into_response(problem);
    assert_eq!(response.headers()["retry-after"], "1");
    barrier.wait().await;
    let first = first.await.unwrap().unwrap();
    let again = submit(db.pool(), &key("k"), &json!(1), None).await.unwrap();
    assert_eq!(first.body(), again.body());
    assert_eq!(effects(db.pool()).await, 1);
}

#[tokio::test]
async fn twenty_at_once_take_effect_once() {
    let db = database("idem_twenty").await;
    for round in 0..10 {
        let mut clients = JoinSet::new();
        let start = std::sync::Arc::new(Barrier::new(20));
        for _ in 0..20 {
            let (pool, start) = (db.pool().clone(), start.clone());
            clients.spawn(async move {
                start.wait().await;
                loop {
                    match submit(
                        &pool,
                        &key(&format!("round-{round}")),
                        &json!({ "round": round }),
                        None,
                    )
                    .await
                    {
                        Ok(answer) => return answer.body().to_vec(),
                        Err(problem) => assert_eq!(problem.code(), "idempotency.in_flight"),
                    }
                }
            });
        }
        let answers = clients.join_all().await;
        assert_eq!(answers.len(), 20);
        assert!(
            answers.iter().all(|answer| answer == &answers[0]),
            "{answers:?}"
        );
        assert_eq!(effects(db.pool()).await, round + 1);
    }
}

#[tokio::test]
async fn a_request_that_failed_can_be_repeated() {
    let db = database("idem_failed").await;
    let mut tx = db.pool().begin().await.unwrap();
    let fingerprint = Fingerprint::of(SCOPE, &json!(1)).unwrap();
    let outcome = idempotency::begin(&mut tx, SCOPE, &key("k"), fingerprint)
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::First(_)));
    tx.rollback().await.unwrap();
    assert!(
        !submit(db.pool(), &key("k"), &json!(1), None)
            .await
            .unwrap()
            .is_replayed()
    );
    assert_eq!(effects(db.pool()).await, 1);
}

#[tokio::test]
async fn a_commit_in_the_gap_between_snapshot_and_lock_takes_effect_once() {
    let db = database("idem_gap").await;
    // The loser holds the claim with a snapshot from before the winner's commit, as the gap would leave it.
    let fingerprint = Fingerprint::of(SCOPE, &json!(1)).unwrap();
    let mut late = db.pool().begin().await.unwrap();
    let Outcome::First(claim) = idempotency::begin(&mut late, SCOPE, &key("k"), fingerprint)
        .await
        .unwrap()
    else {
        panic!()
    };
    sqlx::query("insert into idempotency_keys (scope, key, fingerprint, status, headers, body) values ($1, 'k', $2, 202, '[]', '')")
        .bind(SCOPE)
        .bind(vec![0u8; 32])
        .execute(db.pool())
        .await
        .unwrap();
    let answer = Answer::json(StatusCode::ACCEPTED, &1).unwrap();
    let problem = idempotency::finish(&mut late, claim, &answer)
        .await
        .unwrap_err();
    assert_eq!(problem.code(), "idempotency.in_flight");
}

#[tokio::test]
async fn old_keys_are_forgotten_and_young_ones_are_not() {
    let db = database("idem_purge").await;
    sqlx::query(
        "insert into idempotency_keys (scope, key, fingerprint, status, headers, body, created_at)
         select 's', n::text, sha256(n::text::bytea), 200, '[]', '', clock_timestamp() - interval '2 days' from generate_series(1, 2500) n",
    )
    .execute(db.pool())
    .await
    .unwrap();
    submit(db.pool(), &key("young"), &json!(1), None)
        .await
        .unwrap();
    assert_eq!(
        idempotency::purge(db.pool(), Duration::from_secs(86_400))
            .await
            .unwrap(),
        2500
    );
    let left: Vec<String> = sqlx::query_scalar("select key from idempotency_keys")
        .fetch_all(db.pool())
        .await
        .unwrap();
    assert_eq!(left, ["young"]);
}

#[tokio::test]
async fn the_table_is_made_by_several_at_once() {
    let db = TestDb::empty("idem_migrate").await;
    let mut services = JoinSet::new();
    for _ in 0..8 {
        let pool = db.pool().clone();
        services.spawn(async move { idempotency::migrate(&pool).await });
    }
    for migrated in services.join_all().await {
        migrated.unwrap();
    }
}
