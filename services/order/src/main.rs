//! Orders: HTTP submission and the saga that carries each to its verdict.

use std::process::ExitCode;

use order::{DEFAULTS, SERVICE, Settings, VERSION};
use settings::{Cli, Command};

const ABOUT: &str =
    "Takes orders over HTTP and carries each through stock and payment to its verdict.";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse_for(SERVICE, VERSION, ABOUT, DEFAULTS);
    let settings: Settings = cli.settings();
    http_kit::service::exit(match cli.command() {
        Command::Serve => order::run(settings, http_kit::shutdown::token()).await,
        Command::Migrate => order::migrate(&settings).await,
    })
}
