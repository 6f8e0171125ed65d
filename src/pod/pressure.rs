//! PURE. Owns when the node is short of something, what is told of it, and which pod goes for it. Never measures:
//! `signals` does; never ends a pod: `squeeze` marks it, and its plan ends it.
//!
//! Parity: `pkg/kubelet/eviction` (hard thresholds, the ranks of `helpers.go`, `evictionMessage`), the conditions of
//! `pkg/kubelet/nodestatus`. Differs: no soft thresholds; a pod whose end would give nothing back is not taken.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::model::quantity::Quantity;

/// How long a condition stands after its signal was last short, so that it does not come and go. Parity:
/// `evictionPressureTransitionPeriod`.
const TRANSITION: SignedDuration = SignedDuration::from_secs(300);
/// Pods of this priority or more are never taken. Parity: `SystemCriticalPriority`.
const CRITICAL: i32 = 2_000_000_000;
/// The least that a pod must hold of a disk to be taken for it.
const LEAST_RELIEF: u64 = 1 << 20;
/// What is watched where nobody says otherwise. Differs: the kubelet wants 10 % of the disk free (15 % for images), which
/// suits a machine that has nothing but pods on it.
pub const DEFAULT: &str = "memory.available<100Mi,nodefs.available<1Gi,nodefs.inodesFree<1%,imagefs.available<1Gi";

/// What is measured. Parity: upstream's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Memory that can be had.
    Memory,
    /// Room on the disk of pods' files.
    Nodefs,
    /// Files that can still be made there.
    NodefsInodes,
    /// Room on the disk of images.
    Imagefs,
    /// Processes that can still be made.
    Pid,
}

impl Signal {
    const ALL: [Self; 5] = [Self::Memory, Self::Nodefs, Self::NodefsInodes, Self::Imagefs, Self::Pid];

    /// As a threshold names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::Nodefs => "nodefs.available",
            Self::NodefsInodes => "nodefs.inodesFree",
            Self::Imagefs => "imagefs.available",
            Self::Pid => "pid.available",
        }
    }
}

/// A condition that stands while some signal is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// `MemoryPressure`.
    Memory,
    /// `DiskPressure`.
    Disk,
    /// `PIDPressure`.
    Pid,
}

/// How a condition is told: type, the taint that goes with it, reason and message where it holds, and where it does not.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// The condition's type.
    pub kind: &'static str,
    /// Key of the taint that keeps pods out.
    pub taint: &'static str,
    /// Where it holds.
    pub short: (&'static str, &'static str),
    /// Where it does not.
    pub calm: (&'static str, &'static str),
}

impl Shortage {
    /// Each, in the order of a node's conditions.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Pid];

    fn of(signal: Signal) -> Self {
        match signal {
            Signal::Memory => Self::Memory,
            Signal::Nodefs | Signal::NodefsInodes | Signal::Imagefs => Self::Disk,
            Signal::Pid => Self::Pid,
        }
    }

    /// Upstream's words.
    pub fn words(self) -> Words {
        match self {
            Self::Memory => Words {
                kind: "MemoryPressure",
                taint: "node.kubernetes.io/memory-pressure",
                short: ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
                calm: ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            },
            Self::Disk => Words {
                kind: "DiskPressure",
                taint: "node.kubernetes.io/disk-pressure",
                short: ("KubeletHasDiskPressure", "kubelet has disk pressure"),
                calm: ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            },
            Self::Pid => Words {
                kind: "PIDPressure",
                taint: "node.kubernetes.io/pid-pressure",
                short: ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
                calm: ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            },
        }
    }
}

/// Below which a signal is short.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub signal: Signal,
    /// The least that has to be there.
    pub least: Least,
}

/// A number, or a share of what there is in all.
#[derive(Clone, Debug, PartialEq)]
pub enum Least {
    /// Bytes, files or processes, as they were written.
    Quantity(Quantity),
    /// Hundredths of the capacity.
    Percent(f64),
}

