//! The machine that is measured on.

use serde::Serialize;

/// Where it was measured: figures of two machines, or of a busy one, are not to be compared.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) memory_gb: f64,
    pub(crate) system: String,
    /// Processes that wanted a processor in the minute before, on average: more than about 0.5 is a busy machine.
    pub(crate) load_before: f64,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
        let memory = read("/proc/meminfo");
        let kib = number(memory.split_whitespace().nth(1)).unwrap_or(f64::NAN);
        Self {
            processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_gb: kib * 1.024 / 1_000_000.0,
            system: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: number(read("/proc/loadavg").split_whitespace().next())
                .unwrap_or(f64::NAN),
        }
    }
}
