//! What can be asked for.

use clap::{ArgGroup, Args, Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing matched.

Examples:
  parked list                                                   what waits, how often it failed and why
  parked retry --all --reason 'the provider is back'            try now, instead of at the next attempt
  parked dead-letter order-17 --reason 'agreed with billing'    give its first record up
  parked release order-17 --reason 'corrected by hand'          let a held key go on";

/// A consumer's parked keys: records that keep failing, and those of their key behind them.
#[derive(Debug, Parser)]
#[command(name = "parked", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Where the service listens.
    #[arg(
        long,
        env = "PARKED_URL",
        default_value = "http://127.0.0.1:8081",
        global = true
    )]
    pub(crate) url: String,
    /// The service's token.
    #[arg(long, env = "PARKED_TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,
    /// Print the API's answer as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Parked keys: what is tried next comes first.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Try the first record of a key now.
    Retry(Which),
    /// Give the first record of a key up, without another attempt.
    DeadLetter(Which),
    /// Let a key go on that is held for a dead letter.
    Release(Which),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["key", "all"]))]
pub(crate) struct Which {
    /// The key, as it is listed.
    pub(crate) key: Option<String>,
    /// Every key.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only of this topic.
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Why; logged by the service.
    #[arg(long)]
    pub(crate) reason: String,
    /// Who decides; the login name otherwise.
    #[arg(long, env = "PARKED_ACTOR")]
    pub(crate) actor: Option<String>,
}
