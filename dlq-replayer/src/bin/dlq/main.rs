//! `dlq`: dead letters and Kafka from the command line. Everything it shows or does goes through the replayer's API.

mod args;
mod cluster;
mod letters;
mod records;
mod replay;
mod text;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Command, Kafka};
use cli_kit::{Client, Done, Failure, Service};

const REPLAYER: Service = Service {
    name: "replayer",
    url_variable: "DLQ_URL",
    token_variable: "DLQ_TOKEN",
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli_kit::exit(&REPLAYER, run(arguments).await)
}

async fn run(arguments: Arguments) -> Result<Done, Failure> {
    let client = Client::new(
        REPLAYER,
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
