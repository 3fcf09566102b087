//! What the relay cannot exceed: reading the same rows to nothing, and producing the same bytes from nothing.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use oncebox::headers::kafka_headers_from_json;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::Serialize;
use sqlx::{Connection, PgConnection};

use super::fill::PAYLOAD_BYTES;
use super::topic::blocking;
use crate::ground::Ground;
use crate::process;
use crate::spread::Spread;

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Rows that are kept in memory and produced again and again.
const KEPT: i64 = 100_000;

/// Both, in rows a second.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ceilings {
    pub(crate) copy_rows_per_second: Spread,
    /// With so many rows a transaction.
    pub(crate) rows_per_transaction: u64,
    pub(crate) produce_rows_per_second: Spread,
    pub(crate) produce_rows_per_cpu_second: Spread,
}

impl Ceilings {
    /// The lower one.
    pub(crate) fn lower(&self) -> f64 {
        self.copy_rows_per_second
            .median
            .min(self.produce_rows_per_second.median)
    }
}

/// A row as it is produced.
struct Row {
    key: Vec<u8>,
    payload: Vec<u8>,
    headers: OwnedHeaders,
}

/// Measures both on a filled outbox.
pub(crate) async fn measure(
    ground: &Ground,
    url: &str,
    rows: u64,
    runs: usize,
) -> anyhow::Result<Ceilings> {
    let mut connection = PgConnection::connect(url).await?;
    let (mut copied, mut produced, mut per_cpu) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=runs {
        let rate = copy(&mut connection, rows).await?;
        ground.say(&format!("ceiling {run}: COPY to nothing, {rate:.0} rows/s"));
        copied.push(rate);
    }
    let rows_per_transaction = rows_per_transaction(&mut connection).await?;
    for run in 1..=runs {
        let kept = kept(&mut connection).await?;
        let topic = ground.topic(&format!("ceiling{run}")).await?;
        let (kafka, id) = (ground.kafka.clone(), topic.clone());
        let (rate, cpu) =
            blocking(move || produce(&kafka, &id, &topic, &kept, rows, rows_per_transaction))
                .await?;
        ground.say(&format!(
            "ceiling {run}: librdkafka alone, {rate:.0} rows/s"
        ));
        produced.push(rate);
        per_cpu.push(cpu);
    }
    Ok(Ceilings {
        copy_rows_per_second: Spread::of(copied),
        rows_per_transaction,
        produce_rows_per_second: Spread::of(produced),
        produce_rows_per_cpu_second: Spread::of(per_cpu),
    })
}

/// Reads every row and looks at none.
async fn copy(connection: &mut PgConnection, rows: u64) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut bytes = connection
        .copy_out_raw(
            "copy (select seq, event_id, topic, key, payload, headers from oncebox.outbox) to stdout (format binary)",
        )
        .await?;
    let mut size = 0;
    while let Some(piece) = bytes.try_next().await? {
        size += piece.len();
    }
    anyhow::ensure!(size as u64 > rows * PAYLOAD_BYTES, "COPY gave {size} bytes");
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

/// As the relay cuts its batches by its settings, from the sizes that it counts.
async fn rows_per_transaction(connection: &mut PgConnection) -> anyhow::Result<u64> {
    let settings: outbox_relay::Settings = toml::from_str(outbox_relay::DEFAULTS)?;
    let size: f64 = sqlx::query_scalar(
        "select avg(octet_length(payload) + pg_column_size(headers) + 200)::float8
         from (select payload, headers from oncebox.outbox where payload is not null limit 10000) as sampled",
    )
    .fetch_one(connection)
    .await?;
    let fit = (f64::from(settings.batch_bytes) / size).ceil() as u64;
    Ok(fit.min(settings.batch_rows.into()))
}

async fn kept(connection: &mut PgConnection) -> anyhow::Result<Vec<Row>> {
    let rows: Vec<(Vec<u8>, Vec<u8>, String)> = sqlx::query_as(
        "select key, payload, headers::text from oncebox.outbox where payload is not null order by seq limit $1",
    )
    .bind(KEPT)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|(key, payload, headers)| {
            Ok(Row {
                key,
                payload,
                headers: kafka_headers_from_json(&headers)?,
            })
        })
        .collect()
}

/// Rows a second, and a processor second of librdkafka's threads and ours. Blocks.
fn produce(
    kafka: &str,
    id: &str,
    topic: &str,
    kept: &[Row],
    rows: u64,
    a_transaction: u64,
) -> anyhow::Result<(f64, f64)> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka);
    let producer: BaseProducer = outbox_relay::publish::producer_config(&config, id).create()?;
    producer.init_transactions(CALL_TIMEOUT)?;
    let mut endless = kept.iter().cycle();
    let (started, cpu) = (Instant::now(), process::cpu_seconds(std::process::id())?);
    let mut left = rows;
    while left > 0 {
        producer.begin_transaction()?;
        let now = left.min(a_transaction);
        for row in endless.by_ref().take(usize::try_from(now)?) {
            send(&producer, topic, row)?;
        }
        // As the relay waits; see its producer.
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::ZERO);
            std::thread::sleep(Duration::from_micros(100));
        }
        producer.commit_transaction(CALL_TIMEOUT)?;
        left -= now;
    }
    let took = started.elapsed().as_secs_f64();
    let cpu = process::cpu_seconds(std::process::id())? - cpu;
    Ok((rows as f64 / took, rows as f64 / cpu.max(0.01)))
}

fn send(producer: &BaseProducer, topic: &str, row: &Row) -> anyhow::Result<()> {
    let mut record = BaseRecord::to(topic)
        .key(&row.key)
        .payload(&row.payload)
        .headers(row.headers.clone());
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, back))
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
            {
                producer.poll(Duration::ZERO);
                std::thread::sleep(Duration::from_micros(200));
                record = back;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}
