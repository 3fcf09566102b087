//! Resident memory of the services.

use std::collections::BTreeMap;

use anyhow::Context;
use e2e::Pipeline;

/// Resident set of each service in MB (10^6 bytes), by name.
pub(crate) fn resident_mb(pipeline: &Pipeline) -> anyhow::Result<BTreeMap<&'static str, f64>> {
    pipeline
        .services()
        .into_iter()
        .map(|service| {
            let pid = service
                .pid()
                .with_context(|| format!("{} does not run", service.name()))?;
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
                .context("memory is read from /proc")?;
            let kib: f64 = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))
                .and_then(|text| text.trim().strip_suffix("kB"))
                .context("no VmRSS in /proc")?
                .trim()
                .parse()?;
            Ok((service.name(), (kib * 1.024 / 10.0).round() / 100.0))
        })
        .collect()
}
