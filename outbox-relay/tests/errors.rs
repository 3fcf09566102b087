//! Which answer of a broker leads where: each row of the table in `publish/outcome.rs`, asked of librdkafka itself by a
//! broker that misbehaves on command (its mock cluster, for no real broker gives these answers when they are wanted).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use outbox_relay::cursor::{Cursor, Identity};
use outbox_relay::publish::{Lead, Publisher};
use outbox_relay::source::Row;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};
use uuid::Uuid;

/// What a batch comes to after the broker has answered so.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Published all the same: librdkafka asks again by itself.
    Published,
    /// Not published, and this is to be done.
    Led(Lead),
}

const PUBLISHED: Outcome = Outcome::Published;
const REFUSED: Outcome = Outcome::Led(Lead::Refused);
const FENCED: Outcome = Outcome::Led(Lead::Fenced);
const NEW_PRODUCER: Outcome = Outcome::Led(Lead::NewProducer);

fn row() -> Row {
    Row {
        seq: 1,
        event_id: Uuid::nil(),
        topic: "events".into(),
        key: Some("k".into()),
        payload: Some("v".into()),
        headers: "{}".into(),
        not_before: None,
    }
}

fn cursor() -> Cursor {
    Cursor::beginning(Identity {
        system: "1".into(),
        database: "d".into(),
        oid: 1,
        timeline: 1,
    })
}

/// One batch against a broker that gives these answers to that request.
fn ask(api: Api, answers: &[Answer]) -> Outcome {
    let cluster: MockCluster<'_, DefaultProducerContext> = MockCluster::new(1).unwrap();
    for topic in ["events", "cursors"] {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let publisher = Publisher::take_over(&config, "relay", "cursors", "s/0").unwrap();
    // The topic is known and the coordinator found, so that the answers meet the request that is meant.
    publisher.publish(&[row()], &cursor()).unwrap();
    cluster.request_errors(api, answers);
    let outcome = match publisher.publish(&[row()], &cursor()) {
        Ok(()) => Outcome::Published,
        Err(error) => {
            eprintln!("{api:?} {answers:?}: {error:?}");
            Outcome::Led(error.lead())
        }
    };
    cluster.clear_request_errors(api);
    if outcome == REFUSED {
        // The transaction is aborted and the producer goes on.
        let next = publisher.publish(&[row()], &cursor());
        assert!(next.is_ok(), "after {api:?} {answers:?}: {next:?}");
    }
    outcome
}

fn check(table: &[(Api, &[Answer], Outcome)]) {
    let mut wrong = Vec::new();
    for (api, answers, expected) in table {
        let started = Instant::now();
        let outcome = ask(*api, answers);
        let took = started.elapsed();
        if outcome != *expected || took > Duration::from_secs(20) {
            wrong.push(format!(
                "{api:?} {answers:?}: {outcome:?} after {took:?}, expected {expected:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_passes_is_tried_again_by_librdkafka() {
    check(&[
        (
            Api::AddPartitionsToTxn,
            &[Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS],
            PUBLISHED,
        ),
        (
            Api::AddPartitionsToTxn,
            &[Answer::RD_KAFKA_RESP_ERR_NOT_COORDINATOR],
            PUBLISHED,
        ),
        (
            Api::AddPartitionsToTxn,
            &[Answer::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE],
            PUBLISHED,
        ),
        (
            Api::AddPartitionsToTxn,
            &[Answer::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS],
            PUBLISHED,
        ),
        (
            Api::Produce,
            &[Answer::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION],
            PUBLISHED,
        ),
        (
            Api::Produce,
            &[Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS],
            PUBLISHED,
        ),
        (
            Api::Produce,
            &[Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND],
            PUBLISHED,
        ),
        (
            Api::Produce,
            &[Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT],
            PUBLISHED,
        ),
        // A full or broken disk at the broker.
        (
            Api::Produce,
            &[
                Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
                Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            ],
            PUBLISHED,
        ),
        (
            Api::EndTxn,
            &[Answer::RD_KAFKA_RESP_ERR_NOT_COORDINATOR],
            PUBLISHED,
        ),
        (
            Api::EndTxn,
            &[Answer::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE],
            PUBLISHED,
        ),
        (
            Api::EndTxn,
            &[Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS],
            PUBLISHED,
        ),
    ]);
}

#[test]
fn what_is_said_of_one_record_refuses_it() {
    check(&[
        (
            Api::Produce,
            &[Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 2],
            REFUSED,
        ),
        (
            Api::Produce,
            &[Answer::RD_KAFKA_RESP_ERR_INVALID_RECORD; 2],
            REFUSED,
        ),
        (
            Api::AddPartitionsToTxn,
            &[Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED],
            REFUSED,
        ),
    ]);
}

#[test]
fn whoever_is_fenced_is_told_so() {
    check(&[
        (
            Api::AddPartitionsToTxn,
            &[Answer::RD_KAFKA_RESP_ERR_PRODUCER_FENCED],
            FENCED,
        ),
        (
            Api::AddPartitionsToTxn,
            &[Answer::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH],
            FENCED,
        ),
        (
            Api::EndTxn,
            &[Answer::RD_KAFKA_RESP_ERR_PRODUCER_FENCED],
            FENCED,
        ),
        (
            Api::EndTxn,
            &[Answer::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH],
            FENCED,
        ),
    ]);
}

#[test]
fn what_uses_the_producer_up_asks_for_a_new_one() {
    check(&[
        (
            Api::AddPartitionsToTxn,
            &[Answer::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
            NEW_PRODUCER,
        ),
        (
            Api::EndTxn,
            &[Answer::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
            NEW_PRODUCER,
        ),
    ]);
}

#[test]
fn a_producer_out_of_step_with_the_broker_is_replaced() {
    check(&[
        (
            Api::Produce,
            &[Answer::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
            NEW_PRODUCER,
        ),
        (
            Api::EndTxn,
            &[Answer::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE],
            NEW_PRODUCER,
        ),
    ]);
}
