//! The command line that every service shares.

use std::{env, path::PathBuf, process};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use serde::{Serialize, de::DeserializeOwned};

use crate::{SettingsError, effective, load::Sources};

/// What a service is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run until told to stop (this is what happens without a command).
    Serve,
    /// Bring the database to this version's schema, then exit.
    Migrate,
}

#[derive(Debug, Parser)]
struct Arguments {
    /// Configuration file (TOML). Overrides the defaults, is overridden by the environment.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print the configuration in force with the origin of each value, secrets masked, and exit: 0 if valid, 1 if not.
    #[arg(long, global = true)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// A service's parsed command line: `--config FILE`, `--check-config`, `serve` (the default) and `migrate`.
#[derive(Debug)]
pub struct Cli {
    service: &'static str,
    defaults: &'static str,
    arguments: Arguments,
}

impl Cli {
    /// Reads the process's arguments. Answers `--help` and `--version`, and explains wrong arguments, by exiting.
    ///
    /// `defaults` is the TOML text of the built-in defaults, a comment above each key: `--help` shows it.
    #[must_use]
    pub fn parse_for(
        service: &'static str,
        version: &'static str,
        about: &'static str,
        defaults: &'static str,
    ) -> Self {
        let parsed = command(service, version, about, defaults).get_matches();
        match Arguments::from_arg_matches(&parsed) {
            Ok(arguments) => Self {
                service,
                defaults,
                arguments,
            },
            Err(error) => error.exit(),
        }
    }

    /// What to do.
    #[must_use]
    pub fn command(&self) -> Command {
        self.arguments.command.unwrap_or(Command::Serve)
    }

    /// The settings, or the end of the process: with status 0 after `--check-config` printed them, with status 1 when
    /// they are refused, the reasons on standard error.
    #[must_use]
    pub fn settings<T: Serialize + DeserializeOwned>(&self) -> T {
        match self.load() {
            Ok((settings, sources)) if self.arguments.check_config => {
                print!("{}", effective::print(&settings, Some(&sources)));
                process::exit(0)
            }
            Ok((settings, _)) => settings,
            Err(error) => {
                eprintln!(
                    "error: {error}\n\ncode {}; `{} --help` lists every setting",
                    error.code(),
                    self.service
                );
                process::exit(1)
            }
        }
    }

    fn load<T: DeserializeOwned>(&self) -> Result<(T, Sources), SettingsError> {
        let sources = Sources::read(
            self.defaults,
            self.arguments.config.as_deref(),
            env::vars_os(),
        )?;
        Ok((sources.settings(self.service)?, sources))
    }
}

fn command(
    service: &'static str,
    version: &'static str,
    about: &'static str,
    defaults: &str,
) -> clap::Command {
    Arguments::command()
        .name(service)
        .version(version)
        .about(about)
        .after_help("`--help` explains the configuration and lists every setting with its default.")
        .after_long_help(format!(
            "Configuration, each source overriding the one before:
  1. built-in defaults (below)
  2. the file given by --config
  3. environment variables ONCEBOX_<KEY>, with __ between levels
Unknown keys are refused. ONCEBOX_DEV_* and ONCEBOX_TEST_* are ignored.

Examples:
  {service} --config /etc/oncebox/{service}.toml
  ONCEBOX_HTTP_ADDRESS=0.0.0.0:8080 ONCEBOX_LOG_FILTER=debug {service}
  {service} --check-config
  {service} migrate

Settings and their defaults:

{}
",
            defaults.trim()
        ))
}
