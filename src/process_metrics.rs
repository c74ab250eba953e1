//! What the exporter itself uses: the values of the standard `process_*` metrics, from Linux's
//! /proc.

use std::{fs, sync::OnceLock};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// The values at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessUse {
    /// User and system CPU time since the start, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: f64,
    /// Address space, in bytes.
    pub virtual_bytes: f64,
    /// Open file descriptors.
    pub open_fds: f64,
    /// The limit of open file descriptors.
    pub max_fds: f64,
    /// Start time, in Unix seconds.
    pub start_time: f64,
    /// Threads.
    pub threads: f64,
}

impl ProcessUse {
    /// Reads the values; `None` without /proc, for example in a container that contains only the
    /// binary.
    pub fn read() -> Option<ProcessUse> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses can contain blanks. The fields after it cannot; proc(5) numbers
        // them from 3.
        let (_, figures) = stat.rsplit_once(") ")?;
        let figures: Vec<&str> = figures.split_whitespace().collect();
        let figure = |number: usize| {
            figures.get(number - 3)?.parse::<u64>().ok().map(|figure| figure as f64)
        };
        let ticks = clock_ticks_per_second() as f64;
        Some(ProcessUse {
            cpu_seconds: (figure(14)? + figure(15)?) / ticks,
            threads: figure(20)?,
            start_time: boot_time()? + figure(22)? / ticks,
            virtual_bytes: figure(23)?,
            resident_bytes: figure(24)? * page_size() as f64,
            open_fds: open_fds()?,
            max_fds: getrlimit(Resource::Nofile)
                .current
                .map_or(f64::INFINITY, |limit| limit as f64),
        })
    }
}

/// Since Linux 6.2 the size of /proc/self/fd is the number of descriptors. Before, it is 0, and
/// they must be counted.
fn open_fds() -> Option<f64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        // One of them reads the directory.
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64),
        size => Some(size as f64),
    }
}

/// When the machine started, in Unix seconds. Read once, so that setting the clock does not change
/// the start time.
fn boot_time() -> Option<f64> {
    static BOOT_TIME: OnceLock<Option<f64>> = OnceLock::new();
    *BOOT_TIME.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let btime = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(btime.trim().parse::<u64>().ok()? as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_uses_memory_threads_and_descriptors() {
        let used = ProcessUse::read();
        assert!(used.is_some_and(
            |used| used.resident_bytes > 100_000.0 && used.virtual_bytes >= used.resident_bytes
        ));
        assert!(used.is_some_and(|used| used.threads >= 1.0
            && used.open_fds >= 3.0
            && used.max_fds >= used.open_fds));
        assert!(used.is_some_and(|used| used.start_time > 1.5e9), "{used:?}");
    }
}
