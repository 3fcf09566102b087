//! A port for a program under test that has to be told where to listen.

use std::sync::{LazyLock, Mutex, PoisonError};

use devstack::ports::{Chooser, Ports};

static CHOOSER: LazyLock<Mutex<Chooser>> =
    LazyLock::new(|| Mutex::new(Chooser::new(Ports::Free, &[])));

/// A free port, never the same twice in a process. Below the system's range for outgoing connections: one that the system
/// gives out may go to another test's connection before the program listens, or while it is down.
///
/// # Panics
/// When no port is free.
pub fn free_port() -> u16 {
    let mut chooser = CHOOSER.lock().unwrap_or_else(PoisonError::into_inner);
    chooser.free("a program under test").unwrap()
}
