//! The services as processes: started together, recorded beside the stack's parts, awaited until ready.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use devstack::ports::Chooser;
use devstack::process::{Identity, tail};
use devstack::state::{Part, State};
use devstack::{Ports, Say, Stack};

use crate::services::{ALL, environment, launch};
use crate::{http, provision, services};

/// How long a service may take to be ready.
const LIMIT: Duration = Duration::from_secs(60);

/// Ports that our services take by default.
pub(crate) fn default_ports() -> Vec<u16> {
    ALL.iter().map(|service| service.port).collect()
}

/// Provisions, starts every service and waits until all are ready.
pub(crate) async fn start(
    stack: &Stack,
    programs: &Path,
    token: &str,
    say: &Say,
) -> anyhow::Result<()> {
    let mut chooser = Chooser::new(Ports::Default, &default_ports());
    let mut ports = BTreeMap::new();
    for service in ALL {
        ports.insert(service.name, chooser.choose(service.name, service.port)?);
    }
    let launches: BTreeMap<_, _> = ALL
        .iter()
        .map(|service| {
            let environment = environment(service, stack, &ports, token);
            (
                service.name,
                launch(service, programs, stack.dir(), environment),
            )
        })
        .collect();
    provision::databases(stack.database_url()).await?;
    let (migrated, topics, schemas) = tokio::join!(
        provision::migrate(&launches),
        provision::topics(stack.kafka()),
        provision::register(stack.registry_url())
    );
    migrated?;
    say.line(&format!(
        "databases migrated, {} topics created, {} schemas registered",
        topics?, schemas?
    ));
    for service in ALL {
        let (Some(launch), Some(&port)) = (launches.get(service.name), ports.get(service.name))
        else {
            continue;
        };
        let _ = std::fs::remove_file(&launch.log);
        let process = launch.start()?;
        let part = Part {
            process: Some(process),
            launch: launch.clone(),
            port,
            order: 2,
        };
        State::change(stack.dir(), |state| {
            state.parts.insert(service.name.to_owned(), part);
        })?;
    }
    say.line("services started");
    let begin = Instant::now();
    for service in ALL {
        let port = ports.get(service.name).copied().unwrap_or(service.port);
        ready(stack, service.name, port, begin).await?;
        say.line(&format!(
            "{} is ready on http://127.0.0.1:{port}",
            service.name
        ));
    }
    Ok(())
}

async fn ready(stack: &Stack, name: &str, port: u16, begin: Instant) -> anyhow::Result<()> {
    let client = http::client()?;
    loop {
        let last = match http::ready(&client, port).await {
            Ok(()) => return Ok(()),
            Err(last) => last,
        };
        stack.check()?;
        if begin.elapsed() > LIMIT {
            let log = services::log(stack.dir(), name);
            bail!(
                "{name} is not ready after {} s: {last}\n{}\n\
                 when it cannot read what an earlier version left: `cargo dev up --fresh`",
                LIMIT.as_secs(),
                tail(&log, 5)
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The record of the running platform.
///
/// # Errors
/// When none runs.
pub(crate) fn running() -> anyhow::Result<State> {
    let dir = devstack::place::dev();
    let state = State::read(&dir)?.unwrap_or_default();
    if state.runner.as_ref().is_some_and(Identity::is_alive) {
        return Ok(state);
    }
    if state.parts.values().any(Part::is_alive) {
        bail!(
            "the runner was killed and left parts running: `cargo dev down` ends them, as does the next `cargo dev up`"
        );
    }
    bail!(
        "nothing runs in {}: start it with `cargo dev up`",
        dir.display()
    )
}
