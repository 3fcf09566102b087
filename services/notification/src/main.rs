//! Notifications: tells customers of the outcome of their orders.

use std::process::ExitCode;

use notification::{DEFAULTS, SERVICE, Settings, VERSION};
use settings::{Cli, Command};

const ABOUT: &str = "Tells customers by email how their orders ended, and remembers what was sent.";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse_for(SERVICE, VERSION, ABOUT, DEFAULTS);
    let settings: Settings = cli.settings();
    let done = match cli.command() {
        Command::Serve => notification::run(settings, http_kit::shutdown::token()).await,
        Command::Migrate => notification::migrate(&settings).await,
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
