//! What a stack is started with.

use std::path::PathBuf;

use crate::{Ports, Say, place};

/// Parts that run elsewhere already, as the environment names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct External {
    /// Kafka's bootstrap address (`ONCEBOX_KAFKA`).
    pub kafka: Option<String>,
    /// URL of the PostgreSQL server, with the right to create databases (`ONCEBOX_DATABASE_URL`).
    pub database_url: Option<String>,
    /// Base URL of the registry's Confluent API (`ONCEBOX_SCHEMA_REGISTRY`).
    pub registry_url: Option<String>,
}

/// Which part, where and how.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Folder of data, logs and the record.
    pub dir: PathBuf,
    /// Folder of fetched artefacts, shared between stacks.
    pub artefacts: PathBuf,
    /// Which ports it takes.
    pub ports: Ports,
    /// Ports that other parts of the runner take by default: not handed out as "the next free one".
    pub reserved: Vec<u16>,
    /// Whether PostgreSQL flushes its commits to disk.
    pub durable: bool,
    /// Whether broker and server are set up for being measured: the broker compiles itself for the highest throughput, at the
    /// price of a start that takes twice as long, with the heap and the collector of Kafka's own start script, and
    /// PostgreSQL has a gigabyte of buffers.
    pub peak: bool,
    /// Containers instead of the embedded stack.
    pub docker: bool,
    /// Parts that are not started because they run elsewhere.
    pub external: External,
    /// Where progress goes.
    pub say: Say,
}

impl External {
    /// What `ONCEBOX_KAFKA`, `ONCEBOX_DATABASE_URL` and `ONCEBOX_SCHEMA_REGISTRY` say.
    #[must_use]
    pub fn from_env() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            kafka: set("ONCEBOX_KAFKA"),
            database_url: set("ONCEBOX_DATABASE_URL"),
            registry_url: set("ONCEBOX_SCHEMA_REGISTRY"),
        }
    }
}

impl StackOptions {
    /// The stack of `cargo dev up`: in the development folder, on the documented ports, with whatever the environment
    /// says that runs elsewhere.
    #[must_use]
    pub fn dev() -> Self {
        Self {
            dir: place::dev(),
            artefacts: place::artefacts(),
            ports: Ports::Default,
            reserved: Vec::new(),
            durable: true,
            peak: false,
            docker: false,
            external: External::from_env(),
            say: Say::silent(),
        }
    }

    /// A private stack for tests in `dir`: on ports of its own, beside any other, fast instead of durable.
    #[must_use]
    pub fn private(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            ports: Ports::Free,
            durable: false,
            external: External::default(),
            ..Self::dev()
        }
    }
}
