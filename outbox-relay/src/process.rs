//! Names of relays, and which of them are known to be dead.

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// This relay's name: host and process.
pub(crate) fn this() -> String {
    holder(std::process::id())
}

fn holder(process: u32) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "unknown".into());
    format!("{}/{process}", host.trim())
}

/// Whether a holder is a process of this host that is no more. So a relay that is started again after a crash goes on
/// at once instead of waiting for its predecessor's lease to expire.
pub(crate) fn is_dead(holder_of_lease: &str) -> bool {
    let Some(Ok(process)) = holder_of_lease
        .rsplit_once('/')
        .map(|(_, process)| process.parse::<u32>())
    else {
        return false;
    };
    if holder(process) != holder_of_lease {
        return false;
    }
    // A container gives the same number to each start.
    process == std::process::id()
        || i32::try_from(process)
            .is_ok_and(|process| kill(Pid::from_raw(process), None) == Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_host_can_be_known_to_be_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = child.id();
        child.wait().unwrap();
        assert!(is_dead(&holder(process)));
        assert!(is_dead(&holder(std::process::id())), "our predecessor");
        assert!(!is_dead(&holder(std::os::unix::process::parent_id())));
        assert!(!is_dead(&format!("another-host/{process}")));
        assert!(!is_dead("no process"));
    }
}
