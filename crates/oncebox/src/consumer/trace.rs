//! The handling of each record as a span of its producer's trace, for whoever follows one order through the logs.
//!
//! A line for each record is too much in general: it is written where the log filter asks for it, by
//! `info,oncebox::consumer::trace=debug`. Events that the handler writes name the same span as their parent, see
//! [`Delivery::cause`].

use std::time::Duration;

use crate::record::Delivery;

/// Tells the records that a transaction handled, which has committed and took so long.
pub(super) fn handled<M>(group: &str, deliveries: &[Delivery<M>], took: Duration) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for delivery in deliveries {
        let Some(producer) = delivery.producer() else {
            continue;
        };
        let record = &delivery.record;
        tracing::debug!(
            group,
            trace_id = producer.trace_id(),
            parent_span_id = producer.span_id(),
            span_id = delivery.span(&producer).span_id(),
            event_id = %delivery.event_id,
            topic = record.topic,
            partition = record.partition,
            offset = record.offset,
            duration_ms = took.as_millis(),
            "event handled"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::event::EventId;
    use crate::headers::{Headers, names};
    use crate::record::Record;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn delivery(traceparent: Option<&str>) -> Delivery<()> {
        let mut headers = Headers::new();
        if let Some(traceparent) = traceparent {
            headers.push(names::TRACEPARENT, traceparent);
        }
        let record = Record {
            topic: "events".into(),
            partition: 3,
            offset: 17,
            timestamp: None,
            key: None,
            value: None,
            headers,
        };
        Delivery {
            message: (),
            event_id: EventId::new(),
            record,
        }
    }

    #[test]
    fn a_line_names_the_producers_span_and_the_one_that_later_events_name() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let traced = delivery(Some(parent));
        let untraced = [delivery(None), delivery(Some("garbage"))];
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || written.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            handled("group", std::slice::from_ref(&traced), Duration::ZERO);
            handled("group", &untraced, Duration::ZERO);
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let cause = traced.cause().trace;
        for expected in [
            "trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"",
            "parent_span_id=\"00f067aa0ba902b7\"",
            &format!("span_id=\"{}\"", cause.span_id()),
            "offset=17",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert_eq!(traced.cause().trace, cause, "however often it is asked");
    }
}
