//! Starting telemetry, more than once, and what `/metrics` then shows.

use telemetry::{LogFormat, TelemetryError};

#[test]
fn starts_twice_in_one_process_and_counts_in_one_place() {
    let first = telemetry::init("order", "1.2.3", LogFormat::Auto, "warn").unwrap();
    let second = telemetry::init("payment", "1.2.3", LogFormat::Json, "info").unwrap();

    metrics::counter!("oncebox_test_events_total").increment(2);
    metrics::histogram!("oncebox_test_duration_seconds").record(0.004);
    metrics::histogram!("oncebox_test_batch_rows").record(400.0);

    let text = first.render();
    assert_eq!(text.lines().count(), second.render().lines().count());
    for line in [
        "oncebox_test_events_total 2",
        "oncebox_test_duration_seconds_bucket{le=\"0.0025\"} 0",
        "oncebox_test_duration_seconds_bucket{le=\"0.005\"} 1",
        "oncebox_test_batch_rows_bucket{le=\"250\"} 0",
        "oncebox_test_batch_rows_bucket{le=\"500\"} 1",
        "oncebox_build_info{service=\"order\",version=\"1.2.3\"} 1",
        "# HELP oncebox_build_info Always 1; its labels name the service and its version.",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing from\n{text}"
        );
    }
}

#[test]
fn a_filter_that_is_no_filter_is_named() {
    let error = telemetry::init("order", "1.2.3", LogFormat::Auto, "info,order=loud").unwrap_err();
    assert!(
        matches!(&error, TelemetryError::FilterInvalid { filter, .. } if filter == "info,order=loud")
    );
    assert_eq!(error.code(), "telemetry.filter_invalid");
}
