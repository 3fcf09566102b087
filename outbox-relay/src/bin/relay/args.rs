//! What can be asked for.

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use cli_kit::Failure;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing matched.

Examples:
  relay status --watch                                    what each source does, with rates
  relay parked list --source order --state refused        rows that the broker refuses, and why
  relay parked retry --all --reason 'limit raised'        try them again now
  relay parked skip 4711 --reason 'agreed with billing'   go on without this row
  relay shards set 4 --reason 'a second relay'            let several relays publish one source
  relay cursor adopt --reason 'restored from a backup'    go on in a restored database";

/// The relay: what it publishes, and the rows that the broker refuses.
#[derive(Debug, Parser)]
#[command(name = "relay", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Where the relay listens.
    #[arg(
        long,
        env = "RELAY_URL",
        default_value = "http://127.0.0.1:8085",
        global = true
    )]
    pub(crate) url: String,
    /// The relay's token.
    #[arg(long, env = "RELAY_TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,
    /// Print the API's answer as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Each source: what it does, what waits, what is parked.
    Status {
        /// Again every second, with rates, until interrupted.
        #[arg(long, short)]
        watch: bool,
    },
    /// Rows that are refused by the broker, behind such a row, delayed or skipped.
    #[command(subcommand)]
    Parked(Parked),
    /// How far a source is published, and putting that elsewhere.
    #[command(subcommand)]
    Cursor(Cursor),
    /// How a source is divided among relays, and dividing it anew.
    #[command(subcommand)]
    Shards(Shards),
    /// Who decided what about a source, when and why.
    Audit {
        /// The source; may be left out where there is one.
        #[arg(long)]
        source: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Parked {
    /// Parked rows, in the order of the outbox.
    List(List),
    /// One parked row: why, and what is in it.
    Show {
        /// Its number.
        seq: i64,
        /// The source; may be left out where there is one.
        #[arg(long)]
        source: Option<String>,
        /// Write the bytes of its value to standard output, and nothing else.
        #[arg(long)]
        raw: bool,
    },
    /// Try refused rows again now, or dead ones again.
    Retry(Rows),
    /// Go on without refused rows; they are kept as dead.
    Skip(Rows),
    /// Forget dead rows.
    Discard(Rows),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Refused,
    Waiting,
    Delayed,
    Dead,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// The source; every one otherwise.
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Only rows in this state.
    #[arg(long)]
    pub(crate) state: Option<State>,
    /// Only rows of this topic.
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Only rows of this key.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["seq", "topic", "key", "all"]))]
pub(crate) struct Rows {
    /// These rows.
    #[arg(conflicts_with_all = ["topic", "key", "all"])]
    pub(crate) seq: Vec<i64>,
    /// Rows of this topic.
    #[arg(long, conflicts_with = "all")]
    pub(crate) topic: Option<String>,
    /// Rows of this key.
    #[arg(long, conflicts_with = "all")]
    pub(crate) key: Option<String>,
    /// All rows.
    #[arg(long)]
    pub(crate) all: bool,
    /// The source; may be left out where there is one.
    #[arg(long)]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) by: By,
}

#[derive(Debug, Args)]
pub(crate) struct By {
    /// Why; kept in the audit.
    #[arg(long)]
    pub(crate) reason: String,
    /// Who decides; the login name otherwise.
    #[arg(long, env = "RELAY_ACTOR")]
    pub(crate) actor: Option<String>,
}

/// Who decides.
pub(crate) fn actor(named: Option<String>) -> Result<String, Failure> {
    named
        .or_else(|| std::env::var("USER").ok())
        .filter(|actor| !actor.trim().is_empty())
        .ok_or_else(|| Failure::Usage("say who decides, by --actor or RELAY_ACTOR".into()))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cursor {
    /// The cursor in Kafka, which decides, and its copy beside the outbox.
    Show {
        /// The source; may be left out where there is one.
        #[arg(long)]
        source: Option<String>,
    },
    /// Put the cursor after all that is committed now, or before all that the outbox holds.
    Set {
        /// Where to: `now` counts all as published, `begin` publishes all again.
        #[arg(long, value_enum)]
        at: At,
        /// The source; may be left out where there is one.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        by: By,
    },
    /// Go on in a database that was restored or failed over, from the copy that came with it. What was published after that
    /// copy is published again; consumers deduplicate by event id.
    Adopt {
        /// The source; may be left out where there is one.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        by: By,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Shards {
    /// How many there are, and which relay publishes which.
    Show {
        /// The source; may be left out where there is one.
        #[arg(long)]
        source: Option<String>,
    },
    /// Divide the source into so many. What waits is published first, and what commits meanwhile waits.
    Set {
        /// How many; a key stays in one shard, whose number may be another than before.
        #[arg(value_parser = clap::value_parser!(u16).range(1..=32))]
        shards: u16,
        /// The source; may be left out where there is one.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        by: By,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum At {
    Now,
    Begin,
}

impl At {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Begin => "begin",
        }
    }
}
