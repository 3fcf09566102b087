//! Which table is read, and by which expressions: the kit's outbox, or any other insert-only table of a service.

use serde::{Deserialize, Serialize};

/// The kit's own outbox.
const OUTBOX: &str = "oncebox.outbox";

/// A table that events are written to. What is not given is as in the kit's outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Table {
    /// Its name, with the schema, quoted as in SQL where it has to be.
    pub name: String,
    /// Column of the order inside a window: `bigint` from a sequence with cache 1, indexed.
    pub seq: String,
    /// Column of the writing transaction: `xid8 default pg_current_xact_id()`, indexed.
    pub xid: String,
    /// Expression of the event's id: `uuid`.
    pub event_id: String,
    /// Expression of the full topic name: `text`.
    pub topic: String,
    /// Expression of the record's key: `bytea`.
    pub key: String,
    /// Expression of the record's value: `bytea`.
    pub payload: String,
    /// Expression of the record's headers: `jsonb`, an object.
    pub headers: String,
    /// Expression of the time of writing: `timestamptz`. For the age of what waits only.
    pub created_at: String,
    /// Expression of the time before which the row is not published: `timestamptz`.
    pub not_before: String,
    /// The sequence of `seq`, found when the table is looked at.
    #[serde(skip)]
    pub(super) sequence: Option<String>,
}

impl Default for Table {
    fn default() -> Self {
        let own = |column: &str| column.to_owned();
        Self {
            name: own(OUTBOX),
            seq: own("seq"),
            xid: own("xid"),
            event_id: own("event_id"),
            topic: own("topic"),
            key: own("key"),
            payload: own("payload"),
            headers: own("headers"),
            created_at: own("created_at"),
            not_before: own("not_before"),
            sequence: None,
        }
    }
}

impl Table {
    /// Whether it is the kit's own outbox, whose partitions the relay makes and drops.
    pub fn is_own(&self) -> bool {
        self.name == OUTBOX
    }

    /// Each part, its expression and the type that it must have.
    pub(super) fn parts(&self) -> [(&'static str, &str, &'static str); 9] {
        [
            ("seq", &self.seq, "bigint"),
            ("xid", &self.xid, "xid8"),
            ("event_id", &self.event_id, "uuid"),
            ("topic", &self.topic, "text"),
            ("key", &self.key, "bytea"),
            ("payload", &self.payload, "bytea"),
            ("headers", &self.headers, "jsonb"),
            ("created_at", &self.created_at, "timestamp with time zone"),
            ("not_before", &self.not_before, "timestamp with time zone"),
        ]
    }

    /// The last number that the sequence gave out; null where it may not be seen.
    pub(super) fn last_number(&self) -> String {
        match &self.sequence {
            Some(sequence) => format!("(select last_value from {sequence})"),
            None => "null::bigint".into(),
        }
    }

    /// Whether rows may have a time, as in the kit's own outbox. Not where the configuration says otherwise.
    pub(super) fn expects_delays(&self) -> bool {
        self.not_before == "not_before"
    }

    /// As it is, but without delays: an outbox that was made before rows could have one.
    pub(super) fn without_delays(&self) -> Self {
        Self {
            not_before: "null::timestamptz".into(),
            ..self.clone()
        }
    }
}
