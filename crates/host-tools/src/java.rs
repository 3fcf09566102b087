//! Finds a Java runtime that is new enough: `JAVA_HOME`, then `PATH`, then where systems install theirs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::find_on_path;

/// Where Debian, Fedora, SDKMAN, Homebrew and macOS put their Java installations.
const FOLDERS: [&str; 5] = [
    "/usr/lib/jvm",
    "/usr/java",
    "/opt/java",
    "/Library/Java/JavaVirtualMachines",
    "/opt/homebrew/opt",
];

/// The `java` command of a runtime whose major version is at least `at_least`; in the usual folders the newest wins.
#[must_use]
pub fn java(at_least: u32) -> Option<PathBuf> {
    let fits = |java: &PathBuf| java_version(java).is_some_and(|version| version >= at_least);
    let named = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    if let Some(java) = named.into_iter().chain(find_on_path("java")).find(fits) {
        return Some(java);
    }
    let home =
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".sdkman/candidates/java"));
    let mut found: Vec<(u32, PathBuf)> = FOLDERS
        .iter()
        .map(PathBuf::from)
        .chain(home)
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .flat_map(|entry| {
            [
                entry.path().join("bin/java"),
                entry.path().join("Contents/Home/bin/java"),
            ]
        })
        .filter(|java| java.is_file())
        .filter_map(|java| Some((java_version(&java)?, java)))
        .collect();
    found.sort();
    found
        .pop()
        .filter(|(version, _)| *version >= at_least)
        .map(|(_, java)| java)
}

/// Major version of a `java` command; none when it does not run.
#[must_use]
pub fn java_version(java: &Path) -> Option<u32> {
    let output = Command::new(java)
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    parse(&String::from_utf8_lossy(&output.stderr))
}

/// Reads `openjdk version "21.0.4" 2024-07-16` and the older `java version "1.8.0_392"`.
fn parse(said: &str) -> Option<u32> {
    let quoted = said.split('"').nth(1)?;
    let mut numbers = quoted.split(['.', '_', '-', '+']).map(str::parse::<u32>);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_versions_are_read_old_style_and_new_style() {
        assert_eq!(
            parse("openjdk version \"21.0.4\" 2024-07-16 LTS\nOpenJDK ..."),
            Some(21)
        );
        assert_eq!(parse("openjdk version \"25\" 2025-09-16"), Some(25));
        assert_eq!(parse("openjdk version \"26-ea\" 2026-03-17"), Some(26));
        assert_eq!(parse("java version \"1.8.0_392\""), Some(8));
        assert_eq!(
            parse("The operation couldn't be completed. Unable to locate a Java Runtime."),
            None
        );
    }
}
