//! PURE. Owns which fields of a pod jobdock does not honour yet, so that each is named in a Warning and none is dropped
//! in silence; what this engine lacks is `unenforced`'s. Never refuses a pod: a volume that cannot be had is refused where
//! volumes are planned.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::facts::NodeFacts;
use crate::model::validation::resources::HUGE_PAGES;

/// Resources whose limits are enforced.
const ENFORCED: [&str; 3] = ["cpu", "memory", super::limits::EPHEMERAL_STORAGE];

/// Paths of the fields that are set and have no effect, each with a word on why where it is not just not done yet.
pub fn ignored(spec: &PodSpec, node: &NodeFacts) -> Vec<String> {
    let mut out = Vec::new();
    let mut flag = |set: bool, path: &str| {
        if set {
            out.push(path.to_owned());
        }
    };
    flag(spec.host_users == Some(false), "spec.hostUsers");
    flag(some(&spec.resource_claims), "spec.resourceClaims");
    flag(spec.scheduling_group.is_some(), "spec.schedulingGroup");
    flag(some(&spec.ephemeral_containers), "spec.ephemeralContainers");
    for (list, containers) in
        [("initContainers", spec.init_containers.as_deref().unwrap_or_default()), ("containers", &spec.containers)]
    {
        for (index, container) in containers.iter().enumerate() {
            of_container(container, &format!("spec.{list}[{index}]"), node, &mut out);
        }
    }
    out
}

fn some<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn of_container(container: &Container, path: &str, node: &NodeFacts, out: &mut Vec<String>) {
    let mut flag = |set: bool, field: &str| {
        if set {
            out.push(format!("{path}.{field}"));
        }
    };
    flag(some(&container.volume_devices), "volumeDevices");
    let limits = container.resources.iter().flat_map(|resources| resources.limits.iter().flatten());
    // Huge pages are counted for scheduling; `unenforced` says that their limits are not held.
    let enforced =
        |name: &str| ENFORCED.contains(&name) || name.starts_with(HUGE_PAGES) || node.devices.contains_key(name);
    for (name, _) in limits.filter(|(name, _)| !enforced(name)) {
        flag(true, &format!("resources.limits[{name}]"));
    }
    let security = container.security_context.as_ref();
    flag(security.is_some_and(|security| security.se_linux_options.is_some()), "securityContext.seLinuxOptions");
}
