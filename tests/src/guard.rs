//! Nothing that a test started outlives it: not after a failure, and not when the test itself is killed.

use std::process::{Child, Command, Stdio};

/// A process group that ends with this process.
///
/// Its leader is a shell that waits for its standard input to close, which the operating system does when this process
/// ends, however it ends; then it kills the whole group.
#[derive(Debug)]
pub struct Guard {
    leader: Child,
}

impl Guard {
    /// Starts the group's leader.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        use std::os::unix::process::CommandExt;
        let leader = Command::new("sh")
            .args(["-c", "read -r _; kill -s KILL 0"])
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        Self { leader }
    }

    /// The group to start processes in.
    pub fn group(&self) -> i32 {
        self.leader.id().try_into().unwrap()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.leader.stdin.take());
        let _ = self.leader.wait();
    }
}
