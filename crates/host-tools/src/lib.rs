//! What a machine must have before the project can be built and run: looked for, installed on Debian when we
//! are root, otherwise named with the command that installs it.
//!
//! For `cargo dev`, which runs before anything else is built: no dependencies, so that it compiles in a second.

mod install;
mod java;
mod need;

pub use install::{Missing, ensure};
pub use java::{java, java_version};
pub use need::{Need, find_on_path, has_command};
