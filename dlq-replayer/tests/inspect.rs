//! Looking into a real broker: offsets with transaction markers in between, pages, searches, groups, outages.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dlq_replayer::inspect::{Filter, InspectError, Inspector, Isolation, Page, PageRequest, Start};
use oncebox::Headers;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use testkit::kafka::{Sender, create_topics};

const TIMEOUT: Duration = Duration::from_secs(10);

fn inspector() -> Inspector {
    Inspector::new(&testkit::kafka_address(), TIMEOUT, &BTreeMap::new()).unwrap()
}

fn request(topic: &str, start: Start, limit: usize) -> PageRequest {
    PageRequest {
        topic: topic.to_owned(),
        start,
        filter: None,
        limit,
        isolation: Isolation::Committed,
        time_limit: TIMEOUT,
    }
}

fn from_start() -> Start {
    Start::From {
        partition: None,
        from: "earliest".parse().unwrap(),
        to: None,
    }
}

fn values(page: &Page) -> Vec<String> {
    page.records
        .iter()
        .map(|record| String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap())
        .collect()
}

/// Each transaction writes its values to partition 0, then commits or aborts.
fn transactions(topic: &str, transactions: &[(&[&str], bool)]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", testkit::kafka_address())
        .set("transactional.id", format!("{topic}writer"))
        .create()
        .unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    for (values, commit) in transactions {
        producer.begin_transaction().unwrap();
        for value in *values {
            producer
                .send(
                    BaseRecord::<str, str>::to(topic)
                        .partition(0)
                        .key("k")
                        .payload(value),
                )
                .unwrap();
        }
        // An abort drops what was not sent yet, and this test is about records that were.
        producer.flush(TIMEOUT).unwrap();
        if *commit {
            producer.commit_transaction(TIMEOUT)
        } else {
            producer.abort_transaction(TIMEOUT)
        }
        .unwrap();
    }
}

#[tokio::test]
async fn pages_pass_over_markers_and_aborted_records() {
    let topic = format!("{}tx", testkit::topic_prefix());
    create_topics(&[&topic], 1).await;
    let written = topic.clone();
    tokio::task::spawn_blocking(move || {
        transactions(
            &written,
            &[
                (&["a", "b"], true),
                (&["x", "y"], false),
                (&["c"], true),
                (&["d"], true),
            ],
        );
    })
    .await
    .unwrap();
    let inspector = inspector();

    let detail = inspector.topic(topic.clone()).await.unwrap();
    let partition = &detail.partitions[0];
    // Six records and four markers.
    assert_eq!(
        (
            partition.first_offset,
            partition.next_offset,
            partition.high_watermark
        ),
        (Some(0), Some(10), Some(10))
    );
    assert!(
        detail.configs.contains_key("retention.ms"),
        "{:?}",
        detail.configs
    );

    let first = inspector
        .page(request(&topic, from_start(), 3))
        .await
        .unwrap();
    assert_eq!(values(&first), ["a", "b", "c"]);
    assert!(!first.at_end() && !first.truncated);
    let rest = Start::At {
        positions: first.positions,
        ends: BTreeMap::new(),
    };
    let second = inspector.page(request(&topic, rest, 3)).await.unwrap();
    assert_eq!(values(&second), ["d"]);
    assert!(
        second.at_end(),
        "the trailing marker is no reason to go on: {:?}",
        second.positions
    );

    let all = PageRequest {
        isolation: Isolation::Uncommitted,
        ..request(&topic, from_start(), 10)
    };
    assert_eq!(
        values(&inspector.page(all).await.unwrap()),
        ["a", "b", "x", "y", "c", "d"]
    );

    let newest = inspector
        .page(request(&topic, Start::Newest { partition: None }, 2))
        .await
        .unwrap();
    assert_eq!(values(&newest), ["c", "d"]);
    assert!(newest.at_end());
}

#[tokio::test]
async fn the_newest_are_found_behind_many_markers() {
    let topic = format!("{}sparse", testkit::topic_prefix());
    create_topics(&[&topic], 1).await;
    let written = topic.clone();
    tokio::task::spawn_blocking(move || {
        let mut steps: Vec<(&[&str], bool)> = vec![(&["old"], true), (&["new"], true)];
        steps.extend(std::iter::repeat_n((&["aborted"][..], false), 30));
        transactions(&written, &steps);
    })
    .await
    .unwrap();
    let page = inspector()
        .page(request(&topic, Start::Newest { partition: Some(0) }, 2))
        .await
        .unwrap();
    assert_eq!(values(&page), ["old", "new"]);
}

