//! The schema registry: Apicurio, of which only the Confluent API is used. Its data is in PostgreSQL, so that schema
//! ids survive a restart, as the records that carry them do.

use std::collections::BTreeMap;
use std::path::Path;

use crate::artefacts::Artefacts;
use crate::postgres;
use crate::process::Launch;

/// Name of the part.
pub(crate) const NAME: &str = "registry";
/// Its database.
pub(crate) const DATABASE: &str = "registry";

/// How to start it. PostgreSQL must answer, and have the [`DATABASE`], before.
pub(crate) fn prepare(
    artefacts: &Artefacts,
    dir: &Path,
    database_server: &str,
    port: u16,
    management: u16,
) -> Launch {
    let database = postgres::database_url(database_server, DATABASE);
    // JDBC's address has no user part.
    let at = database
        .rsplit_once('@')
        .map_or(database.as_str(), |(_, at)| at);
    let mut arguments: Vec<String> = [
        "-Xmx384m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
    ]
    .map(str::to_owned)
    .to_vec();
    let url = url::Url::parse(database_server).ok();
    let user = url.as_ref().map_or("postgres", url::Url::username);
    let password = url
        .as_ref()
        .and_then(url::Url::password)
        .unwrap_or("unused");
    for (name, value) in [
        ("quarkus.http.host", "127.0.0.1"),
        ("quarkus.http.port", &port.to_string()),
        ("quarkus.management.host", "127.0.0.1"),
        ("quarkus.management.port", &management.to_string()),
        ("apicurio.storage.kind", "sql"),
        ("apicurio.storage.sql.kind", "postgresql"),
        (
            "apicurio.datasource.url",
            &format!("jdbc:postgresql://{at}"),
        ),
        ("apicurio.datasource.username", user),
        ("apicurio.datasource.password", password),
        (
            "java.util.logging.manager",
            "org.jboss.logmanager.LogManager",
        ),
    ] {
        arguments.push(format!("-D{name}={value}"));
    }
    arguments.push("-jar".to_owned());
    arguments.push(
        artefacts
            .registry
            .join("quarkus-run.jar")
            .display()
            .to_string(),
    );
    Launch {
        program: artefacts.java.clone(),
        arguments,
        environment: BTreeMap::new(),
        folder: dir.to_owned(),
        log: dir.join("logs/registry.log"),
        user: None,
        interrupt: false,
    }
}

/// Base of the Confluent API of the registry on that port.
pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/apis/ccompat/v7")
}

/// One look whether it answers.
pub(crate) async fn answers(url: String) -> Result<(), String> {
    let response = reqwest::get(format!("{}/subjects", url.trim_end_matches('/')))
        .await
        .map_err(|error| error.to_string())?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(format!("it answers {}", response.status()))
}
