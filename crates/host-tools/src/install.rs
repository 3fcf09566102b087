//! Installs what is missing where that is ours to do, and otherwise says who can and how.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Need;

/// What is missing and could not be installed: one sentence with the commands that install it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    needs: Vec<Need>,
    /// Why we did not, or could not, install it ourselves.
    reason: Option<String>,
}

impl std::error::Error for Missing {}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.needs.iter().map(|need| need.name()).collect();
        let join = |packages: fn(Need) -> &'static [&'static str]| {
            let all: Vec<_> = self
                .needs
                .iter()
                .flat_map(|need| packages(*need))
                .copied()
                .collect();
            all.join(" ")
        };
        write!(
            f,
            "this machine lacks {}; install it with `sudo apt-get install {}` (Debian), \
             `sudo dnf install {}` (Fedora) or `brew install {}` (macOS)",
            names.join(", "),
            join(Need::debian),
            join(Need::fedora),
            join(Need::macos),
        )?;
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// Sees to it that all of `needs` are met. As root on Debian it installs what is missing, and says so through `say`
/// before it does.
///
/// # Errors
/// [`Missing`] when something is missing still.
pub fn ensure(needs: &[Need], say: &dyn Fn(&str)) -> Result<(), Missing> {
    let missing = unmet(needs);
    if missing.is_empty() {
        return Ok(());
    }
    if !(is_debian() && is_root()) {
        return Err(Missing {
            needs: missing,
            reason: None,
        });
    }
    let packages: Vec<_> = missing
        .iter()
        .flat_map(|need| need.debian())
        .copied()
        .collect();
    say(&format!(
        "installing {} with apt-get, as root",
        packages.join(" ")
    ));
    let outcome = apt(&["update"]).and_then(|()| {
        let mut arguments = vec!["install", "-y", "--no-install-recommends"];
        arguments.extend(packages);
        apt(&arguments)
    });
    let still = unmet(&missing);
    if still.is_empty() {
        return Ok(());
    }
    Err(Missing {
        needs: still,
        reason: outcome.err(),
    })
}

fn unmet(needs: &[Need]) -> Vec<Need> {
    needs
        .iter()
        .copied()
        .filter(|need| !need.is_met())
        .collect()
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let shown = format!("apt-get {}", arguments.join(" "));
    let output = Command::new("apt-get")
        .arg("-q")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(format!(
        "{shown} failed: {}",
        last.unwrap_or("it said nothing")
    ))
}

fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists()
}

/// Whether we are root: asked of `id`, which needs no foreign function.
fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_names_what_is_missing_and_the_command_on_each_system() {
        let missing = Missing {
            needs: vec![Need::Maven, Need::OpenSsl],
            reason: None,
        };
        assert_eq!(
            missing.to_string(),
            "this machine lacks Maven, OpenSSL headers and pkg-config; install it with \
             `sudo apt-get install maven libssl-dev pkg-config` (Debian), \
             `sudo dnf install maven openssl-devel pkgconf` (Fedora) or \
             `brew install maven openssl@3 pkgconf` (macOS)"
        );
    }

    #[test]
    fn nothing_is_installed_where_nothing_is_missing() {
        ensure(&[], &|line| panic!("said {line:?}")).unwrap();
    }
}
