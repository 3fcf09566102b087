//! PostgreSQL from its binaries, under a user without privileges when we are root.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::artefacts::{self, Artefacts};
use crate::error::StackError;
use crate::place;
use crate::process::Launch;

/// Name of the part.
pub(crate) const NAME: &str = "postgres";

/// Makes the data folder if it is new; returns how to start the server.
///
/// `data` must be reachable for the unprivileged user. Without `durable` a crash of the machine loses data, and
/// commits cost no disk flush. With `peak` it has the memory and the log space of a server that is measured.
pub(crate) fn prepare(
    artefacts: &Artefacts,
    dir: &Path,
    data: &Path,
    port: u16,
    durable: bool,
    peak: bool,
) -> Result<Launch, StackError> {
    let user = place::unprivileged()?;
    if !data.join("PG_VERSION").is_file() {
        place::private_folder(data, user)?;
        let mut initdb = Command::new(artefacts.postgres.join("bin/initdb"));
        initdb
            // Trust: it listens on loopback only, as the broker does, which asks for no password either.
            .args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-locale",
                "--no-sync",
                "-D",
            ])
            .arg(data)
            .current_dir(data)
            .stdin(Stdio::null());
        if let Some((user, group)) = user {
            initdb.uid(user).gid(group);
        }
        artefacts::run(&mut initdb, "initdb")?;
    }
    let mut arguments = vec!["-D".to_owned(), data.display().to_string()];
    let port = port.to_string();
    let durable = if durable { "on" } else { "off" };
    let (shared_buffers, max_wal_size) = if peak {
        ("1GB", "16GB")
    } else {
        ("128MB", "2GB")
    };
    for (name, value) in [
        ("listen_addresses", "127.0.0.1"),
        ("port", port.as_str()),
        // A socket's path may have 107 bytes, which deep folders exceed.
        ("unix_socket_directories", ""),
        ("max_connections", "300"),
        // From the start, since it takes a restart: logical decoding needs it.
        ("wal_level", "logical"),
        ("shared_buffers", shared_buffers),
        ("max_wal_size", max_wal_size),
        ("fsync", durable),
        ("full_page_writes", durable),
    ] {
        arguments.push("-c".to_owned());
        arguments.push(format!("{name}={value}"));
    }
    Ok(Launch {
        program: artefacts.postgres.join("bin/postgres"),
        arguments,
        environment: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
        folder: data.to_owned(),
        log: dir.join("logs/postgres.log"),
        user,
        interrupt: true,
    })
}

/// One look whether the server takes connections.
pub(crate) async fn answers(url: String) -> Result<(), String> {
    let mut connection = PgConnection::connect(&url)
        .await
        .map_err(|error| error.to_string())?;
    connection.ping().await.map_err(|error| error.to_string())
}

/// Creates a database if it is not there.
///
/// # Errors
/// When the server refuses.
pub async fn create_database(server: &str, name: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(server).await?;
    let exists: Option<i32> = sqlx::query_scalar("select 1 from pg_database where datname = $1")
        .bind(name)
        .fetch_optional(&mut connection)
        .await?;
    if exists.is_none() {
        let quoted = name.replace('"', "\"\"");
        connection
            .execute(AssertSqlSafe(format!("create database \"{quoted}\"")))
            .await?;
    }
    connection.close().await
}

/// The URL of another database on the same server.
#[must_use]
pub fn database_url(server: &str, name: &str) -> String {
    match url::Url::parse(server) {
        Ok(mut url) => {
            url.set_path(name);
            url.to_string()
        }
        Err(_) => server.to_owned(),
    }
}
