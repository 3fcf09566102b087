//! Stock: levels, reservations, and the ledger that answers a repeated command.

use std::process::ExitCode;

use inventory::{DEFAULTS, SERVICE, Settings, VERSION};
use settings::{Cli, Command};

const ABOUT: &str =
    "Keeps stock of products, holds it for orders, and gives back what is not sold.";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse_for(SERVICE, VERSION, ABOUT, DEFAULTS);
    let settings: Settings = cli.settings();
    let done = match cli.command() {
        Command::Serve => inventory::run(settings, http_kit::shutdown::token()).await,
        Command::Migrate => inventory::migrate(&settings).await,
    };
    http_kit::service::exit(done)
}
