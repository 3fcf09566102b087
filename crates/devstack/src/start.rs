//! Starting a stack: what runs elsewhere is taken, the rest comes from containers or from artefacts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::artefacts::{self, Artefacts};
use crate::compose::{self, HostPorts, Project};
use crate::error::{StackError, Tried};
use crate::ports::{self, Chooser};
use crate::process::{Identity, Launch};
use crate::state::{self, Part, State};
use crate::{StackOptions, kafka, place, postgres, ready, registry, stack};

/// Parts that the stack itself consists of.
pub(crate) const OWN: [&str; 3] = [kafka::NAME, postgres::NAME, registry::NAME];

/// Starts the stack and records it; what has started when it fails is left for the caller to end.
pub(crate) async fn start(options: StackOptions) -> Result<(), StackError> {
    take_over(&options).await?;
    let mut choose = Chooser::new(
        options.ports,
        &[
            &[ports::KAFKA, ports::POSTGRES, ports::REGISTRY],
            options.reserved.as_slice(),
        ]
        .concat(),
    );
    let external = &options.external;
    let all_elsewhere = external.kafka.is_some()
        && external.database_url.is_some()
        && external.registry_url.is_some();
    if !all_elsewhere {
        let embedded = artefacts::are_possible(&options.artefacts);
        if options.docker && !compose::engine_answers() {
            return Err(StackError::Docker(
                "no Docker engine with compose answers; start one, or leave --docker out"
                    .to_owned(),
            ));
        }
        if options.docker || (!embedded && compose::engine_answers()) {
            containers(&options, &mut choose)?;
        } else {
            embed(&options, &mut choose).await?;
        }
    }
    let state = State::change(&options.dir, |state| {
        let elsewhere = &options.external;
        for (to, from) in [
            (&mut state.kafka, &elsewhere.kafka),
            (&mut state.database_url, &elsewhere.database_url),
            (&mut state.registry_url, &elsewhere.registry_url),
        ] {
            if let Some(from) = from {
                to.clone_from(from);
            }
        }
    })?;
    let dir = &options.dir;
    tokio::try_join!(
        ready::kafka(dir, &state.kafka),
        ready::postgres(dir, &state.database_url),
        ready::registry(dir, &state.registry_url)
    )?;
    Ok(())
}

/// Makes the folder ours: refuses while its runner lives, otherwise ends what that one left.
async fn take_over(options: &StackOptions) -> Result<(), StackError> {
    let dir = &options.dir;
    std::fs::create_dir_all(dir.join("logs"))
        .tried(|| format!("cannot create {}", dir.display()))?;
    // Two that start at the same moment: the second sees the first one's record.
    let _lock = state::lock(&dir.join("start.lock"))?;
    let before = State::read(dir)?.unwrap_or_default();
    if let Some(runner) = before.runner.filter(Identity::is_alive) {
        return Err(StackError::Running {
            dir: dir.clone(),
            pid: runner.pid,
        });
    }
    let left: Vec<_> = before
        .parts
        .iter()
        .filter(|(_, part)| part.is_alive())
        .map(|(name, _)| name.as_str())
        .collect();
    if !left.is_empty() {
        options.say.line(&format!(
            "ending what an earlier run left: {}",
            left.join(", ")
        ));
    }
    stack::end_recorded(dir).await?;
    State::change(dir, |state| {
        let elsewhere = std::mem::take(&mut state.elsewhere);
        *state = State {
            runner: Some(Identity::own()),
            elsewhere,
            ..State::default()
        };
    })?;
    Ok(())
}

