//! The process's metrics recorder: Prometheus text, without a listener of its own.

use std::{sync::OnceLock, thread, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// From half a millisecond (a local query) to a minute (a request that hit its timeout).
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
/// From a small event to the largest batch.
const BYTES: &[f64] = &[
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];
/// Rows in a batch, records in a poll.
const COUNTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0,
];

/// Histogram samples wait in memory until they are folded into buckets; nobody may be scraping, so this does it.
const UPKEEP: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// The recorder of this process, installed by the first call.
pub(crate) fn recorder() -> PrometheusHandle {
    RECORDER.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let recorder = builder().build_recorder();
    let handle = recorder.handle();
    // Fails only when a host program installed a recorder before; its choice stands and ours stays empty.
    if metrics::set_global_recorder(recorder).is_ok() {
        describe();
        let upkeep = handle.clone();
        let started = thread::Builder::new()
            .name("metrics-upkeep".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                loop {
                    thread::sleep(UPKEEP);
                    upkeep.run_upkeep();
                }
            });
        if let Err(error) = started {
            tracing::warn!(%error, "metrics upkeep thread not started: histogram memory is freed only when /metrics is read");
        }
    }
    handle
}

fn builder() -> PrometheusBuilder {
    // Each step is refused only for an empty list, which none of these is.
    let plain = PrometheusBuilder::new;
    let counts = plain().set_buckets(COUNTS).unwrap_or_else(|_| plain());
    [("_seconds", SECONDS), ("_bytes", BYTES)].into_iter().fold(
        counts,
        |builder, (unit, buckets)| {
            builder
                .set_buckets_for_metric(Matcher::Suffix(unit.into()), buckets)
                .unwrap_or_else(|_| plain())
        },
    )
}

fn describe() {
    metrics::describe_gauge!(
        "oncebox_build_info",
        "Always 1; its labels name the service and its version."
    );
}
