//! Measures one drain: so many rows of 400 bytes over 10,000 keys wait in an outbox, and the relay publishes them.
//!
//! `cargo run --release -p outbox-relay --example drain -- 200000`, with `ONCEBOX_KAFKA` and `ONCEBOX_DATABASE_URL` set
//! as for the tests. The processor time is this process's alone.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use outbox_relay::{Relay, Settings};
use testkit::TestDb;
use tokio_util::sync::CancellationToken;

const FILL: &str = "
    insert into oncebox.outbox (event_id, topic, key, payload, headers)
    select id, $1, convert_to('order-' || n % 10000, 'utf8'), decode(repeat(md5(n::text), 13) || repeat('00', 192), 'hex'),
           jsonb_build_object('ce_specversion', '1.0', 'ce_id', id::text, 'ce_type', 'oncebox.order.OrderPlaced',
               'ce_source', '/oncebox/order', 'ce_time', '2026-01-01T00:00:00.000Z', 'content-type', 'application/avro',
               'id', id::text)
    from (select n, gen_random_uuid() as id from generate_series(1, 1000) n) as rows";

#[tokio::main]
async fn main() {
    let rows: u64 = std::env::args()
        .nth(1)
        .map_or(200_000, |text| text.parse().unwrap());
    let (database, prefix) = (TestDb::new("drain").await, testkit::topic_prefix());
    let topic = format!("{prefix}events");
    testkit::kafka::create_topics(&[&topic], 6).await;
    testkit::kafka::create_topics(&[&format!("{prefix}oncebox.relay.cursors")], 1).await;
    for _ in 0..rows.div_ceil(1000) {
        sqlx::query(FILL)
            .bind(&topic)
            .execute(database.pool())
            .await
            .unwrap();
    }
    let mut settings: Settings = toml::from_str(outbox_relay::DEFAULTS).unwrap();
    settings.kafka = testkit::kafka_address();
    settings.topic_prefix = prefix;
    settings.sources = BTreeMap::from([("drain".to_owned(), database.url().into())]);
    let (shutdown, started, busy) = (
        CancellationToken::new(),
        Instant::now(),
        processor_seconds(),
    );
    let relay = Relay::start(settings, &shutdown).unwrap();
    testkit::eventually("the drain", Duration::from_secs(600), async || {
        (relay.shared()[0].status().published_rows >= rows).then_some(())
    })
    .await;
    let (wall, busy) = (started.elapsed().as_secs_f64(), processor_seconds() - busy);
    shutdown.cancel();
    relay.ended().await;
    println!(
        "{rows} rows in {wall:.2} s and {busy:.2} CPU s, peak RSS {}",
        peak_rss()
    );
}

fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // After the name in parentheses: user and system time are the 12th and 13th, in hundredths.
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn peak_rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .collect::<Vec<_>>()
        .join(" ")
}
