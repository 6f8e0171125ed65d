//! PURE. Owns which of a pod's demands this engine cannot meet, each by its field and with the reason, so that none is
//! dropped in silence. Never refuses a pod: it runs without them, and a Warning says so.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::facts::NodeFacts;
use super::restart;
use super::{bounds, quantity};
use crate::model::validation::resources::HUGE_PAGES;
use crate::runtime::enforcement::Bound;

/// A field that is set and not, or not wholly, honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unenforced {
    /// Its path: `spec.containers[0].resources.limits[memory]`.
    pub field: String,
    /// Why, as the end of a sentence.
    pub why: String,
}

/// Everything that the pod asks for and this engine does not enforce.
pub fn unenforced(spec: &PodSpec, node: &NodeFacts) -> Vec<Unenforced> {
    let mut out: Vec<Unenforced> = host_network(spec, node).into_iter().chain(isolation(spec, node)).collect();
    for (list, containers) in
        [("initContainers", spec.init_containers.as_deref().unwrap_or_default()), ("containers", &spec.containers)]
    {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("spec.{list}[{index}]");
            of_container(&mut out, container, &format!("{path}.resources"), node);
            let own = container.security_context.as_ref().is_some_and(|own| own.se_linux_options.is_some());
            out.extend((own && !node.selinux).then(|| label(&path)));
        }
    }
    if spec.resources.is_some() {
        of_pod(&mut out, spec, node);
    }
    out
}

/// What a limit or request of this resource needs of the engine.
fn needs(list: &str, resource: &str) -> &'static [Bound] {
    match (list, resource) {
        ("limits", "cpu") => &[Bound::CpuQuota],
        ("limits", "memory") => &[Bound::Memory, Bound::Swap],
        ("requests", "cpu") => &[Bound::CpuShares],
        _other => &[],
    }
}

/// What is missing for a limit or request of a resource, in words.
fn missing(list: &str, resource: &str, node: &NodeFacts) -> Option<String> {
    if list == "limits" && resource.starts_with(HUGE_PAGES) {
        return Some("the engine cannot bound huge pages".to_owned());
    }
    let lacks = &node.enforcement.lacks;
    let lacking = needs(list, resource).iter().find(|bound| lacks.contains(bound))?;
    let what = match lacking {
        Bound::Memory => "memory is not bounded",
        Bound::Swap => "swap beyond it is not bounded",
        Bound::CpuQuota => "processor time is not bounded",
        Bound::CpuShares => "it is scheduled by it and has no share of a busy processor",
        Bound::Pids => "processes are not bounded",
    };
    Some(format!("{what}, for {}", node.enforcement.cause.words()))
}

fn of_container(out: &mut Vec<Unenforced>, container: &Container, path: &str, node: &NodeFacts) {
    let Some(resources) = &container.resources else { return };
    for (list, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        let some = amounts.iter().flatten().filter(|(_, amount)| quantity::nanos(&amount.0) != Some(0));
        out.extend(some.filter_map(|(name, _)| {
            Some(Unenforced { field: format!("{path}.{list}[{name}]"), why: missing(list, name, node)? })
        }));
    }
}

/// The engine has no control group for a pod: each container is held to the pod's limit by itself.
fn of_pod(out: &mut Vec<Unenforced>, spec: &PodSpec, node: &NodeFacts) {
    let limits = spec.resources.iter().flat_map(|resources| resources.limits.iter().flatten());
    let together = |name: &str| restart::at_once(spec, |container| bounds::limit(spec, container, name).unwrap_or(0));
    for (name, limit) in limits {
        let why = if let Some(why) = missing("limits", name, node) {
            why
        } else if quantity::nanos(&limit.0).is_some_and(|most| together(name) > most) {
            "each container is held to it by itself, but not all of them together: the engine has no cgroup for a pod"
                .to_owned()
        } else {
            continue;
        };
        out.push(Unenforced { field: format!("spec.resources.limits[{name}]"), why });
    }
}

/// What the pod asks of its users and files as a whole.
fn isolation(spec: &PodSpec, node: &NodeFacts) -> Vec<Unenforced> {
    let mut out = Vec::new();
    if spec.host_users == Some(false) && !node.own_users {
        let why =
            "the engine was not set up to map users (userns-remap, rootless): root in the pod is root on the machine";
        out.push(Unenforced { field: "spec.hostUsers".to_owned(), why: why.to_owned() });
    }
    let Some(security) = &spec.security_context else { return out };
    if security.se_linux_options.is_some() && !node.selinux {
        out.push(label("spec"));
    }
    let claims = spec.volumes.iter().flatten();
    let mut claims = claims.filter(|volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some());
    // Unset means the same; who spells it out counts on it, and most claims hold what pods of that group wrote.
    if security.fs_group_change_policy.as_deref() == Some("Always") && claims.next().is_some() {
        let why = "only the top of a claim's volume is given to the group, and what is made in it from then on";
        out.push(Unenforced { field: "spec.securityContext.fsGroupChangePolicy".to_owned(), why: why.to_owned() });
    }
    out
}

fn label(path: &str) -> Unenforced {
    let why = "the engine gives containers no SELinux labels (SELinux is off there)".to_owned();
    Unenforced { field: format!("{path}.securityContext.seLinuxOptions"), why }
}

/// A network that is called the host's and is another's.
fn host_network(spec: &PodSpec, node: &NodeFacts) -> Option<Unenforced> {
    let why = match (node.enforcement.cause.is_rootless(), node.virtual_machine) {
        (true, _) => "the network is that of the rootless engine, not the machine's",
        (false, true) => "the network is that of the engine's virtual machine, not this machine's",
        (false, false) => return None,
    };
    (spec.host_network == Some(true)).then(|| Unenforced { field: "spec.hostNetwork".to_owned(), why: why.to_owned() })
}
