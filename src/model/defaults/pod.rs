//! Owns the defaults of pods and pod templates, and what the server sets on a pod before it is stored.
//! Never schedules and never starts anything.

use k8s_openapi::api::core::v1::{
    Container, Pod, PodCondition, PodSecurityContext, PodSpec, PodStatus, PodTemplateSpec, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{containers, disabled, set, set_text, volumes};
use crate::model::quantity::Quantity;

/// Annotations in which init containers were written before they were fields; upstream removes them on the way in.
const INIT_CONTAINER_ANNOTATIONS: [&str; 4] = [
    "pod.beta.kubernetes.io/init-containers",
    "pod.alpha.kubernetes.io/init-containers",
    "pod.beta.kubernetes.io/init-container-statuses",
    "pod.alpha.kubernetes.io/init-container-statuses",
];

/// `SetDefaults_Pod` and all below it.
pub fn pod(pod: &mut Pod) {
    drop_annotations(&mut pod.metadata);
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec);
    set(&mut spec.enable_service_links, true);
    let host_network = spec.host_network.unwrap_or(false);
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        containers::requests_from_limits(container.resources.as_mut());
        if host_network {
            containers::host_ports(container.ports.as_deref_mut());
        }
    }
}

/// The defaults of a template: those of a pod, less what materialises only in the pod itself.
pub fn pod_template_spec(template: &mut PodTemplateSpec) {
    if let Some(meta) = &mut template.metadata {
        drop_annotations(meta);
    }
    pod_spec(template.spec.get_or_insert_default());
}

/// `SetDefaults_PodSpec` and all below it.
fn pod_spec(spec: &mut PodSpec) {
    set_text(&mut spec.dns_policy, "ClusterFirst");
    set_text(&mut spec.restart_policy, "Always");
    set(&mut spec.security_context, PodSecurityContext::default());
    set(&mut spec.termination_grace_period_seconds, 30);
    set_text(&mut spec.scheduler_name, "default-scheduler");
    service_account(spec);
    containers::resource_list(spec.overhead.as_mut());
    containers::resources(spec.resources.as_mut());
    spec.volumes.iter_mut().flatten().for_each(volumes::volume);
    spec.init_containers.iter_mut().flatten().for_each(containers::container);
    spec.containers.iter_mut().for_each(containers::container);
    spec.ephemeral_containers.iter_mut().flatten().for_each(containers::ephemeral_container);
}

/// The deprecated name of the service account's field always says the same as the field.
fn service_account(spec: &mut PodSpec) {
    let name = spec.service_account_name.take().filter(|name| !name.is_empty()).or_else(|| spec.service_account.take());
    spec.service_account.clone_from(&name);
    spec.service_account_name = name;
}

fn drop_annotations(meta: &mut ObjectMeta) {
    let Some(annotations) = &mut meta.annotations else { return };
    for name in INIT_CONTAINER_ANNOTATIONS {
        annotations.remove(name);
    }
    meta.annotations.take_if(|annotations| annotations.is_empty());
}

/// What the server sets on a new pod: it is Pending, at generation 1, with its quality of service.
pub fn prepare_create(pod: &mut Pod) {
    pod.metadata.generation = Some(1);
    let spec = pod.spec.get_or_insert_default();
    disabled::drop_disabled(spec, None);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let condition = PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        ..PodCondition::default()
    };
    pod.status = Some(PodStatus {
        phase: Some("Pending".to_owned()),
        qos_class: Some(qos_class(spec).to_owned()),
        conditions: gated.then(|| vec![condition]),
        ..PodStatus::default()
    });
}

/// What an update of a pod leaves as it was: the status. A changed spec raises the generation.
pub fn prepare_update(new: &mut Pod, old: &Pod) {
    new.status.clone_from(&old.status);
    if let Some(spec) = &mut new.spec {
        disabled::drop_disabled(spec, old.spec.as_ref());
    }
    new.metadata.generation = old.metadata.generation;
    if new.spec != old.spec {
        new.metadata.generation = old.metadata.generation.map(|generation| generation + 1);
    }
}

/// What a resize of a pod leaves as it was: all but the resources of its containers. Where containers come, go or change
/// places it leaves everything as it was sent: validation refuses that.
///
/// Parity: `dropNonResizeUpdates` of the pod's registry.
pub fn prepare_resize(new: &mut Pod, old: &Pod) {
    new.status.clone_from(&old.status);
    let (Some(sent), Some(before)) = (&new.spec, &old.spec) else { return };
    let mut spec = before.clone();
    let init = |spec: &PodSpec| spec.init_containers.clone().unwrap_or_default();
    let matched = resized(&mut spec.containers, &sent.containers)
        && resized(spec.init_containers.as_deref_mut().unwrap_or_default(), &init(sent));
    if matched {
        new.spec = Some(spec);
    }
    let meta = ObjectMeta { managed_fields: new.metadata.managed_fields.take(), ..old.metadata.clone() };
    new.metadata = meta;
    if new.spec != old.spec {
        new.metadata.generation = old.metadata.generation.map(|generation| generation + 1);
    }
}

/// Gives containers the resources that were sent; says whether they are the same containers.
fn resized(containers: &mut [Container], sent: &[Container]) -> bool {
    let same = containers.len() == sent.len() && containers.iter().zip(sent).all(|(one, other)| one.name == other.name);
    if same {
        for (container, sent) in containers.iter_mut().zip(sent) {
            container.resources.clone_from(&sent.resources);
            container.resize_policy.clone_from(&sent.resize_policy);
        }
    }
    same
}

/// What a status update of a pod leaves as it was: the spec, owners, the deletion.
pub fn prepare_status_update(new: &mut Pod, old: &Pod) {
    new.spec.clone_from(&old.spec);
    new.metadata.owner_references.clone_from(&old.metadata.owner_references);
    new.metadata.generation = old.metadata.generation;
    new.metadata.deletion_timestamp = None;
    if let (Some(status), Some(before)) = (&mut new.status, &old.status) {
        status.qos_class.clone_from(&before.qos_class);
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by the CPU and memory of all containers.
///
/// Parity: `qos.ComputePodQOS`.
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let all: Vec<&Container> = spec.containers.iter().chain(spec.init_containers.iter().flatten()).collect();
    let given = |container: &&Container| container.resources.as_ref().is_some_and(asks_anything);
    if !all.iter().any(given) {
        return "BestEffort";
    }
    if all.iter().all(|container| container.resources.as_ref().is_some_and(is_guaranteed)) {
        return "Guaranteed";
    }
    "Burstable"
}

fn amount(resources: &ResourceRequirements, limit: bool, name: &str) -> Option<Quantity> {
    let list = if limit { &resources.limits } else { &resources.requests };
    let text = &list.as_ref()?.get(name)?.0;
    Quantity::parse(text).ok().filter(|amount| !amount.is_zero() && !amount.is_negative())
}

fn asks_anything(resources: &ResourceRequirements) -> bool {
    ["cpu", "memory"].iter().any(|name| [true, false].iter().any(|limit| amount(resources, *limit, name).is_some()))
}

fn is_guaranteed(resources: &ResourceRequirements) -> bool {
    ["cpu", "memory"].iter().all(|name| {
        let limit = amount(resources, true, name);
        // A request that is not given is the limit.
        let request = amount(resources, false, name);
        limit.is_some() && request.is_none_or(|request| Some(request) == limit)
    })
}
