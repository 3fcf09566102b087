//! What the operating system says about this process, under the names that Prometheus clients share.
//!
//! Read from `/proc` when metrics are rendered; elsewhere than on Linux these metrics are simply absent.

use std::{fmt::Write, fs};

/// The kernel reports times to programs in hundredths of a second on every platform that Rust's Linux targets cover.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) fn append(text: &mut String) {
    if let Some(bytes) = resident_bytes() {
        sample(
            text,
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            bytes,
        );
    }
    if let Some((cpu, started)) = times() {
        sample(
            text,
            "process_cpu_seconds_total",
            "counter",
            "User and system processor time spent, in seconds.",
            cpu,
        );
        if let Some(started) = started {
            sample(
                text,
                "process_start_time_seconds",
                "gauge",
                "Start time since the Unix epoch, in seconds.",
                started,
            );
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        sample(
            text,
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            open.count() as f64,
        );
    }
}

fn sample(text: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
    );
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// Processor seconds spent, and when the process started.
fn times() -> Option<(f64, Option<f64>)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets, and the name may itself hold spaces and brackets.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    let cpu = (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND;
    let started = boot_seconds().and_then(|boot| Some(boot + ticks(19)? / TICKS_PER_SECOND));
    Some((cpu, started))
}

fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_this_process() {
        let rss = resident_bytes().unwrap();
        assert!((1e5..1e11).contains(&rss), "{rss}");
        let (cpu, started) = times().unwrap();
        assert!((0.0..86_400.0).contains(&cpu), "{cpu}");
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let age = now - started.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
    }
}
