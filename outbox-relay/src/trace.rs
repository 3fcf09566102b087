//! The publication of each event as a span of its writer's trace, for whoever follows one order through the logs.
//!
//! A line for each row is too much in general: it is written where the log filter asks for it, by
//! `info,outbox_relay::trace=debug`.

use std::time::Duration;

use serde::Deserialize;
use telemetry::TraceContext;

use crate::source::Row;

#[derive(Deserialize)]
struct Traced<'a> {
    #[serde(borrow)]
    traceparent: Option<std::borrow::Cow<'a, str>>,
}

/// Tells the rows of a committed transaction that took so long.
pub(crate) fn published(source: &str, rows: &[Row], took: Duration) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for row in rows {
        let Some(writer) = writer(row) else { continue };
        tracing::debug!(
            source,
            trace_id = writer.trace_id(),
            parent_span_id = writer.span_id(),
            span_id = writer.child().span_id(),
            event_id = %row.event_id,
            topic = &*row.topic,
            duration_ms = took.as_millis(),
            "event published"
        );
    }
}

/// Where the row's writer was in a trace.
fn writer(row: &Row) -> Option<TraceContext> {
    let traced: Traced<'_> = serde_json::from_slice(&row.headers).ok()?;
    traced.traceparent?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writers_place_is_read_from_the_headers() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let row = |headers: String| Row {
            seq: 1,
            event_id: uuid::Uuid::nil(),
            topic: "t".into(),
            key: None,
            payload: None,
            headers: headers.into(),
            not_before: None,
        };
        let found = writer(&row(format!(
            r#"{{"a": ["1"], "traceparent": "{parent}"}}"#
        )));
        assert_eq!(
            found.unwrap().trace_id(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert!(writer(&row("{}".into())).is_none());
        assert!(writer(&row(r#"{"traceparent": {"base64": ""}}"#.into())).is_none());
    }
}
