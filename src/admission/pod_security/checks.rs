//! PURE. Owns which checks a standard consists of, and their order. Never judges a field: `baseline` and `restricted` do.
//!
//! Parity: upstream's registry of checks: those of baseline first, both in the order of their ids; a check of restricted
//! takes the place of the one of baseline that it covers.
//! Differs: from 1.35 on, upstream asks less of a pod with `hostUsers: false` (it may be root and see all of /proc). An
//! engine maps users for all of its containers or for none, so here the field gives a pod nothing, and spares it nothing.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::policy::{Level, Standard, Version};
use super::words::Finding;
use super::{baseline, restricted};
use crate::model::field::Path;
use crate::model::validation::each_container;

/// The minor version of a standard.
pub(super) type Minor = u32;

/// A pod, or what pods are made of.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) meta: &'a ObjectMeta,
    pub(super) spec: &'a PodSpec,
}

impl Subject<'_> {
    /// Visits every container: init, regular, ephemeral.
    pub(super) fn each(&self, mut visit: impl FnMut(&Container)) {
        each_container(self.spec, &Path::new("spec"), |container, _| visit(container));
    }

    /// The names of the containers that `is_bad` is true of.
    pub(super) fn containers(&self, is_bad: impl Fn(&Container) -> bool) -> Vec<String> {
        let mut names = Vec::new();
        self.each(|container| {
            if is_bad(container) {
                names.push(container.name.clone());
            }
        });
        names
    }

    /// Whether it is for Windows, where much of `restricted` means nothing.
    pub(super) fn is_windows(&self) -> bool {
        self.spec.os.as_ref().is_some_and(|os| os.name == "windows")
    }
}

type Find = fn(&Subject<'_>, Minor) -> Option<Finding>;

/// One check: from which version on it is made, and from which on `restricted` has its own in its place.
struct Check {
    level: Level,
    since: Minor,
    covered_since: Option<Minor>,
    find: Find,
}

const fn baseline(since: Minor, find: Find) -> Check {
    Check { level: Level::Baseline, since, covered_since: None, find }
}

const fn covered(covered_since: Minor, find: Find) -> Check {
    Check { level: Level::Baseline, since: 0, covered_since: Some(covered_since), find }
}

const fn restricted(since: Minor, find: Find) -> Check {
    Check { level: Level::Restricted, since, covered_since: None, find }
}

const CHECKS: &[Check] = &[
    baseline(0, baseline::app_armor),
    covered(22, baseline::capabilities),
    baseline(0, baseline::host_namespaces),
    covered(0, baseline::host_paths),
    baseline(0, baseline::host_ports),
    baseline(34, baseline::host_probes),
    baseline(0, baseline::privileged),
    covered(35, baseline::proc_mount),
    baseline(0, baseline::se_linux),
    covered(19, baseline::seccomp),
    baseline(0, baseline::sysctls),
    baseline(0, baseline::host_process),
    restricted(8, restricted::escalation),
    restricted(22, restricted::capabilities),
    restricted(35, baseline::proc_mount),
    restricted(0, restricted::volumes),
    restricted(0, restricted::non_root),
    restricted(23, restricted::root_user),
    restricted(19, restricted::seccomp),
];

/// Everything that a pod breaks of a standard, in upstream's order.
pub(in crate::admission) fn broken(standard: Standard, meta: &ObjectMeta, spec: &PodSpec) -> Vec<Finding> {
    let minor = match standard.version {
        Version::Minor(minor) => minor,
        Version::Latest => Minor::MAX,
    };
    let applies = |check: &&Check| {
        let is_covered =
            standard.level == Level::Restricted && check.covered_since.is_some_and(|covered| covered <= minor);
        check.level <= standard.level && check.since <= minor && !is_covered
    };
    let subject = Subject { meta, spec };
    CHECKS.iter().filter(applies).filter_map(|check| (check.find)(&subject, minor)).collect()
}
