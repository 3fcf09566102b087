//! How glibc keeps memory: in one arena, for a program whose threads hand large batches to each other.
//!
//! glibc gives each thread an arena of its own, up to eight a core, and what a batch took stays with the arena of the
//! thread that asked for it. Batches pass through threads of the runtime and of the producers, and most of those arenas stand
//! empty. With one the peak is about a third lower, and the rate the same (`cargo dev bench relay --only drain`, with and
//! without the variable set).

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    /// glibc reads it once, before `main`.
    const VARIABLE: &str = "MALLOC_ARENA_MAX";

    /// Becomes the same program again, with the variable set, unless somebody has set it. The process stays the same one,
    /// with its number, its arguments and its open files.
    pub(crate) fn use_one() {
        if std::env::var_os(VARIABLE).is_some() {
            return;
        }
        let Ok(program) = std::env::current_exe() else {
            return;
        };
        let mut arguments = std::env::args_os();
        let mut again = Command::new(program);
        if let Some(name) = arguments.next() {
            again.arg0(name);
        }
        // Returns only when it fails. Everything works without it, in more memory.
        let _ = again.args(arguments).env(VARIABLE, "1").exec();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) use glibc::use_one;

/// Where the allocator is another, there is nothing to do.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn use_one() {}
