//! What processes of this machine cost, from /proc: processor time, memory, and who listens on a port.

use std::path::Path;

use anyhow::Context;

/// Linux counts processor time for its readers in hundredths of a second, whatever it uses inside.
const TICKS_PER_SECOND: f64 = 100.0;
/// State of a listening socket in /proc/net/tcp.
const LISTENING: &str = "0A";

/// Times of one process, in ticks.
struct Stat {
    parent: u32,
    own: u64,
    /// Of children that have ended and were waited for.
    ended_children: u64,
}

/// Processor seconds that a process has used since it started.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = stat(pid).with_context(|| format!("process {pid} has ended"))?;
    Ok(seconds(stat.own))
}

/// Processor seconds of a process and all of its children, also of those that have ended: a PostgreSQL server's.
pub(crate) fn family_cpu_seconds(pid: u32) -> Option<f64> {
    let own = stat(pid)?;
    let children: u64 = pids()
        .filter_map(stat)
        .filter(|child| child.parent == pid)
        .map(|child| child.own)
        .sum();
    Some(seconds(own.own + own.ended_children + children))
}

/// The most memory that a process ever had resident, in MB (10^6 bytes).
pub(crate) fn peak_rss_mb(pid: u32) -> anyhow::Result<f64> {
    memory_mb(pid, "VmHWM:")
}

/// The memory that a process has resident, in MB (10^6 bytes).
pub(crate) fn rss_mb(pid: u32) -> anyhow::Result<f64> {
    memory_mb(pid, "VmRSS:")
}

fn memory_mb(pid: u32, name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} has ended"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|text| text.trim().strip_suffix("kB"))
        .with_context(|| format!("no {name} in /proc"))?
        .trim()
        .parse()?;
    Ok(kib * 1.024 / 1000.0)
}

/// The process that listens on a TCP port of this machine, when it is one that we may look into.
pub(crate) fn listener(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let socket = tables
        .iter()
        .flatten()
        .find_map(|table| table.lines().find_map(|line| socket_on(line, port)))?;
    let owns = |pid: &u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
        let mut targets = files
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|file| std::fs::read_link(file.path()).ok());
        targets.any(|target| target == Path::new(&socket))
    };
    pids().find(owns)
}

/// Name of the socket of a line of /proc/net/tcp that listens on that port.
fn socket_on(line: &str, port: u16) -> Option<String> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (_, hex) = fields.get(1)?.rsplit_once(':')?;
    let listens = u16::from_str_radix(hex, 16).ok()? == port && *fields.get(3)? == LISTENING;
    listens.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
}

fn pids() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Source: proc_pid_stat(5). The name, in brackets, may hold spaces and brackets itself.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: number(11)? + number(12)?,
        ended_children: number(13)? + number(14)?,
    })
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_a_name_with_brackets() {
        let text = "77 (a) b) S 12 77 77 0 -1 4194560 1 2 3 4 50 7 300 40 20 0 1 0 99 1 1";
        let stat = parse(text).unwrap();
        assert_eq!((stat.parent, stat.own, stat.ended_children), (12, 57, 340));
    }

    #[test]
    fn this_process_and_its_listener_are_found() {
        let own = std::process::id();
        assert!(peak_rss_mb(own).unwrap() > 1.0);
        assert!(cpu_seconds(own).unwrap() <= family_cpu_seconds(own).unwrap() + 0.01);
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(port), Some(own));
        drop(socket);
        assert_eq!(listener(port), None);
    }
}
