//! Holds `docker-compose.yml` to the code: same ports, same settings, same databases, topics by the same provisioning.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use devstack::ports;
use serde_json::Value;

use crate::services::{ALL, Service};

fn compose() -> Value {
    let text = std::fs::read_to_string(devstack::place::root().join("docker-compose.yml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    service["environment"]
        .as_object()
        .unwrap_or_else(|| panic!("no environment in {service}"))
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                value.as_str().expect("a quoted value").to_owned(),
            )
        })
        .collect()
}

fn ports_of(service: &Value) -> Vec<&str> {
    service["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| port.as_str().unwrap())
        .collect()
}

/// The settings that a service knows, as environment variables; a table whose keys are free ends in `__`.
fn known(service: &Service) -> BTreeSet<String> {
    let folder = devstack::place::root();
    let file = [
        format!("services/{}/src/defaults.toml", service.name),
        format!("services/{}/defaults.toml", service.name),
        format!("{}/src/defaults.toml", service.name),
        format!("{}/defaults.toml", service.name),
    ]
    .map(|path| folder.join(path))
    .into_iter()
    .find(|path| path.is_file())
    .unwrap_or_else(|| panic!("{} has no defaults.toml", service.name));
    let defaults: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
    let mut known = BTreeSet::new();
    for (key, value) in defaults {
        let name = format!("ONCEBOX_{}", key.to_uppercase());
        match value {
            toml::Value::Table(inner) if inner.is_empty() => {
                known.insert(format!("{name}__"));
            }
            toml::Value::Table(inner) => {
                known.extend(
                    inner
                        .keys()
                        .map(|key| format!("{name}__{}", key.to_uppercase())),
                );
            }
            _ => {
                known.insert(name);
            }
        }
    }
    known
}

#[test]
fn every_service_has_its_port_settings_and_database() {
    let compose = compose();
    for service in &ALL {
        let there = &compose["services"][service.name];
        let port = service.port;
        assert_eq!(
            ports_of(there),
            [format!("127.0.0.1:{port}:{port}")],
            "{}",
            service.name
        );
        let environment = environment(there);
        assert_eq!(
            environment["ONCEBOX_HTTP_ADDRESS"],
            format!("0.0.0.0:{port}"),
            "{}",
            service.name
        );
        let known = known(service);
        for name in environment.keys() {
            let is_known = known.contains(name)
                || known
                    .iter()
                    .any(|table| table.ends_with("__") && name.starts_with(table.as_str()));
            assert!(
                is_known,
                "{} knows no setting {name}; it knows {known:?}",
                service.name
            );
        }
        let database = environment
            .get("ONCEBOX_DATABASE_URL")
            .map(|url| url.rsplit('/').next().unwrap().to_owned());
        assert_eq!(database.as_deref(), service.database, "{}", service.name);
        if service.database.is_some() {
            assert_eq!(environment["ONCEBOX_KAFKA"], "kafka:19092");
            assert_eq!(
                environment["ONCEBOX_SCHEMA_REGISTRY"],
                "http://registry:8080/apis/ccompat/v7"
            );
        }
        let check = there["healthcheck"]["test"].to_string();
        assert!(
            check.contains(&format!("http://localhost:{port}/health/ready")),
            "{}: {check}",
            service.name
        );
    }
}

#[test]
fn the_relay_publishes_every_database_that_has_an_outbox() {
    let compose = compose();
    let sources: BTreeSet<_> = environment(&compose["services"]["outbox-relay"])
        .into_iter()
        .filter(|(name, _)| name.starts_with("ONCEBOX_SOURCES__"))
        .map(|(_, url)| url.rsplit('/').next().unwrap().to_owned())
        .collect();
    let databases: BTreeSet<_> = ALL
        .iter()
        .filter_map(|service| service.database)
        .map(str::to_owned)
        .collect();
    assert_eq!(sources, databases);
}

#[test]
fn the_stack_is_where_the_code_looks_for_it_and_on_loopback_only() {
    let compose = compose();
    for (part, variable, default) in [
        ("kafka", "ONCEBOX_KAFKA_PORT", ports::KAFKA),
        ("postgres", "ONCEBOX_POSTGRES_PORT", ports::POSTGRES),
        ("registry", "ONCEBOX_REGISTRY_PORT", ports::REGISTRY),
    ] {
        let [published] = ports_of(&compose["services"][part])[..] else {
            panic!("{part} publishes other than one port");
        };
        assert!(
            published.starts_with(&format!("127.0.0.1:${{{variable}:-{default}}}:")),
            "{part}: {published}"
        );
    }
    for (name, service) in compose["services"].as_object().unwrap() {
        for port in ports_of(service) {
            assert!(
                port.starts_with("127.0.0.1:"),
                "{name} publishes {port} beyond loopback"
            );
        }
        let ends = name == "provision";
        assert_eq!(
            service.get("healthcheck").is_none(),
            ends,
            "{name} needs a health check"
        );
    }
    let kafka = environment(&compose["services"]["kafka"]);
    assert!(kafka["KAFKA_ADVERTISED_LISTENERS"].contains(&format!(
        "127.0.0.1:${{ONCEBOX_KAFKA_PORT:-{}}}",
        ports::KAFKA
    )));
}

#[test]
fn topics_are_those_of_the_code_since_provisioning_alone_makes_them() {
    let compose = compose();
    let kafka = environment(&compose["services"]["kafka"]);
    assert_eq!(kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"], "false");
    let provision = &compose["services"]["provision"];
    assert_eq!(
        provision["command"],
        serde_json::json!(["dev-runner", "provision"])
    );
    let wanted = [
        "ONCEBOX_DATABASE_URL",
        "ONCEBOX_KAFKA",
        "ONCEBOX_SCHEMA_REGISTRY",
    ];
    assert_eq!(
        environment(provision)
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>(),
        wanted
    );
    // Whatever talks to Kafka starts after it: straight, or behind a service that does.
    for service in ALL.iter().filter(|service| service.database.is_some()) {
        let after = &compose["services"][service.name]["depends_on"]["provision"]["condition"];
        assert_eq!(after, "service_completed_successfully", "{}", service.name);
    }
    let text = compose.to_string();
    for topic in schemas::topology::topics() {
        assert!(
            !text.contains(&topic.name),
            "{} is named beside the code",
            topic.name
        );
    }
}

#[test]
fn docker_finds_it_valid_where_docker_is() {
    let has = Command::new("docker")
        .args(["compose", "version"])
        .output()
        .is_ok_and(|out| out.status.success());
    if !has {
        println!("docker compose is not on this machine: the file was checked without it");
        return;
    }
    let file = devstack::place::root().join("docker-compose.yml");
    let output = Command::new("docker")
        .args(["compose", "--file"])
        .arg(file)
        .args(["config", "--quiet"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_runner_sets_only_what_services_know() {
    let folder = tempfile::tempdir().unwrap();
    devstack::state::State::change(folder.path(), |state| {
        state.database_url = "postgres://postgres@127.0.0.1:1/postgres".to_owned();
    })
    .unwrap();
    let stack = devstack::Stack::attach(folder.path()).unwrap();
    let ports = ALL
        .iter()
        .map(|service| (service.name, service.port))
        .collect();
    for service in &ALL {
        let known = known(service);
        for name in crate::services::environment(service, &stack, &ports, "token").keys() {
            let is_known = known.contains(name)
                || known
                    .iter()
                    .any(|table| table.ends_with("__") && name.starts_with(table.as_str()));
            assert!(
                is_known,
                "{} knows no setting {name}; it knows {known:?}",
                service.name
            );
        }
    }
}
