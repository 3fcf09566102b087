//! Timeline entries, collected column by column and inserted by one statement.

use chrono::{DateTime, Utc};
use oncebox::Cause;
use sqlx::PgConnection;
use uuid::Uuid;

use super::progress::Source;

/// Entries to insert.
#[derive(Debug, Default)]
pub(super) struct Steps {
    orders: Vec<Uuid>,
    entries: Vec<i64>,
    steps: Vec<&'static str>,
    statuses: Vec<&'static str>,
    details: Vec<Option<String>>,
    commands: Vec<String>,
    sources: Vec<&'static str>,
    event_ids: Vec<Option<Uuid>>,
    types: Vec<Option<&'static str>>,
    correlations: Vec<String>,
    traces: Vec<String>,
}

/// One entry.
pub(super) struct Step<'a> {
    pub(super) order: Uuid,
    pub(super) entry: i64,
    pub(super) step: &'static str,
    pub(super) status: &'static str,
    pub(super) detail: Option<String>,
    pub(super) commands: Vec<&'static str>,
    pub(super) source: Source,
    pub(super) cause: &'a Cause,
}

impl Steps {
    pub(super) fn push(&mut self, step: Step<'_>) {
        self.orders.push(step.order);
        self.entries.push(step.entry);
        self.steps.push(step.step);
        self.statuses.push(step.status);
        self.details.push(step.detail);
        // An array of arrays would have to be rectangular; command names hold no comma.
        self.commands.push(step.commands.join(","));
        self.sources.push(step.source.as_str());
        self.event_ids
            .push(step.cause.causation.map(|id| id.as_uuid()));
        self.types.push(step.source.event_type());
        self.correlations.push(step.cause.correlation.clone());
        self.traces.push(step.cause.trace.trace_id());
    }

    /// Inserts them all, as having happened `at`.
    pub(super) async fn insert(
        &self,
        tx: &mut PgConnection,
        at: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        if self.orders.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into order_timeline (order_id, entry, step, status, detail, commands, source, \
                    cause_event_id, cause_type, correlation, trace_id, at) \
             select order_id, entry, step, status, detail, string_to_array(commands, ','), source, \
                    cause_event_id, cause_type, correlation, trace_id, $12 \
             from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], \
                         $7::text[], $8::uuid[], $9::text[], $10::text[], $11::text[]) \
               as step (order_id, entry, step, status, detail, commands, source, \
                        cause_event_id, cause_type, correlation, trace_id)",
        )
        .bind(&self.orders)
        .bind(&self.entries)
        .bind(&self.steps)
        .bind(&self.statuses)
        .bind(&self.details)
        .bind(&self.commands)
        .bind(&self.sources)
        .bind(&self.event_ids)
        .bind(&self.types)
        .bind(&self.correlations)
        .bind(&self.traces)
        .bind(at)
        .execute(tx)
        .await?;
        Ok(())
    }
}
