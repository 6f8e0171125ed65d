//! Owns the measuring of what the node has left: memory, disk, processes, and what a container takes of the memory.
//! Never decides: `pressure` does. It looks at this machine; with an engine elsewhere a container cannot be seen.

use std::fs;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::pressure::{Reading, Readings, Signal};

/// Where the kernel shows its control groups: all of them (v2), or below the name of each controller (v1).
const CGROUPS: &str = "/sys/fs/cgroup";
/// What stands there before and after a container's id: with systemd and without.
const GROUPS: [(&str, &str); 2] = [("system.slice/docker-", ".scope"), ("docker/", "")];
/// Where the kernel keeps its accounts of huge pages.
const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages";
/// Where the engine keeps images unless it is told otherwise; where that is not to be seen, images are not watched.
const IMAGES: &str = "/var/lib/docker";

/// Measures everything that can be measured. `files` is where pods' files are.
pub fn read(files: &Path) -> Readings {
    let (bytes, inodes) = disk(files).unzip();
    let all = [
        (Signal::Memory, memory()),
        (Signal::Nodefs, bytes),
        (Signal::NodefsInodes, inodes.filter(|inodes| inodes.capacity > 0)),
        (Signal::Imagefs, disk(Path::new(IMAGES)).map(|(bytes, _)| bytes)),
        (Signal::Pid, processes()),
    ];
    all.into_iter().filter_map(|(signal, reading)| Some((signal, reading?))).collect()
}

/// Huge pages that this machine has set aside: the size of one, and all of that size, in bytes.
pub fn huge_pages() -> Vec<(u64, u64)> {
    let read = |path: std::path::PathBuf| -> Option<(u64, u64)> {
        let name = path.file_name()?.to_str()?;
        let size: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let count: u64 = fs::read_to_string(path.join("nr_hugepages")).ok()?.trim().parse().ok()?;
        Some((size * 1024, count * size * 1024))
    };
    let dirs = fs::read_dir(HUGE_PAGES).into_iter().flatten();
    let mut found: Vec<(u64, u64)> = dirs.filter_map(|dir| read(dir.ok()?.path())).collect();
    found.sort_unstable();
    found
}

/// Bytes of swap that this machine has; none where that cannot be seen.
pub fn swap() -> Option<u64> {
    meminfo("SwapTotal")
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// `MemAvailable` counts what the kernel can take back, as the kubelet's working set leaves it out.
fn memory() -> Option<Reading> {
    Some(Reading { available: meminfo("MemAvailable")?, capacity: meminfo("MemTotal")? })
}

fn disk(path: &Path) -> Option<(Reading, Reading)> {
    // The directory may still have to be made: what matters is the disk.
    let there = path.ancestors().find(|path| path.exists())?;
    let seen = statvfs(there).ok()?;
    let unit = seen.fragment_size();
    let bytes = Reading { available: seen.blocks_available() * unit, capacity: seen.blocks() * unit };
    Some((bytes, Reading { available: seen.files_available(), capacity: seen.files() }))
}

/// Threads that run, beside the most that there may be.
fn processes() -> Option<Reading> {
    let most: u64 = fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let running: u64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some(Reading { available: most.saturating_sub(running), capacity: most })
}

/// Memory that a container takes, by its engine's id; none where it cannot be seen.
pub fn memory_of(id: &str) -> Option<u64> {
    counted("memory", ["memory.current", "memory.usage_in_bytes"], id)
}

/// Processes and threads that a container has, by its engine's id; none where they cannot be seen.
pub fn pids_of(id: &str) -> Option<u64> {
    counted("pids", ["pids.current"; 2], id)
}

/// A number that a controller keeps of a container, in its file of cgroup v2 or of v1.
fn counted(controller: &str, [newer, older]: [&str; 2], id: &str) -> Option<u64> {
    let versions = [(CGROUPS.to_owned(), newer), (format!("{CGROUPS}/{controller}"), older)];
    let mut files = versions
        .iter()
        .flat_map(|(root, file)| GROUPS.map(|(before, after)| format!("{root}/{before}{id}{after}/{file}")));
    files.find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}
