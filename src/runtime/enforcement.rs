//! PURE. Owns which limits an engine enforces, read from what it says of itself. Never decides what follows for a pod.
//!
//! An engine that lacks a control of the kernel drops some limits without a word to the pod (D27), and refuses others.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Something that a container can be held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// The most memory.
    Memory,
    /// The most memory with swap; without it a limit of memory leaves swap open.
    Swap,
    /// The most processor time.
    CpuQuota,
    /// The share of a busy processor.
    CpuShares,
    /// The most processes.
    Pids,
}

impl Bound {
    const ALL: [Self; 5] = [Self::Memory, Self::Swap, Self::CpuQuota, Self::CpuShares, Self::Pids];

    /// How the engine's warnings call it, in lower case.
    fn sign(self) -> &'static str {
        match self {
            Self::Memory => "no memory limit support",
            Self::Swap => "no swap limit support",
            Self::CpuQuota => "no cpu cfs quota support",
            Self::CpuShares => "no cpu shares support",
            Self::Pids => "no pids limit support",
        }
    }
}

/// What an engine holds containers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enforcement {
    /// What it cannot hold them to.
    pub lacks: BTreeSet<Bound>,
    /// Why it cannot.
    pub cause: Cause,
}

/// Where an engine's limits come from, and so why they may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// Control groups of version 2.
    #[default]
    CgroupV2,
    /// Control groups of version 1.
    CgroupV1,
    /// Version 2, of which a user without root has only what was delegated.
    Delegated,
    /// None at all: a user without root, and nothing was delegated.
    Undelegated,
}

impl Cause {
    /// The engine runs without root.
    pub fn is_rootless(self) -> bool {
        match self {
            Self::Delegated | Self::Undelegated => true,
            Self::CgroupV1 | Self::CgroupV2 => false,
        }
    }

    /// For people: why something is missing.
    pub fn words(self) -> &'static str {
        match self {
            Self::CgroupV2 => "the engine's kernel does not offer it (cgroup v2)",
            Self::CgroupV1 => "the engine's kernel does not offer it (cgroup v1)",
            Self::Delegated => "the rootless engine was not given that controller (cgroup v2 delegation)",
            Self::Undelegated => "the rootless engine has no cgroups (it needs cgroup v2 and systemd)",
        }
    }
}

/// The part of `GET /info` that is about limits.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LimitsReply {
    memory_limit: Option<bool>,
    swap_limit: Option<bool>,
    #[serde(rename = "CpuCfsQuota", alias = "CPUCfsQuota")]
    cpu_quota: Option<bool>,
    #[serde(rename = "CPUShares")]
    cpu_shares: Option<bool>,
    pids_limit: Option<bool>,
    cgroup_driver: Option<String>,
}

/// What follows from the reply, the engine's own warnings, its version of cgroups and whether it runs without root.
/// What it does not speak of it is taken to have.
pub fn enforcement(reply: &LimitsReply, warnings: &[String], cgroup_version: u8, rootless: bool) -> Enforcement {
    let none = reply.cgroup_driver.as_deref() == Some("none") || (rootless && cgroup_version == 1);
    let cause = match (rootless, cgroup_version) {
        _ if none => Cause::Undelegated,
        (true, _) => Cause::Delegated,
        (false, 1) => Cause::CgroupV1,
        (false, _) => Cause::CgroupV2,
    };
    let flag = |bound: Bound| match bound {
        Bound::Memory => reply.memory_limit,
        Bound::Swap => reply.swap_limit,
        Bound::CpuQuota => reply.cpu_quota,
        Bound::CpuShares => reply.cpu_shares,
        Bound::Pids => reply.pids_limit,
    };
    let warned = |bound: Bound| warnings.iter().any(|line| line.to_lowercase().contains(bound.sign()));
    let lacks = Bound::ALL.into_iter().filter(|bound| none || flag(*bound) == Some(false) || warned(*bound));
    Enforcement { lacks: lacks.collect(), cause }
}
