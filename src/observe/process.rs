//! What the process costs, read from `/proc` and the runtime at each scrape: memory, processor, descriptors, threads,
//! tasks.
//!
//! On a system without `/proc` these metrics are absent, not zero.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// What this process costs: for load runs and benches.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// User and system processor time, s.
    pub cpu_s: f64,
    /// Resident memory, bytes; 0 where there is no `/proc`.
    pub resident: u64,
}

/// What this process has cost so far.
pub fn cost() -> Cost {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cpu_s = usage.map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time()));
    let resident = Process::read().resident_bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    Cost { cpu_s, resident }
}

/// What another process has cost so far; none when it is gone.
pub fn cost_of(pid: u32) -> Option<Cost> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let resident = status_field(&status, "VmRSS:")?.checked_mul(1_024).and_then(|bytes| u64::try_from(bytes).ok())?;
    Some(Cost { cpu_s: cpu_seconds(&stat)?, resident })
}

/// The machine's load in the last minute; none where there is no `/proc`.
pub fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Reads `/proc/self` when it is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process;

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Reading {
    resident_bytes: Option<i64>,
    threads: Option<i64>,
    open_fds: Option<i64>,
    cpu_seconds: Option<f64>,
    tasks: Option<i64>,
}

impl Process {
    fn read() -> Reading {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // the directory handle of the reading itself is one of them
        let fds = fs::read_dir("/proc/self/fd").map(|dir| dir.count().saturating_sub(1)).ok();
        Reading {
            resident_bytes: status_field(&status, "VmRSS:").and_then(|kib| kib.checked_mul(1_024)),
            threads: status_field(&status, "Threads:"),
            open_fds: fds.and_then(|n| i64::try_from(n).ok()),
            cpu_seconds: cpu_seconds(&stat),
            // where no runtime is, there are none
            tasks: tokio::runtime::Handle::try_current()
                .map_or(Some(0), |runtime| i64::try_from(runtime.metrics().num_alive_tasks()).ok()),
        }
    }
}

/// The number behind a key of `/proc/self/status` (kB where it has a unit).
fn status_field(status: &str, key: &str) -> Option<i64> {
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// User and system time from `/proc/self/stat`, fields 14 and 15 of proc(5), in ticks of 1/100 s
/// (USER_HZ, which Linux fixes for user space on every architecture that we build for).
fn cpu_seconds(stat: &str) -> Option<f64> {
    // the name in brackets may hold spaces: count from behind it
    let rest = stat.rsplit_once(')')?.1;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / 100.0)
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let reading = Self::read();
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory of the gateway's process", reading.resident_bytes),
            ("process_threads", "Threads of the gateway's process", reading.threads),
            ("process_open_fds", "Open file descriptors of the gateway's process", reading.open_fds),
            ("voxgate_tasks", "Asynchronous tasks that are alive", reading.tasks),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        if let Some(seconds) = reading.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let help = "User and system processor time of the gateway's process";
            counter.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_has_brackets_and_spaces_is_read() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(status_field("VmRSS:\t  2048 kB\nThreads:\t3\n", "VmRSS:"), Some(2_048));
        assert_eq!(status_field("", "VmRSS:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_very_process_has_memory_threads_and_descriptors() {
        let reading = Process::read();
        assert!(reading.resident_bytes > Some(1 << 20), "{reading:?}");
        assert!(reading.threads >= Some(1) && reading.open_fds >= Some(1), "{reading:?}");
        assert_eq!(reading.tasks, Some(0), "there is no runtime here");
        let cost = cost();
        assert!(cost.cpu_s > 0.0 && cost.resident > 1 << 20, "{cost:?}");
        let same = cost_of(std::process::id());
        assert!(same.is_some_and(|same| same.resident > 1 << 20), "{same:?}");
        assert_eq!(cost_of(u32::MAX), None);
    }
}
