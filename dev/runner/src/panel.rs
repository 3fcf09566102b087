//! What `cargo dev up` ends with: where everything is, and what to try.

use devstack::Stack;

use crate::services::SAGA_TIMEOUT_SECONDS;
use crate::story::{Addresses, BROKEN_CURRENCY, order};

/// Prints it.
pub(crate) fn print(stack: &Stack, at: &Addresses) {
    let body = order("mug", 1, 450, "EUR");
    println!();
    for (label, value) in [
        ("order API", at.url("order", "/v1/orders")),
        ("  try it", at.url("order", "/docs")),
        ("replayer API", at.url("dlq-replayer", "/v1/dlq/topics")),
        ("  try it", at.url("dlq-replayer", "/docs")),
        ("  token", at.token.clone()),
        ("Kafka", stack.kafka().to_owned()),
        ("PostgreSQL", stack.database_url().to_owned()),
        ("schema registry", stack.registry_url().to_owned()),
        ("logs", stack.dir().join("logs").display().to_string()),
    ] {
        println!("  {label:<16} {value}");
    }
    println!("\n  submit an order:");
    println!(
        "    curl -s {} -H 'content-type: application/json' -H 'prefer: wait=10' \\\n      \
         -H \"idempotency-key: $(date +%s%N)\" \\\n      -d '{body}'",
        at.url("order", "/v1/orders")
    );
    println!("  list dead letters:");
    println!("    cargo dev dlq list");
    println!("  clear the cause of the {BROKEN_CURRENCY} order's, and replay it:");
    println!(
        "    curl -s -X PUT {} -H 'content-type: application/json' -d '{{\"account\": \"merchant-chf\"}}' \\\n      \
         && cargo dev dlq replay --group payment --reason 'account configured' --yes",
        at.url(
            "payment",
            &format!("/v1/merchant-accounts/{BROKEN_CURRENCY}")
        )
    );
    println!(
        "\n  An order waits {} minutes for an answer here (order's default: 5), so that its dead letter can be replayed at leisure.",
        SAGA_TIMEOUT_SECONDS / 60
    );
    println!(
        "  `cargo dev status` and `cargo dev logs` show more. Ctrl-C or `cargo dev down` ends everything."
    );
}
