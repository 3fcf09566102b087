//! Configuration of a service: defaults, then a file, then the environment; unknown keys are refused.
//!
//! A service brings a struct and a TOML file of defaults in which every key is explained; the file is also what
//! `--help` shows. Its `main` is then:
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//!
//! /// In the service's `defaults.toml`, with a comment for each key.
//! const DEFAULTS: &str = "
//! # Address of the HTTP interface.
//! http_address = \"127.0.0.1:8080\"
//! ";
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     http_address: String,
//! }
//!
//! let cli = settings::Cli::parse_for("order", env!("CARGO_PKG_VERSION"), "Takes orders over HTTP.", DEFAULTS);
//! let settings: Settings = cli.settings(); // answers --check-config, or explains what is wrong, and exits
//! match cli.command() {
//!     settings::Command::Serve => println!("serve on {}", settings.http_address),
//!     settings::Command::Migrate => println!("migrate, then exit"),
//! }
//! ```
//!
//! # Environment
//! `ONCEBOX_<KEY>` in capitals sets a key, `__` stands for a level of nesting: `ONCEBOX_KAFKA` sets `kafka`,
//! `ONCEBOX_RETRY__RETRIES` sets `retry.retries`, `ONCEBOX_SOURCES__ORDER` sets the entry `order` of the map `sources`.
//! Numbers and booleans are read as what the setting is; text stays text, so that a token of digits keeps its zeroes.
//! An unknown name is refused like an unknown key of the file, with two exceptions: `ONCEBOX_DEV_*` and
//! `ONCEBOX_TEST_*` belong to the development runner and to tests, and a name that all services share
//! ([`COMMON_KEYS`]) may be set for a service that has no use for it, so that several can run in one environment.

mod cli;
mod effective;
mod environment;
mod error;
mod load;
mod mask;
mod nearest;

pub use cli::{Cli, Command};
pub use effective::effective;
pub use environment::COMMON_KEYS;
pub use error::{Refused, SettingsError};
pub use load::load;
