//! The services as the runner starts them: port, database, and the settings by which they find each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use devstack::Stack;
use devstack::postgres::database_url;
use devstack::process::Launch;

/// One of our services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    /// Name of the program and of the part.
    pub(crate) name: &'static str,
    /// Documented port.
    pub(crate) port: u16,
    /// Its database; none: it has none.
    pub(crate) database: Option<&'static str>,
}

/// All of them, in the order in which their ports are documented.
pub(crate) const ALL: [Service; 7] = [
    Service {
        name: "order",
        port: 8080,
        database: Some("oncebox_order"),
    },
    Service {
        name: "inventory",
        port: 8081,
        database: Some("oncebox_inventory"),
    },
    Service {
        name: "payment",
        port: 8082,
        database: Some("oncebox_payment"),
    },
    Service {
        name: "notification",
        port: 8083,
        database: Some("oncebox_notification"),
    },
    Service {
        name: "payment-provider",
        port: 8084,
        database: None,
    },
    Service {
        name: "outbox-relay",
        port: 8085,
        database: None,
    },
    Service {
        name: "dlq-replayer",
        port: 8086,
        database: Some("oncebox_replayer"),
    },
];

/// An order may wait an hour for its dead letter to be replayed: time to look around.
pub(crate) const SAGA_TIMEOUT_SECONDS: u32 = 3600;

/// Settings of one service, as environment variables.
pub(crate) fn environment(
    service: &Service,
    stack: &Stack,
    ports: &BTreeMap<&str, u16>,
    token: &str,
) -> BTreeMap<String, String> {
    let port_of = |name: &str| ports.get(name).copied().unwrap_or_default();
    let mut settings = BTreeMap::from([
        (
            "ONCEBOX_HTTP_ADDRESS".to_owned(),
            format!("127.0.0.1:{}", port_of(service.name)),
        ),
        ("ONCEBOX_LOG_FORMAT".to_owned(), "text".to_owned()),
    ]);
    let mut set = |key: &str, value: String| settings.insert(key.to_owned(), value);
    if let Some(database) = service.database {
        set(
            "ONCEBOX_DATABASE_URL",
            database_url(stack.database_url(), database),
        );
        set("ONCEBOX_KAFKA", stack.kafka().to_owned());
        set("ONCEBOX_SCHEMA_REGISTRY", stack.registry_url().to_owned());
        set("ONCEBOX_TOKEN", token.to_owned());
    }
    match service.name {
        "order" => {
            set(
                "ONCEBOX_SAGA_TIMEOUT_SECONDS",
                SAGA_TIMEOUT_SECONDS.to_string(),
            );
        }
        "payment" => {
            set(
                "ONCEBOX_PROVIDER_URL",
                format!("http://127.0.0.1:{}", port_of("payment-provider")),
            );
        }
        "payment-provider" => {
            set(
                "ONCEBOX_LEDGER_FILE",
                stack.dir().join("ledger.jsonl").display().to_string(),
            );
        }
        "outbox-relay" => {
            set("ONCEBOX_KAFKA", stack.kafka().to_owned());
            set("ONCEBOX_TOKEN", token.to_owned());
            for database in ALL.iter().filter_map(|service| service.database) {
                let source = database.trim_start_matches("oncebox_").to_uppercase();
                set(
                    &format!("ONCEBOX_SOURCES__{source}"),
                    database_url(stack.database_url(), database),
                );
            }
        }
        _ => {}
    }
    settings
}

/// How a service is started.
pub(crate) fn launch(
    service: &Service,
    programs: &Path,
    dir: &Path,
    environment: BTreeMap<String, String>,
) -> Launch {
    Launch {
        program: programs.join(service.name),
        arguments: Vec::new(),
        environment,
        folder: dir.to_owned(),
        log: log(dir, service.name),
        user: None,
        interrupt: false,
    }
}

/// Log file of a part.
pub(crate) fn log(dir: &Path, part: &str) -> PathBuf {
    dir.join("logs").join(format!("{part}.log"))
}
