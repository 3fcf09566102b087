//! Publishes the outbox rows of one or several databases to Kafka, exactly once.

mod arena;

use outbox_relay::{DEFAULTS, SERVICE, Settings, VERSION};
use settings::{Cli, Command};

const ABOUT: &str = "Publishes the outbox rows of one or several databases to Kafka, exactly once.";

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse_for(SERVICE, VERSION, ABOUT, DEFAULTS);
    let settings: Settings = cli.settings();
    match cli.command() {
        Command::Serve => {
            arena::use_one();
            serve(settings)
        }
        Command::Migrate => {
            println!(
                "{SERVICE} has no tables of its own: each service migrates the database that it writes"
            );
            Ok(())
        }
    }
}

fn serve(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let served =
        runtime.block_on(async { outbox_relay::run(settings, http_kit::shutdown::token()).await });
    // A call to a broker that is away may still block its thread; the process does not wait for it.
    runtime.shutdown_background();
    served
}
