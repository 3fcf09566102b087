//! Notifications: tells customers of the outcome of their orders.

use std::process::ExitCode;

use notification::{DEFAULTS, SERVICE, Settings, VERSION};
use settings::{Cli, Command};

const ABOUT: &str = "Tells customers by email how their orders ended, and remembers what was sent.";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse_for(SERVICE, VERSION, ABOUT, DEFAULTS);
    let settings: Settings = cli.settings();
    http_kit::service::exit(match cli.command() {
        Command::Serve => notification::run(settings, http_kit::shutdown::token()).await,
        Command::Migrate => notification::migrate(&settings).await,
    })
}
