//! `dlq-replayer`: an index of dead letters, replay to the group that failed, and a look into Kafka.

use std::process::ExitCode;

use dlq_replayer::settings::{DEFAULTS, Settings};
use dlq_replayer::{NAME, VERSION, migrate, run};
use settings::{Cli, Command};

const ABOUT: &str = "Indexes every dead-letter topic, shows what failed and why, replays to the group that failed,\n\
                     and looks into Kafka's topics and groups. HTTP API under a bearer token; `dlq` is its command line.";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse_for(NAME, VERSION, ABOUT, DEFAULTS);
    let settings: Settings = cli.settings();
    http_kit::service::exit(match cli.command() {
        Command::Serve => run(settings, http_kit::shutdown::token()).await,
        Command::Migrate => migrate(&settings).await,
    })
}