#[tokio::test]
async fn an_open_transaction_is_visible_as_one() {
    let topic = format!("{}open", testkit::topic_prefix());
    create_topics(&[&topic], 1).await;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", testkit::kafka_address())
        .set("transactional.id", format!("{topic}writer"))
        .create()
        .unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    producer
        .send(
            BaseRecord::<str, str>::to(&topic)
                .partition(0)
                .payload("pending"),
        )
        .unwrap();
    producer.flush(TIMEOUT).unwrap();
    let partition = inspector()
        .topic(topic.clone())
        .await
        .unwrap()
        .partitions
        .remove(0);
    assert_eq!(
        (partition.next_offset, partition.high_watermark),
        (Some(0), Some(1))
    );
    let page = inspector()
        .page(request(&topic, from_start(), 5))
        .await
        .unwrap();
    assert!(page.records.is_empty() && page.at_end());
    producer.abort_transaction(TIMEOUT).unwrap();
}

#[tokio::test]
async fn pages_over_partitions_hold_every_record_once() {
    let topic = format!("{}many", testkit::topic_prefix());
    create_topics(&[&topic], 3).await;
    let sender = Sender::new();
    let mut sent = Vec::new();
    for number in 0..25 {
        let value = format!("v{number}");
        sender
            .send(
                &topic,
                Some(number % 3),
                None,
                Some(value.as_bytes()),
                &Headers::new(),
            )
            .await;
        sent.push(value);
    }
    let inspector = inspector();
    let (mut seen, mut start) = (Vec::new(), from_start());
    loop {
        let page = inspector.page(request(&topic, start, 4)).await.unwrap();
        assert!(page.records.len() <= 4);
        seen.extend(values(&page));
        if page.at_end() {
            break;
        }
        start = Start::At {
            positions: page.positions,
            ends: BTreeMap::new(),
        };
    }
    seen.sort();
    sent.sort();
    assert_eq!(seen, sent);
}

#[tokio::test]
async fn a_search_finds_by_key_and_by_event_id_and_stops_in_time() {
    let topic = format!("{}find", testkit::topic_prefix());
    create_topics(&[&topic], 2).await;
    let sender = Sender::new();
    let mut headers = Headers::new();
    headers.push("ce_id", "0197-wanted");
    for number in 0..20 {
        let key = format!("key{}", number % 5);
        let headers = if number == 13 {
            headers.clone()
        } else {
            Headers::new()
        };
        let value = number.to_string();
        sender
            .send(
                &topic,
                None,
                Some(key.as_bytes()),
                Some(value.as_bytes()),
                &headers,
            )
            .await;
    }
    let inspector = inspector();
    let search = |filter| PageRequest {
        filter: Some(filter),
        ..request(&topic, from_start(), 10)
    };

    let by_key = inspector
        .page(search(Filter::Key(b"key3".to_vec())))
        .await
        .unwrap();
    assert_eq!(values(&by_key), ["3", "8", "13", "18"]);
    assert_eq!(by_key.scanned, 20);
    assert!(by_key.at_end());

    let by_id = inspector
        .page(search(Filter::EventId("0197-wanted".into())))
        .await
        .unwrap();
    assert_eq!(values(&by_id), ["13"]);

    let first = inspector
        .page(PageRequest {
            limit: 1,
            ..search(Filter::Key(b"key3".to_vec()))
        })
        .await
        .unwrap();
    assert_eq!(values(&first), ["3"]);
    let on = Start::At {
        positions: first.positions,
        ends: first.ends,
    };
    let on = PageRequest {
        start: on,
        ..search(Filter::Key(b"key3".to_vec()))
    };
    assert_eq!(
        values(&inspector.page(on).await.unwrap()),
        ["8", "13", "18"],
        "a search goes on where it stopped"
    );

    let no_time = PageRequest {
        time_limit: Duration::ZERO,
        ..search(Filter::Key(b"key3".to_vec()))
    };
    let cut = inspector.page(no_time).await.unwrap();
    assert!(
        cut.truncated && !cut.at_end(),
        "an unfinished search must not look like an empty result"
    );
}

#[tokio::test]
async fn instants_and_offsets_resolve_within_what_is_there() {
    let topic = format!("{}time", testkit::topic_prefix());
    create_topics(&[&topic], 1).await;
    let sender = Sender::new();
    for value in ["one", "two"] {
        sender
            .send(&topic, None, None, Some(value.as_bytes()), &Headers::new())
            .await;
    }
    let inspector = inspector();
    let offset_of = async |text: &str| {
        inspector
            .resolve(topic.clone(), Some(0), text.parse().unwrap())
            .await
            .unwrap()[&0]
    };
    assert_eq!(offset_of("-1h").await, 0);
    assert_eq!(offset_of("1969-01-01T00:00:00Z").await, 0);
    assert_eq!(
        offset_of("2100-01-01T00:00:00Z").await,
        2,
        "nothing is newer: the end"
    );
    assert_eq!(offset_of("1").await, 1);
    assert_eq!(offset_of("99").await, 2);
    let without_partition = inspector
        .resolve(topic.clone(), None, "1".parse().unwrap())
        .await;
    assert!(matches!(
        without_partition,
        Err(InspectError::OffsetNeedsPartition { offset: 1 })
    ));
    let elsewhere = inspector
        .resolve(topic.clone(), Some(7), "earliest".parse().unwrap())
        .await;
    assert!(matches!(
        elsewhere,
        Err(InspectError::UnknownPartition {
            partition: 7,
            count: 1,
            ..
        })
    ));
}

