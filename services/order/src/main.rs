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
    let done = match cli.command() {
        Command::Serve => order::run(settings, http_kit::shutdown::token()).await,
        Command::Migrate => order::migrate(&settings).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A person reads this at a terminal: what failed and why, without a backtrace.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