impl Least {
    /// As a number, where there is so much in all.
    pub fn of(&self, capacity: u64) -> u64 {
        match self {
            Self::Quantity(quantity) => u64::try_from(quantity.units()).unwrap_or(0),
            Self::Percent(percent) => (capacity as f64 * percent / 100.0) as u64,
        }
    }
}

/// What was measured of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What is left.
    pub available: u64,
    /// What there is in all.
    pub capacity: u64,
}

/// What was measured; a signal that cannot be is not there, and never short.
pub type Readings = BTreeMap<Signal, Reading>;

/// Reads thresholds as the kubelet's `--eviction-hard` writes them; the error says what is allowed.
pub fn thresholds(text: &str) -> Result<Vec<Threshold>, String> {
    let mut out: Vec<Threshold> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('<') else {
            return Err(format!("{part:?}: give SIGNAL<QUANTITY, such as memory.available<100Mi"));
        };
        let Some(signal) = Signal::ALL.into_iter().find(|signal| signal.name() == name) else {
            let known = Signal::ALL.map(Signal::name).join(", ");
            return Err(format!("unknown signal {name:?}: give one of {known}"));
        };
        if out.iter().any(|threshold| threshold.signal == signal) {
            return Err(format!("{name} is given twice"));
        }
        out.push(Threshold { signal, least: least(value)? });
    }
    Ok(out)
}

fn least(value: &str) -> Result<Least, String> {
    let wrong = || format!("{value:?}: give a quantity such as 100Mi, or a share such as 10%");
    match value.strip_suffix('%') {
        Some(share) => {
            let share: f64 = share.parse().map_err(|_| wrong())?;
            if (0.0..=100.0).contains(&share) { Ok(Least::Percent(share)) } else { Err(wrong()) }
        }
        None => {
            let quantity = Quantity::parse(value).map_err(|_| wrong())?;
            if quantity.is_negative() { Err(wrong()) } else { Ok(Least::Quantity(quantity)) }
        }
    }
}

/// When each condition's signals were last short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pressure(BTreeMap<Shortage, Timestamp>);

impl Pressure {
    /// What is known after a measurement.
    pub fn after(mut self, thresholds: &[Threshold], readings: &Readings, now: Timestamp) -> Self {
        for short in short(thresholds, readings) {
            self.0.insert(Shortage::of(short.signal), now);
        }
        self.0.retain(|_, at| now.duration_since(*at) < TRANSITION);
        self
    }

    /// Whether a condition stands.
    pub fn holds(&self, shortage: Shortage) -> bool {
        self.0.contains_key(&shortage)
    }
}

/// A signal that is short.
#[derive(Clone, Debug, PartialEq)]
pub struct Short {
    /// Which.
    pub signal: Signal,
    /// The least that has to be there, and what is.
    pub least: u64,
    /// What is there.
    pub available: u64,
}

/// The signals that are short now.
pub fn short(thresholds: &[Threshold], readings: &Readings) -> Vec<Short> {
    let seen = thresholds.iter().filter_map(|threshold| Some((threshold, readings.get(&threshold.signal)?)));
    seen.map(|(threshold, reading)| Short {
        signal: threshold.signal,
        least: threshold.least.of(reading.capacity),
        available: reading.available,
    })
    .filter(|short| short.available < short.least)
    .collect()
}

/// A pod that could make room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Its uid.
    pub uid: String,
    /// Its priority.
    pub priority: i32,
    /// It is being ended already.
    pub ending: bool,
    /// Its containers.
    pub containers: Vec<Use>,
    /// What its volumes take beside them.
    pub volumes: u64,
}

/// What a container asked for and takes, in bytes, or of processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Use {
    /// Its name.
    pub name: String,
    /// What it asked for.
    pub request: u64,
    /// What it takes; none where that cannot be seen.
    pub usage: Option<u64>,
}

impl Candidate {
    fn request(&self) -> u64 {
        self.containers.iter().map(|container| container.request).sum()
    }

