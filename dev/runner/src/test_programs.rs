//! The test programs of the workspace, as Cargo names them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cargo::cargo;

/// Package of the end-to-end suite.
const SUITE: &str = "e2e";

/// One program with tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// Package.
    pub(crate) package: String,
    /// Folder of the package.
    pub(crate) folder: PathBuf,
    /// Name of the target, and whether it is a library, a program or a test.
    target: (String, String),
    /// The file to run.
    pub(crate) program: PathBuf,
}

impl Program {
    /// Whether it belongs to the end-to-end suite.
    pub(crate) fn is_suite(&self) -> bool {
        self.package == SUITE
    }

    /// Quick ones first: what is pure, then what needs the stack, then the whole platform.
    fn rank(&self) -> (bool, bool, String) {
        (
            self.is_suite(),
            self.target.0 == "test",
            self.package.clone(),
        )
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = &self.target;
        write!(f, "{}, {kind} {name}", self.package)
    }
}

/// All of them, in the order in which they are run; what is not built yet is built.
pub(crate) fn all() -> anyhow::Result<Vec<Program>> {
    let mut list = cargo();
    list.args([
        "test",
        "--workspace",
        "--no-run",
        "--quiet",
        "--message-format",
        "json",
    ]);
    let output = list
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the tests do not build; cargo says why above");
    }
    let mut programs: Vec<_> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(parse)
        .collect();
    programs.sort_by_key(Program::rank);
    Ok(programs)
}

/// One of Cargo's messages; none when it does not speak of a test program.
fn parse(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message.get("reason")? != "compiler-artifact" || message.pointer("/profile/test")? != true {
        return None;
    }
    let program = PathBuf::from(message.get("executable")?.as_str()?);
    let folder = Path::new(message.get("manifest_path")?.as_str()?)
        .parent()?
        .to_owned();
    let kind = message.pointer("/target/kind/0")?.as_str()?.to_owned();
    let name = message.pointer("/target/name")?.as_str()?.to_owned();
    // `path+file:///…/services/order#0.1.0`, or `…/tests#e2e@0.1.0` where folder and package differ in name.
    let id = message.get("package_id")?.as_str()?;
    let (path, version) = id.rsplit_once('#')?;
    let package = match version.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next()?,
    };
    Some(Program {
        package: package.to_owned(),
        folder,
        target: (kind, name),
        program,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(package: &str, kind: &str, test: bool) -> String {
        serde_json::json!({
            "reason": "compiler-artifact", "package_id": package, "manifest_path": "/w/x/Cargo.toml",
            "target": { "kind": [kind], "name": "it" }, "profile": { "test": test }, "executable": "/w/target/it-1",
        })
        .to_string()
    }

    #[test]
    fn packages_are_known_by_name_whatever_their_folder() {
        let suite = parse(&message("path+file:///w/tests#e2e@0.1.0", "test", true)).unwrap();
        assert_eq!((suite.package.as_str(), suite.is_suite()), ("e2e", true));
        assert_eq!(suite.folder, Path::new("/w/x"));
        let service = parse(&message("path+file:///w/services/order#0.1.0", "lib", true)).unwrap();
        assert_eq!(service.package, "order");
        assert!(service.rank() < suite.rank());
        assert_eq!(
            parse(&message(
                "path+file:///w/services/order#0.1.0",
                "bin",
                false
            )),
            None
        );
        assert_eq!(parse("warning: something"), None);
    }
}
