//! `dlq`: dead letters and Kafka from the command line. Everything it shows or does goes through the replayer's API.

mod args;
mod client;
mod cluster;
mod letters;
mod records;
mod replay;
mod text;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Command, Kafka};
use client::{Client, Failure};

/// How a command ended, apart from failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It did or showed something.
    Something,
    /// Nothing matched.
    Nothing,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(Done::Something) => ExitCode::SUCCESS,
        Ok(Done::Nothing) => ExitCode::from(3),
        Err(failure) => {
            eprintln!("{}", failure.told());
            ExitCode::from(if matches!(failure, Failure::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}

async fn run(arguments: Arguments) -> Result<Done, Failure> {
    let client = Client::new(
        &arguments.url,
        arguments.token.as_deref().unwrap_or_default(),
        arguments.json,
    )?;
    match arguments.command {
        Command::Topics => letters::topics(&client).await,
        Command::List(query) => letters::list(&client, query).await,
        Command::Show { id, raw } => letters::show(&client, id, raw).await,
        Command::Replay(choice) => replay::replay(&client, choice).await,
        Command::Replays { limit } => replay::audit(&client, limit).await,
        Command::Browse(query) => records::browse(&client, query).await,
        Command::Find(query) => records::find(&client, query).await,
        Command::Kafka(Kafka::Topics { internal }) => cluster::topics(&client, internal).await,
        Command::Kafka(Kafka::Topic { topic }) => cluster::topic(&client, &topic).await,
        Command::Kafka(Kafka::Groups) => cluster::groups(&client).await,
        Command::Kafka(Kafka::Group { group }) => cluster::group(&client, &group).await,
    }
}