fn containers(options: &StackOptions, choose: &mut Chooser) -> Result<(), StackError> {
    let start = Instant::now();
    let ports = HostPorts {
        kafka: choose.choose(kafka::NAME, ports::KAFKA)?,
        postgres: choose.choose(postgres::NAME, ports::POSTGRES)?,
        registry: choose.choose(registry::NAME, ports::REGISTRY)?,
    };
    let project = Project::of(&options.dir);
    options.say.line(&format!(
        "starting the stack in Docker, as project {}",
        project.0
    ));
    State::change(&options.dir, |state| {
        state.compose_project = Some(project.0.clone());
        state.kafka = format!("127.0.0.1:{}", ports.kafka);
        state.database_url = server_url(ports.postgres);
        state.registry_url = registry::url(ports.registry);
    })?;
    project.up(ports)?;
    options.say.line(&format!(
        "containers are up after {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    Ok(())
}

async fn embed(options: &StackOptions, choose: &mut Chooser) -> Result<(), StackError> {
    let (cache, say) = (options.artefacts.clone(), options.say.clone());
    let artefacts = blocking(move || artefacts::fetch(&cache, &say)).await?;
    let begin = Instant::now();
    let external = &options.external;
    let broker = match external.kafka {
        Some(_) => None,
        None => Some((
            choose.choose(kafka::NAME, ports::KAFKA)?,
            choose.free(kafka::NAME)?,
        )),
    };
    let database = match external.database_url {
        Some(_) => None,
        None => Some(choose.choose(postgres::NAME, ports::POSTGRES)?),
    };
    let schemas = match external.registry_url {
        Some(_) => None,
        None => Some((
            choose.choose(registry::NAME, ports::REGISTRY)?,
            choose.free(registry::NAME)?,
        )),
    };
    // Broker beside database and registry: they share nothing but the processor.
    let kafka_side = async {
        let Some((port, controller)) = broker else {
            return Ok(());
        };
        let (artefacts, dir, peak) = (artefacts.clone(), options.dir.clone(), options.peak);
        let launch =
            blocking(move || kafka::prepare(&artefacts, &dir, port, controller, peak)).await?;
        let bootstrap = format!("127.0.0.1:{port}");
        record(&options.dir, kafka::NAME, launch, port, 0, |state| {
            state.kafka.clone_from(&bootstrap)
        })?;
        ready::kafka(&options.dir, &bootstrap).await?;
        options.say.line(&format!(
            "Kafka answers on {bootstrap} after {:.1} s",
            begin.elapsed().as_secs_f64()
        ));
        Ok(())
    };
    let database_side = async {
        let server = match (database, &external.database_url) {
            (Some(port), _) => start_postgres(options, &artefacts, port, begin).await?,
            (None, Some(elsewhere)) => elsewhere.clone(),
            (None, None) => return Ok(()),
        };
        let Some((port, management)) = schemas else {
            return Ok(());
        };
        postgres::create_database(&server, registry::DATABASE)
            .await
            .map_err(std::io::Error::other)
            .tried(|| "cannot create the registry's database".to_owned())?;
        let launch = registry::prepare(&artefacts, &options.dir, &server, port, management);
        let url = registry::url(port);
        record(&options.dir, registry::NAME, launch, port, 1, |state| {
            state.registry_url.clone_from(&url)
        })?;
        ready::registry(&options.dir, &url).await?;
        options.say.line(&format!(
            "schema registry answers on {url} after {:.1} s",
            begin.elapsed().as_secs_f64()
        ));
        Ok(())
    };
    tokio::try_join!(kafka_side, database_side).map(|_| ())
}

async fn start_postgres(
    options: &StackOptions,
    artefacts: &Artefacts,
    port: u16,
    begin: Instant,
) -> Result<String, StackError> {
    let data = data_folder(&options.dir, options)?;
    let (artefacts, dir) = (artefacts.clone(), options.dir.clone());
    let (durable, peak) = (options.durable, options.peak);
    let launch =
        blocking(move || postgres::prepare(&artefacts, &dir, &data, port, durable, peak)).await?;
    let url = server_url(port);
    record(&options.dir, postgres::NAME, launch, port, 0, |state| {
        state.database_url.clone_from(&url)
    })?;
    ready::postgres(&options.dir, &url).await?;
    options.say.line(&format!(
        "PostgreSQL answers on 127.0.0.1:{port} after {:.1} s",
        begin.elapsed().as_secs_f64()
    ));
    Ok(url)
}

/// PostgreSQL's data folder: in the stack's own, or where the unprivileged user can reach it.
fn data_folder(dir: &Path, options: &StackOptions) -> Result<PathBuf, StackError> {
    if place::unprivileged()?.is_none() {
        return Ok(dir.join("postgres"));
    }
    let folder = place::reachable(dir)?;
    if folder != dir {
        options.say.line(&format!(
            "PostgreSQL must not run as root and its user cannot reach {}: its data go to {}",
            dir.display(),
            folder.display()
        ));
        State::change(dir, |state| {
            if !state.elsewhere.contains(&folder) {
                state.elsewhere.push(folder.clone());
            }
        })?;
    }
    Ok(folder.join("postgres"))
}

/// Starts a part and records it in one step, so that nothing of ours runs unrecorded.
fn record(
    dir: &Path,
    name: &str,
    launch: Launch,
    port: u16,
    order: u32,
    also: impl FnOnce(&mut State),
) -> Result<(), StackError> {
    // The log of this run alone: a crash report must not show an earlier one's last words.
    let _ = std::fs::remove_file(&launch.log);
    let process = launch.start()?;
    State::change(dir, |state| {
        state.parts.insert(
            name.to_owned(),
            Part {
                process: Some(process),
                launch,
                port,
                order,
            },
        );
        also(state);
    })?;
    Ok(())
}

fn server_url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StackError> + Send + 'static,
) -> Result<T, StackError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)
        .tried(|| "a step of the start ended early".to_owned())?
}
