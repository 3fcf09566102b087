//! What can be asked for.

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use uuid::Uuid;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing matched.

Examples:
  dlq topics                                   what has failed, by topic and group
  dlq list --group payment --status open       the letters of a group that wait for somebody
  dlq show 17                                  why letter 17 failed, and what is in it
  dlq replay 17 18 --reason 'account added'    these two again
  dlq replay --group payment                   all open ones of a group, up to now
  dlq find order.events --key ORDER-ID         all events of an order
  dlq kafka group payment                      how far a group is";

/// Dead letters: see what failed and why, replay it, look into Kafka.
#[derive(Debug, Parser)]
#[command(name = "dlq", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Where the replayer listens.
    #[arg(
        long,
        env = "DLQ_URL",
        default_value = "http://127.0.0.1:8086",
        global = true
    )]
    pub(crate) url: String,
    /// The replayer's token.
    #[arg(long, env = "DLQ_TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,
    /// Print the API's answer as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Dead-letter topics, with how many letters are open and how many were replayed.
    Topics,
    /// Dead letters, newest first.
    List(List),
    /// One dead letter: value, headers, error, replays.
    Show {
        /// Its id.
        id: i64,
        /// Write the bytes of its value to standard output, and nothing else.
        #[arg(long)]
        raw: bool,
    },
    /// Send dead letters to the group that failed, again.
    Replay(Replay),
    /// Who replayed what, when and why.
    Replays {
        /// At most so many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Records of a topic, decoded.
    Browse(Browse),
    /// Records with a key, or of an event.
    Find(Find),
    /// Topics and consumer groups.
    #[command(subcommand)]
    Kafka(Kafka),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Status {
    Open,
    Replayed,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this dead-letter topic.
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Only of this consumer group.
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Only with this error code.
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Only open or only replayed ones.
    #[arg(long, value_enum)]
    pub(crate) status: Option<Status>,
    /// Only with this record key.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Only of this event.
    #[arg(long)]
    pub(crate) event_id: Option<Uuid>,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// All of them.
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("scope").args(["topic", "group", "code"]).multiple(true).conflicts_with("ids"))]
pub(crate) struct Replay {
    /// Ids of dead letters: all of them or none are replayed.
    #[arg(required_unless_present = "scope")]
    pub(crate) ids: Vec<i64>,
    /// All open letters of this dead-letter topic, up to now.
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// All open letters of this consumer group, up to now.
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// All open letters with this error code, up to now.
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Also letters that were replayed before.
    #[arg(long)]
    pub(crate) again: bool,
    /// Also events so old that their consumer may have forgotten whether it handled them; kept on record.
    #[arg(long)]
    pub(crate) force: bool,
    /// At most so many, the oldest first.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=100_000), conflicts_with = "ids")]
    pub(crate) limit: Option<i64>,
    /// Why; kept on record.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Who; kept on record.
    #[arg(long, env = "DLQ_ACTOR")]
    pub(crate) actor: Option<String>,
    /// Tell what would be replayed, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask before replaying everything that matches.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Browse {
    /// Full name of the topic.
    pub(crate) topic: String,
    /// Only this partition.
    #[arg(long)]
    pub(crate) partition: Option<i32>,
    /// latest (the newest records), earliest, an offset (with --partition), an instant, or an age such as -15m.
    #[arg(long, default_value = "latest", allow_hyphen_values = true)]
    pub(crate) from: String,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Then wait for new ones, until Ctrl-C.
    #[arg(long)]
    pub(crate) follow: bool,
    /// Show headers too.
    #[arg(long)]
    pub(crate) headers: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["key", "event_id"]).required(true))]
pub(crate) struct Find {
    /// Full name of the topic.
    pub(crate) topic: String,
    /// Records with exactly this key.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Records of this event.
    #[arg(long)]
    pub(crate) event_id: Option<String>,
    /// Only this partition.
    #[arg(long)]
    pub(crate) partition: Option<i32>,
    /// Where to begin: earliest, an offset (with --partition), an instant, or an age such as -2h.
    #[arg(long, default_value = "earliest", allow_hyphen_values = true)]
    pub(crate) from: String,
    /// Where to stop, likewise; the end of the topic unless given.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) to: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Show headers too.
    #[arg(long)]
    pub(crate) headers: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Kafka {
    /// All topics.
    Topics {
        /// Kafka's own, too.
        #[arg(long)]
        internal: bool,
    },
    /// One topic: partitions, offsets, settings.
    Topic {
        /// Its full name.
        topic: String,
    },
    /// All consumer groups.
    Groups,
    /// One consumer group: members, and lag by partition.
    Group {
        /// Its name.
        group: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_replay_says_which_letters() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).map(|_| ());
        assert!(parse("dlq replay 1 2").is_ok());
        assert!(parse("dlq replay --topic t --group g").is_ok());
        assert!(parse("dlq replay").is_err());
        assert!(parse("dlq replay 1 --group g").is_err());
        assert!(parse("dlq find t").is_err());
        assert!(parse("dlq find t --key a --event-id b").is_err());
        assert!(parse("dlq browse t --from -15m").is_ok());
    }
}
