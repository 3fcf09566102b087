//! `relay`: the relay from the command line. Everything it shows or does goes through the relay's API.

mod args;
mod audit;
mod change;
mod cursor;
mod parked;
mod shards;
mod sources;
mod status;

use std::process::ExitCode;

use clap::Parser as _;
use cli_kit::{Client, Done, Failure, Service};

use args::{Arguments, Command, Cursor, Parked, Shards};

const RELAY: Service = Service {
    name: "relay",
    url_variable: "RELAY_URL",
    token_variable: "RELAY_TOKEN",
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli_kit::exit(&RELAY, run(arguments).await)
}

async fn run(arguments: Arguments) -> Result<Done, Failure> {
    let token = arguments.token.as_deref().unwrap_or_default();
    let client = Client::new(RELAY, &arguments.url, token, arguments.json)?;
    match arguments.command {
        Command::Status { watch } => status::status(&client, watch).await,
        Command::Parked(Parked::List(query)) => parked::list(&client, query).await,
        Command::Parked(Parked::Show { source, seq, raw }) => {
            parked::show(&client, source, seq, raw).await
        }
        Command::Parked(Parked::Retry(rows)) => parked::decide(&client, "retry", rows).await,
        Command::Parked(Parked::Skip(rows)) => parked::decide(&client, "skip", rows).await,
        Command::Parked(Parked::Discard(rows)) => parked::decide(&client, "discard", rows).await,
        Command::Cursor(Cursor::Show { source }) => cursor::show(&client, source).await,
        Command::Cursor(Cursor::Set { at, source, by }) => {
            cursor::set(&client, at.name(), source, by).await
        }
        Command::Cursor(Cursor::Adopt { source, by }) => {
            cursor::set(&client, "adopt", source, by).await
        }
        Command::Shards(Shards::Show { source }) => shards::show(&client, source).await,
        Command::Shards(Shards::Set { shards, source, by }) => {
            shards::set(&client, shards, source, by).await
        }
        Command::Audit { source, limit } => audit::audit(&client, source, limit).await,
    }
}
