//! Payments: pre-authorise, capture and void against the provider, once.

use payment::{DEFAULTS, SERVICE, Settings, VERSION};
use settings::{Cli, Command};

const ABOUT: &str = "Carries out payment commands against a payment provider: authorise, capture, void, each exactly once.";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse_for(SERVICE, VERSION, ABOUT, DEFAULTS);
    let settings: Settings = cli.settings();
    match cli.command() {
        Command::Serve => payment::run(settings, http_kit::shutdown::token()).await,
        Command::Migrate => payment::migrate(&settings).await,
    }
}
