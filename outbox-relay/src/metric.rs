//! What each metric of the relay means, for whoever reads `/metrics`.

/// Tells the recorder, once at start.
pub(crate) fn describe() {
    metrics::describe_counter!(
        "oncebox_relay_published_rows_total",
        "Rows published and committed."
    );
    metrics::describe_counter!(
        "oncebox_relay_transactions_total",
        "Kafka transactions by result: committed or aborted."
    );
    metrics::describe_histogram!(
        "oncebox_relay_transaction_duration_seconds",
        "From begin to the commit's answer."
    );
    metrics::describe_histogram!(
        "oncebox_relay_transaction_rows",
        "Rows in a committed transaction."
    );
    metrics::describe_gauge!(
        "oncebox_relay_pending_rows",
        "Committed rows that wait, counted up to 100,000."
    );
    metrics::describe_gauge!(
        "oncebox_relay_oldest_pending_age_seconds",
        "Age of the oldest row that waits."
    );
    metrics::describe_gauge!(
        "oncebox_relay_oldest_open_transaction_seconds",
        "Age of the oldest transaction open in the database, as far as the relay's user may see."
    );
    metrics::describe_gauge!(
        "oncebox_relay_source_state",
        "1 for the state that a shard of a source is in, 0 for the others."
    );
    metrics::describe_gauge!(
        "oncebox_relay_shards",
        "Shards that a source is divided into."
    );
    metrics::describe_counter!(
        "oncebox_relay_outages_total",
        "Times that database or broker went away."
    );
    metrics::describe_counter!(
        "oncebox_relay_refused_total",
        "Rows that the broker refused."
    );
    metrics::describe_gauge!(
        "oncebox_relay_blocked_keys",
        "Keys whose rows wait behind one that the broker refuses."
    );
    metrics::describe_gauge!(
        "oncebox_relay_parked_rows",
        "Parked rows by state (refused, waiting, delayed, dead), each counted up to 100,000."
    );
    metrics::describe_counter!(
        "oncebox_relay_released_rows_total",
        "Parked rows that were published."
    );
    metrics::describe_counter!(
        "oncebox_relay_stopped_total",
        "Times that a source stopped until somebody acts, by error code."
    );
    metrics::describe_gauge!(
        "oncebox_relay_lease_held",
        "1 while this relay has the shard's lease."
    );
    metrics::describe_counter!(
        "oncebox_relay_lease_changes_total",
        "Leases taken, lost and released by this relay."
    );
    metrics::describe_counter!(
        "oncebox_relay_leases_absent_total",
        "Times that a database had no lease table."
    );
    metrics::describe_gauge!("oncebox_relay_partitions", "Partitions of the outbox.");
    metrics::describe_gauge!(
        "oncebox_relay_default_partition_rows",
        "Rows in the default partition, counted up to 10,000: partitions are not made ahead."
    );
    metrics::describe_counter!(
        "oncebox_relay_partitions_dropped_total",
        "Partitions dropped, or emptied where it is the default one."
    );
    metrics::describe_gauge!(
        "oncebox_relay_maintenance_failing",
        "1 while making and dropping partitions fails."
    );
}
