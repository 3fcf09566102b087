//! Publishes the outbox rows of one or several databases to Kafka, exactly once.

use outbox_relay::{DEFAULTS, SERVICE, Settings, VERSION};
use settings::{Cli, Command};

const ABOUT: &str = "Publishes the outbox rows of one or several databases to Kafka, exactly once.";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse_for(SERVICE, VERSION, ABOUT, DEFAULTS);
    let settings: Settings = cli.settings();
    match cli.command() {
        Command::Serve => outbox_relay::run(settings, http_kit::shutdown::token()).await,
        // The tables belong to the services whose databases they are in.
        Command::Migrate => Ok(()),
    }
}
