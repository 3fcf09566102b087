//! The command line that every service shares.

use std::{env, ffi::OsString, path::PathBuf, process};

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
        match self.answer(env::vars_os()) {
            Ok(Answer::Run(settings)) => settings,
            Ok(Answer::Show(effective)) => {
                print!("{effective}");
                process::exit(0)
            }
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

    fn answer<T: Serialize + DeserializeOwned>(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Answer<T>, SettingsError> {
        let sources = Sources::read(self.defaults, self.arguments.config.as_deref(), environment)?;
        let settings = sources.settings(self.service)?;
        Ok(if self.arguments.check_config {
            Answer::Show(effective::print(&settings, Some(&sources)))
        } else {
            Answer::Run(settings)
        })
    }
}

/// What a command line asks to do with the settings.
#[derive(Debug)]
enum Answer<T> {
    Run(T),
    Show(String),
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const DEFAULTS: &str = "# Address of the HTTP interface.\nhttp_address = \"127.0.0.1:8080\"\n# Opens the API.\ntoken = \"\"\n";

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        http_address: String,
        token: String,
    }

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        let line = [&["order"], arguments].concat();
        let parsed =
            command("order", "1.2.3", "Takes orders.", DEFAULTS).try_get_matches_from(line)?;
        Ok(Cli {
            service: "order",
            defaults: DEFAULTS,
            arguments: Arguments::from_arg_matches(&parsed)?,
        })
    }

    fn environment() -> [(OsString, OsString); 1] {
        [("ONCEBOX_TOKEN".into(), "s3cret".into())]
    }

    #[test]
    fn serving_is_what_happens_unless_asked_otherwise() {
        assert_eq!(parse(&[]).unwrap().command(), Command::Serve);
        assert_eq!(parse(&["serve"]).unwrap().command(), Command::Serve);
        assert_eq!(
            parse(&["migrate", "--config", "order.toml"])
                .unwrap()
                .command(),
            Command::Migrate
        );
        assert!(
            parse(&["--confg", "order.toml"])
                .unwrap_err()
                .to_string()
                .contains("--config")
        );
    }

    #[test]
    fn help_explains_the_sources_and_lists_every_setting() {
        let help = parse(&["--help"]).unwrap_err().to_string();
        for part in [
            "Takes orders.",
            "ONCEBOX_<KEY>",
            "order --check-config",
            "# Address of the HTTP interface.\nhttp_address = ",
        ] {
            assert!(help.contains(part), "{part:?} is missing from\n{help}");
        }
        assert!(
            parse(&["--version"])
                .unwrap_err()
                .to_string()
                .contains("order 1.2.3")
        );
    }

    #[test]
    fn checking_shows_and_does_not_run() {
        let checked = parse(&["--check-config"])
            .unwrap()
            .answer::<Settings>(environment())
            .unwrap();
        let Answer::Show(text) = checked else {
            panic!("expected to be shown, got {checked:?}")
        };
        assert_eq!(
            text,
            "http_address = \"127.0.0.1:8080\"  # built-in defaults\ntoken = \"***\"  # environment variable ONCEBOX_TOKEN\n"
        );
        let Ok(Answer::Run(settings)) = parse(&[]).unwrap().answer::<Settings>(environment())
        else {
            panic!()
        };
        assert_eq!(settings.token, "s3cret");
        let unknown = [("ONCEBOX_TOKN".into(), "x".into())];
        assert!(
            parse(&["--check-config"])
                .unwrap()
                .answer::<Settings>(unknown)
                .is_err()
        );
    }
}
