//! Owns what the kernel knows of this process, under the names that every Prometheus client library uses. Read when it is
//! asked for; what cannot be read (`/proc` is Linux's) is left out.
//! Never counts anything itself.

use std::fmt;
use std::fs;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks of `/proc` in a second. Linux tells programs 100 on every architecture, whatever it counts in itself.
const TICKS: u64 = 100;
/// Place of the start in `/proc/self/stat`, counted after the name, which may hold anything.
const START_FIELD: usize = 19;

/// The process.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(seconds) = cpu_seconds() {
            let help = "Total user and system CPU time spent in seconds.";
            let counter = ConstCounter::new(seconds);
            let metric = encoder.encode_descriptor("process_cpu_seconds", help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        for (name, help, value) in gauges() {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// Name, text and value of each. Parity: the texts of Prometheus' Go library, which upstream shows.
fn gauges() -> [(&'static str, &'static str, Option<f64>); 6] {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    [
        ("process_max_fds", "Maximum number of open file descriptors.", limit(Resource::RLIMIT_NOFILE)),
        ("process_open_fds", "Number of open file descriptors.", open_files()),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", bytes(&status, "VmRSS:")),
        ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", started()),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", bytes(&status, "VmSize:")),
        (
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            limit(Resource::RLIMIT_AS),
        ),
    ]
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

fn limit(of: Resource) -> Option<f64> {
    getrlimit(of).ok().map(|(soft, _)| soft as f64)
}

/// The one that looks is not counted.
fn open_files() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(count.saturating_sub(1) as f64)
}

/// A line of `/proc/self/status`: `VmRSS:     1234 kB`.
fn bytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((kibibytes * 1024) as f64)
}

fn started() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot as f64 + start_ticks(&stat)? as f64 / TICKS as f64)
}

/// When a process started, in ticks since the machine did.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(START_FIELD)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        assert_eq!(bytes("Name:\tx\nVmSize:\t  20 kB\nVmRSS:\t    3 kB\n", "VmRSS:"), Some(3072.0));
        assert_eq!(bytes("VmRSS:\t    x kB\n", "VmRSS:"), None);
        let numbers: Vec<String> = (4..=30).map(|number| number.to_string()).collect();
        let stat = format!("7 (a) 1 b) S {}", numbers.join(" "));
        assert_eq!(start_ticks(&stat), Some(22), "the 22nd field, as proc(5) counts");
        assert_eq!(start_ticks(""), None);
    }
}
