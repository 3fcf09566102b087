//! One thing that the machine must have, how it is recognised, and what each system calls it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something that has to be on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A C compiler and make, for librdkafka.
    CToolchain,
    /// OpenSSL's headers, and pkg-config which finds them.
    OpenSsl,
    /// Maven, which fetches the stack's artefacts.
    Maven,
    /// A Java runtime; Maven itself runs on it.
    Java,
    /// Python 3 with `venv`.
    Python,
    /// `tar` and `xz`, for the PostgreSQL binaries.
    Archives,
}

impl Need {
    /// Everything that building, running and testing the project needs.
    pub const ALL: [Self; 6] = [
        Self::CToolchain,
        Self::OpenSsl,
        Self::Maven,
        Self::Java,
        Self::Python,
        Self::Archives,
    ];

    /// What to call it in a sentence.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CToolchain => "a C compiler and make",
            Self::OpenSsl => "OpenSSL headers and pkg-config",
            Self::Maven => "Maven",
            Self::Java => "a Java runtime",
            Self::Python => "Python 3 with venv",
            Self::Archives => "tar and xz",
        }
    }

    /// Whether this machine has it.
    #[must_use]
    pub fn is_met(self) -> bool {
        match self {
            Self::CToolchain => {
                find_on_path("make").is_some()
                    && ["cc", "gcc", "clang"]
                        .iter()
                        .any(|name| find_on_path(name).is_some())
            }
            Self::OpenSsl => {
                std::env::var_os("OPENSSL_DIR").is_some()
                    || succeeds("pkg-config", &["--exists", "openssl"])
                    || (cfg!(target_os = "macos")
                        && ["/opt/homebrew/opt/openssl@3", "/usr/local/opt/openssl@3"]
                            .iter()
                            .any(|folder| Path::new(folder).exists()))
            }
            Self::Maven => has_command("mvn"),
            Self::Java => crate::java(8).is_some(),
            Self::Python => succeeds("python3", &["-c", "import venv, ensurepip"]),
            Self::Archives => {
                has_command("tar") && (cfg!(target_os = "macos") || has_command("xz"))
            }
        }
    }

    pub(crate) fn debian(self) -> &'static [&'static str] {
        match self {
            Self::CToolchain => &["build-essential"],
            Self::OpenSsl => &["libssl-dev", "pkg-config"],
            Self::Maven => &["maven"],
            Self::Java => &["default-jre-headless"],
            Self::Python => &["python3", "python3-venv"],
            Self::Archives => &["tar", "xz-utils"],
        }
    }

    pub(crate) fn fedora(self) -> &'static [&'static str] {
        match self {
            Self::CToolchain => &["gcc", "gcc-c++", "make"],
            Self::OpenSsl => &["openssl-devel", "pkgconf"],
            Self::Maven => &["maven"],
            Self::Java => &["java-latest-openjdk-headless"],
            Self::Python => &["python3"],
            Self::Archives => &["tar", "xz"],
        }
    }

    pub(crate) fn macos(self) -> &'static [&'static str] {
        match self {
            Self::CToolchain => &["gcc", "make"],
            Self::OpenSsl => &["openssl@3", "pkgconf"],
            Self::Maven => &["maven"],
            Self::Java => &["openjdk"],
            Self::Python => &["python"],
            Self::Archives => &["xz"],
        }
    }
}

/// The first file of that name in `PATH`.
#[must_use]
pub fn find_on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Whether a command of that name is in `PATH`.
#[must_use]
pub fn has_command(name: &str) -> bool {
    find_on_path(name).is_some()
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