#[tokio::test]
async fn a_group_shows_its_lag_and_is_not_disturbed() {
    let prefix = testkit::topic_prefix();
    let (topic, group) = (format!("{prefix}lag"), format!("{prefix}readers"));
    create_topics(&[&topic], 2).await;
    let sender = Sender::new();
    for _ in 0..5 {
        sender
            .send(&topic, Some(1), None, Some(b"v"), &Headers::new())
            .await;
    }
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", testkit::kafka_address())
        .set("group.id", &group)
        .set("client.id", "the-reader")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    reader.subscribe(&[&topic]).unwrap();
    let started = Instant::now();
    while reader.poll(Duration::from_millis(100)).is_none() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the reader got nothing"
        );
    }
    let mut done = TopicPartitionList::new();
    done.add_partition_offset(&topic, 1, Offset::Offset(2))
        .unwrap();
    reader.commit(&done, CommitMode::Sync).unwrap();

    let inspector = inspector();
    for _ in 0..2 {
        let detail = inspector.group(group.clone()).await.unwrap();
        assert_eq!(
            detail.state, "Stable",
            "asking must not make the group rebalance"
        );
        assert_eq!(detail.lag, 3);
        assert_eq!(detail.members.len(), 1);
        assert_eq!(
            (
                detail.members[0].client.as_str(),
                detail.members[0].partitions
            ),
            ("the-reader", 2)
        );
        let partition = &detail.partitions[1];
        assert_eq!(
            (partition.partition, partition.committed, partition.lag),
            (1, Some(2), Some(3))
        );
        assert_eq!(
            partition.member.as_deref(),
            Some(detail.members[0].member.as_str())
        );
        assert_eq!(
            (detail.partitions[0].committed, detail.partitions[0].lag),
            (None, None)
        );
    }
    assert!(
        inspector
            .groups()
            .await
            .unwrap()
            .iter()
            .any(|found| found.group == group && found.members == 1)
    );
}

#[tokio::test]
async fn a_group_that_has_read_all_has_no_lag_behind_markers() {
    let prefix = testkit::topic_prefix();
    let (topic, group) = (format!("{prefix}marked"), format!("{prefix}readers"));
    create_topics(&[&topic], 1).await;
    let written = topic.clone();
    tokio::task::spawn_blocking(move || {
        transactions(&written, &[(&["a"], true), (&["b"], true), (&["x"], false)]);
    })
    .await
    .unwrap();
    // Offsets: a 0, marker 1, b 2, marker 3, x 4, marker 5.
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", testkit::kafka_address())
        .set("group.id", &group)
        .create()
        .unwrap();
    let inspector = inspector();
    for (committed, lag) in [(3, 0), (1, 5), (6, 0)] {
        let mut done = TopicPartitionList::new();
        done.add_partition_offset(&topic, 0, Offset::Offset(committed))
            .unwrap();
        reader.commit(&done, CommitMode::Sync).unwrap();
        let detail = inspector.group(group.clone()).await.unwrap();
        assert_eq!(detail.lag, lag, "committed {committed}");
    }
}

#[tokio::test]
async fn unknown_names_are_answered_with_near_ones() {
    let prefix = testkit::topic_prefix();
    let topic = format!("{prefix}order.events");
    create_topics(&[&topic], 1).await;
    let inspector = inspector();
    match inspector.topic(format!("{prefix}order.event")).await {
        Err(InspectError::UnknownTopic { nearest, .. }) => {
            assert_eq!(nearest.first(), Some(&topic))
        }
        other => panic!("{other:?}"),
    }
    let listed = inspector.topics().await.unwrap();
    assert!(
        listed
            .iter()
            .any(|found| found.topic == topic && found.partitions == 1 && found.offsets == Some(0))
    );
    assert!(matches!(
        inspector.group("no-such-group".into()).await,
        Err(InspectError::UnknownGroup { .. })
    ));
}

#[tokio::test]
async fn a_broker_that_is_away_is_reported_soon_and_found_again() {
    let proxy = testkit::Proxy::to(&testkit::kafka_address()).await;
    proxy.cut();
    let away = Inspector::new(
        &proxy.address().to_string(),
        Duration::from_secs(1),
        &BTreeMap::new(),
    )
    .unwrap();
    let started = Instant::now();
    assert!(away.topics().await.unwrap_err().is_outage());
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    proxy.mend();
    testkit::eventually(
        "the broker to be found again",
        Duration::from_secs(20),
        async || away.ping().await.ok(),
    )
    .await;
}
