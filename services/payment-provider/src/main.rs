//! A payment provider simulator that is a real HTTP server.

use anyhow::Result;
use payment_provider::{DEFAULTS, NAME, Settings, run};
use settings::{Cli, Command};

const ABOUT: &str = "Simulates a payment provider over HTTP: authorise, capture, void, refund, idempotent by key.

Test tokens script what happens: tok_approved, tok_declined, tok_timeout_<operation>[_<operation>…] does the work and loses
the answer, tok_error_<n> answers 500 n times for each operation, tok_slow_<ms> takes its time.
GET /v1/ledger?reference=<order> says how often an order was authorised, captured, voided and refunded.";

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse_for(NAME, env!("CARGO_PKG_VERSION"), ABOUT, DEFAULTS);
    let settings: Settings = cli.settings();
    match cli.command() {
        Command::Serve => run(settings, http_kit::shutdown::token()).await,
        Command::Migrate => {
            println!("{NAME} keeps a ledger file and has no database: nothing to migrate");
            Ok(())
        }
    }
}
