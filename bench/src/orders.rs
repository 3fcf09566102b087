//! Orders from submission to verdict.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use e2e::Pipeline;
use e2e::client::{Client, one_line, product};
use futures::stream::{self, StreamExt};
use serde::Serialize;

use crate::figures::Latency;
use crate::memory::resident_mb;

/// How the benchmark is run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Orders to submit.
    #[arg(long, default_value_t = 2000)]
    orders: usize,
    /// Submissions under way at once.
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Different products, each order buys one.
    #[arg(long, default_value_t = 100)]
    products: usize,
    /// Seconds that the platform rests before its memory is read.
    #[arg(long, default_value_t = 10)]
    rest: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    orders: usize,
    concurrency: usize,
    submission: Latency,
    submissions_per_second: f64,
    /// From the first submission to the last verdict.
    orders_per_second: f64,
    /// One order alone, from submission to verdict.
    alone: Latency,
    resident_mb_at_start: BTreeMap<&'static str, f64>,
    resident_mb_at_rest: BTreeMap<&'static str, f64>,
}

/// Starts the platform, measures, and prints.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(
        options.orders > 0 && options.concurrency > 0 && options.products > 0,
        "orders, concurrency and products must be at least 1"
    );
    eprintln!("starting the platform");
    let pipeline = Pipeline::start().await;
    let resident_mb_at_start = resident_mb(&pipeline)?;
    let client = pipeline.client();
    let products: Vec<_> = (0..options.products).map(|_| product("bench")).collect();
    for product in &products {
        client.stock(product, 1_000_000).await;
    }
    eprintln!("warming up");
    submit(
        &client,
        &products,
        100.min(options.orders),
        options.concurrency,
    )
    .await;
    decided(&pipeline).await?;

    eprintln!("one order at a time");
    let mut alone = Vec::new();
    for number in 0..50 {
        let started = Instant::now();
        let order = client
            .submit(&one_line(
                &products[number % products.len()],
                1,
                "tok_approved",
            ))
            .await;
        client.verdict(&order).await;
        alone.push(started.elapsed());
    }

    eprintln!("{} orders, {} at once", options.orders, options.concurrency);
    let started = Instant::now();
    let latencies = submit(&client, &products, options.orders, options.concurrency).await;
    let submitted = started.elapsed();
    decided(&pipeline).await?;
    let ended = started.elapsed();
    tokio::time::sleep(Duration::from_secs(options.rest)).await;
    let report = Report {
        orders: options.orders,
        concurrency: options.concurrency,
        submission: Latency::of(latencies),
        submissions_per_second: rate(options.orders, submitted),
        orders_per_second: rate(options.orders, ended),
        alone: Latency::of(alone),
        resident_mb_at_start,
        resident_mb_at_rest: resident_mb(&pipeline)?,
    };
    print(&report, options.json)
}

async fn submit(
    client: &Client,
    products: &[String],
    orders: usize,
    concurrency: usize,
) -> Vec<Duration> {
    stream::iter(0..orders)
        .map(|number| async move {
            let order = one_line(&products[number % products.len()], 1, "tok_approved");
            let started = Instant::now();
            client.submit(&order).await;
            started.elapsed()
        })
        .buffer_unordered(concurrency)
        .collect()
        .await
}

/// Waits until no order is pending.
async fn decided(pipeline: &Pipeline) -> anyhow::Result<()> {
    let url = format!("{}/v1/orders?verdict=pending&limit=1", pipeline.order.url());
    let started = Instant::now();
    loop {
        let page: serde_json::Value = reqwest::get(&url).await?.error_for_status()?.json().await?;
        if page["items"].as_array().context("no items")?.is_empty() {
            return Ok(());
        }
        ensure!(
            started.elapsed() < Duration::from_secs(600),
            "orders are still pending after ten minutes"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn rate(orders: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of orders")]
    let orders = orders as f64;
    (orders / took.as_secs_f64() * 10.0).round() / 10.0
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    std::fs::create_dir_all("target/bench")?;
    std::fs::write("target/bench/orders.json", &text)?;
    if json {
        println!("{text}");
        return Ok(());
    }
    let line = |name: &str, latency: &Latency| {
        println!(
            "{name:<34} p50 {:>8} ms   p95 {:>8} ms   p99 {:>8} ms   max {:>8} ms",
            latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms
        );
    };
    println!(
        "{} orders, {} submissions at once",
        report.orders, report.concurrency
    );
    line("submission (POST to 202)", &report.submission);
    line("one order alone (POST to verdict)", &report.alone);
    println!(
        "{:<34} {:>12} a second",
        "submissions", report.submissions_per_second
    );
    println!(
        "{:<34} {:>12} a second",
        "orders to their verdict", report.orders_per_second
    );
    println!(
        "\n{:<34} {:>12} {:>12}",
        "memory, MB resident", "after start", "at rest"
    );
    for (service, rest) in &report.resident_mb_at_rest {
        println!(
            "{service:<34} {:>12} {rest:>12}",
            report
                .resident_mb_at_start
                .get(service)
                .unwrap_or(&f64::NAN)
        );
    }
    println!("\nkept in target/bench/orders.json");
    Ok(())
}