    fn usage(&self) -> Option<u64> {
        self.containers.iter().try_fold(self.volumes, |sum, container| Some(sum + container.usage?))
    }

    /// Those that take more than they asked for (or of which nothing can be seen) first, then by priority, then by how
    /// much more. Parity: nobody asks for processes, so all that have any take more.
    fn rank(&self) -> (bool, i32, Reverse<i128>) {
        let Some(usage) = self.usage() else { return (false, self.priority, Reverse(i128::MAX)) };
        (usage <= self.request(), self.priority, Reverse(i128::from(usage) - i128::from(self.request())))
    }

    /// Its end would make room; where nothing can be seen, it might.
    fn gives(&self, scarce: Scarce) -> bool {
        self.usage().is_none_or(|usage| usage >= scarce.relief())
    }
}

/// What pods can give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    /// Memory.
    Memory,
    /// Room on a disk.
    Disk,
    /// Files on a disk.
    Inodes,
    /// Processes.
    Pids,
}

impl Scarce {
    /// What the signal is about.
    fn of(signal: Signal) -> Self {
        match signal {
            Signal::Memory => Self::Memory,
            Signal::Nodefs | Signal::Imagefs => Self::Disk,
            Signal::NodefsInodes => Self::Inodes,
            Signal::Pid => Self::Pids,
        }
    }

    /// Upstream's name. Parity: `signalToResource`.
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }

    /// Less than this is not worth a pod: an empty container's few files would not help a full disk.
    fn relief(self) -> u64 {
        match self {
            Self::Memory | Self::Pids => 0,
            Self::Disk | Self::Inodes => LEAST_RELIEF,
        }
    }

    /// Whether it is counted in bytes, by container, so that the message can tell who takes how much.
    fn is_told(self) -> bool {
        matches!(self, Self::Memory | Self::Disk)
    }
}

/// What a pod is taken for first: memory before all else, as upstream sorts its thresholds.
pub fn scarce(shorts: &[Short]) -> Option<Scarce> {
    shorts.iter().map(|short| short.signal).min().map(Scarce::of)
}

/// The pod that goes for what is scarce, with what is said of it; the candidates' use is of that. None while an earlier
/// one is still ending: what it gives is not known yet.
pub fn victim<'c>(shorts: &[Short], candidates: &'c [Candidate]) -> Option<(&'c Candidate, String)> {
    let short = shorts.iter().min_by_key(|short| short.signal)?;
    let scarce = Scarce::of(short.signal);
    if candidates.iter().any(|candidate| candidate.ending) {
        return None;
    }
    let able = candidates.iter().filter(|one| one.priority < CRITICAL && one.gives(scarce));
    let victim = able.min_by_key(|one| one.rank())?;
    Some((victim, message(short, victim)))
}

fn message(short: &Short, victim: &Candidate) -> String {
    let bytes = |value: u64| Quantity::from_bytes(i64::try_from(value).unwrap_or(i64::MAX)).canonical();
    let scarce = Scarce::of(short.signal);
    let name = scarce.name();
    let (least, available) = match scarce {
        Scarce::Memory | Scarce::Disk => (bytes(short.least), kibibytes(short.available)),
        Scarce::Inodes | Scarce::Pids => (short.least.to_string(), short.available.to_string()),
    };
    let mut text =
        format!("The node was low on resource: {name}. Threshold quantity: {least}, available: {available}. ");
    for container in victim.containers.iter().filter(|_| scarce.is_told()) {
        let Some(usage) = container.usage.filter(|usage| *usage > container.request) else { continue };
        text += &format!(
            "Container {} was using {}, request is {}, has larger consumption of {name}. ",
            container.name,
            kibibytes(usage),
            bytes(container.request)
        );
    }
    text
}

/// Parity: `formatThreshold` prints what was measured in whole Ki.
fn kibibytes(bytes: u64) -> String {
    format!("{}Ki", bytes / 1024)
}
