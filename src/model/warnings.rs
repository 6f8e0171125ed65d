//! Owns what the server warns of without refusing it, for Jobs, CronJobs and pods.
//! Never refuses: the rules stand in `validation`. What volumes are warned of stands in `warnings_volumes`.
//!
//! Parity: `pkg/api/pod/warnings.go`, `pkg/api/job/warnings.go` and the strategies of batch at 1.32. A warning is
//! given once, as the server's recorder does it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, EnvVar, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, PodTemplateSpec,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::field::{Path, quote};
use super::validation::{APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD, each_container, is_whole, names};
use super::warnings_volumes;

/// From more completions than this on, together with more pods than below, an Indexed Job can lose track.
const COMPLETIONS_SOFT_LIMIT: i32 = 100_000;
/// See [`COMPLETIONS_SOFT_LIMIT`].
const PARALLELISM_SOFT_LIMIT: i32 = 10_000;

/// With how many entries before it each port or file is compared: there are no more of them in a sane pod, and
/// upstream sends no more than 4 KiB of warnings.
pub(super) const COMPARED_MAX: usize = 100;

const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// Annotations that no longer do anything.
const DEPRECATED_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

/// Node labels that have newer names: old name, since when, new name.
const DEPRECATED_NODE_LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];

/// What a new Job, or an update that changes its spec, is warned of.
pub fn job(new: &Job, old: Option<&Job>) -> Vec<String> {
    let mut warnings = Warnings::default();
    match old {
        None => controller_name(&mut warnings, &new.metadata),
        Some(old) if old.metadata.generation == new.metadata.generation => return warnings.texts,
        Some(_) => {}
    }
    if let Some(spec) = &new.spec {
        job_spec(&mut warnings, spec, &Path::new("spec"));
    }
    warnings.texts
}

/// What a new CronJob, or an update that changes its spec, is warned of.
pub fn cron_job(new: &CronJob, old: Option<&CronJob>) -> Vec<String> {
    let mut warnings = Warnings::default();
    let changed = match old {
        None => {
            controller_name(&mut warnings, &new.metadata);
            true
        }
        Some(old) => old.metadata.generation != new.metadata.generation,
    };
    let spec = &new.spec;
    if let Some(job) = spec.job_template.spec.as_ref().filter(|_| changed) {
        job_spec(&mut warnings, job, &Path::new("spec.jobTemplate.spec"));
    }
    if spec.schedule.contains("TZ") {
        let page = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/";
        let words = "CRON_TZ or TZ used in spec.schedule is not officially supported, see";
        warnings.push(format!("{words} {page} for more details"));
    }
    warnings.texts
}

/// What a new pod is warned of. Parity: updates are not looked at.
pub fn pod(new: &Pod, old: Option<&Pod>) -> Vec<String> {
    let mut warnings = Warnings::default();
    if old.is_some() {
        return warnings.texts;
    }
    let wrong = names::dns_label(new.metadata.name.as_deref().unwrap_or_default());
    if !wrong.is_empty() {
        let words = "this is used in the Pod's hostname, which can result in surprising behavior; \
                     a DNS label is recommended";
        warnings.push(format!("metadata.name: {words}: [{}]", wrong.join(" ")));
    }
    if let Some(spec) = &new.spec {
        pod_spec(&mut warnings, spec, Some(&new.metadata), &Path::new(""));
    }
    warnings.texts
}

/// What a template that stands alone is warned of.
pub fn pod_template(template: &PodTemplateSpec) -> Vec<String> {
    let mut warnings = Warnings::default();
    if let Some(spec) = &template.spec {
        pod_spec(&mut warnings, spec, template.metadata.as_ref(), &Path::new("template"));
    }
    warnings.texts
}

/// Most warnings of an object: far more than upstream's 4 KiB of them hold.
const WARNINGS_MAX: usize = 1000;

/// The warnings so far, each once.
#[derive(Default)]
pub(super) struct Warnings {
    texts: Vec<String>,
    seen: BTreeSet<String>,
}

impl Warnings {
    /// Adds one, unless it was given before.
    pub(super) fn push(&mut self, text: String) {
        if self.texts.len() < WARNINGS_MAX && self.seen.insert(text.clone()) {
            self.texts.push(text);
        }
    }
}

fn controller_name(warnings: &mut Warnings, meta: &ObjectMeta) {
    let wrong = names::dns_label(meta.name.as_deref().unwrap_or_default());
    if !wrong.is_empty() {
        let words = "this is used in Pod names and hostnames, which can result in surprising behavior; \
                     a DNS label is recommended";
        warnings.push(format!("metadata.name: {words}: [{}]", wrong.join(" ")));
    }
}

fn job_spec(warnings: &mut Warnings, spec: &JobSpec, path: &Path<'_>) {
    let huge = spec.completions.unwrap_or(0) > COMPLETIONS_SOFT_LIMIT
        && spec.parallelism.unwrap_or(0) > PARALLELISM_SOFT_LIMIT;
    if huge && spec.completion_mode.as_deref() == Some("Indexed") {
        let words = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than \
                     10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
        warnings.push(format!("{path}: {words}"));
    }
    if let Some(pod) = &spec.template.spec {
        pod_spec(warnings, pod, spec.template.metadata.as_ref(), &path.child("template"));
    }
}

fn pod_spec(warnings: &mut Warnings, spec: &PodSpec, meta: Option<&ObjectMeta>, path: &Path<'_>) {
    let none = BTreeMap::new();
    let annotations = meta.and_then(|meta| meta.annotations.as_ref()).unwrap_or(&none);
    let annotations_path = path.child("metadata.annotations");
    let path = path.child("spec");
    nodes(warnings, spec, &path);
    for (key, words) in DEPRECATED_ANNOTATIONS.iter().filter(|(key, _)| annotations.contains_key(*key)) {
        warnings.push(format!("{}: {words}", annotations_path.key(key)));
    }
    warnings_volumes::volumes(warnings, spec.volumes.as_deref().unwrap_or_default(), &path.child("volumes"));
    twice(warnings, spec, &path);
    let overhead_path = path.child("overhead");
    for name in ["memory", "ephemeral-storage"] {
        fractional(warnings, spec.overhead.as_ref().and_then(|amounts| amounts.get(name)), &overhead_path.key(name));
    }
    let seccomp = spec.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
    if seccomp.is_none() && annotations.contains_key(SECCOMP_POD) {
        warnings.push(format!("{}: {SECCOMP_WORDS}", annotations_path.key(SECCOMP_POD)));
    }
    each_container(spec, &path, |container, path| {
        profile_annotations(warnings, spec, container, annotations, &annotations_path);
        resources(warnings, container, &path.child("resources"));
        env(warnings, container.env.as_deref().unwrap_or_default(), &path.child("env"));
    });
    ports(warnings, spec, &path);
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let words = "must be >= 0; negative values are invalid and will be treated as 1";
        warnings.push(format!("{}: {words}", path.child("terminationGracePeriodSeconds")));
    }
    if let Some(affinity) = &spec.affinity {
        pod_affinity(warnings, affinity, &path.child("affinity"));
    }
}

fn deprecated_label(key: &str) -> Option<String> {
    let (_, since, name) = DEPRECATED_NODE_LABELS.iter().find(|(old, _, _)| *old == key)?;
    Some(format!("deprecated since {since}; use \"{name}\" instead"))
}

/// Old names of node labels, wherever nodes are chosen.
fn nodes(warnings: &mut Warnings, spec: &PodSpec, path: &Path<'_>) {
    let selector_path = path.child("nodeSelector");
    for key in spec.node_selector.iter().flatten().map(|(key, _)| key) {
        if let Some(words) = deprecated_label(key) {
            warnings.push(format!("{}: {words}", selector_path.key(key)));
        }
    }
    if let Some(affinity) = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref()) {
        let path = path.child("affinity.nodeAffinity");
        let required_path = path.child("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
        let required = affinity.required_during_scheduling_ignored_during_execution.iter();
        for (index, term) in required.flat_map(|selector| &selector.node_selector_terms).enumerate() {
            node_term(warnings, term, &required_path.index(index));
        }
        let preferred_path = path.child("preferredDuringSchedulingIgnoredDuringExecution");
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        for (index, term) in preferred.enumerate() {
            node_term(warnings, &term.preference, &preferred_path.index(index).child("preference"));
        }
    }
    let spread_path = path.child("topologySpreadConstraints");
    for (index, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let path = spread_path.index(index);
        if let Some(words) = deprecated_label(&constraint.topology_key) {
            warnings.push(format!("{}: {} is {words}", path.child("topologyKey"), constraint.topology_key));
        }
        if constraint.label_selector.is_none() {
            warnings.push(format!("{}: {NO_SELECTOR}", path.child("labelSelector")));
        }
    }
}

fn node_term(warnings: &mut Warnings, term: &NodeSelectorTerm, path: &Path<'_>) {
    let path = path.child("matchExpressions");
    for (index, expression) in term.match_expressions.iter().flatten().enumerate() {
        if let Some(words) = deprecated_label(&expression.key) {
            warnings.push(format!("{}: {} is {words}", path.index(index).child("key"), expression.key));
        }
    }
}

/// Entries that hide earlier ones.
fn twice(warnings: &mut Warnings, spec: &PodSpec, path: &Path<'_>) {
    let aliases_path = path.child("hostAliases");
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        if !seen.insert(&alias.ip) {
            warnings.push(format!("{}: duplicate ip {}", aliases_path.index(index).child("ip"), quote(&alias.ip)));
        }
    }
    let secrets_path = path.child("imagePullSecrets");
    let secrets = spec.image_pull_secrets.as_deref().unwrap_or_default();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, secret) in secrets.iter().enumerate() {
        if !seen.insert(&secret.name) {
            let path = secrets_path.index(index);
            warnings.push(format!("{}: duplicate name {}", path.child("name"), quote(&secret.name)));
        }
    }
    for (index, _) in secrets.iter().enumerate().filter(|(_, secret)| secret.name.is_empty()) {
        warnings.push(format!("{}: invalid empty name \"\"", secrets_path.index(index).child("name")));
    }
}

/// An amount of bytes that is no whole number of them.
pub(super) fn fractional(warnings: &mut Warnings, amount: Option<&Quantity>, path: &Path<'_>) {
    if let Some(amount) = amount.filter(|amount| !is_whole(amount)) {
        warnings.push(format!("{path}: fractional byte value {} is invalid, must be an integer", quote(&amount.0)));
    }
}

const SECCOMP_WORDS: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";

fn profile_annotations(
    warnings: &mut Warnings,
    spec: &PodSpec,
    container: &Container,
    annotations: &BTreeMap<String, String>,
    path: &Path<'_>,
) {
    let own = container.security_context.as_ref();
    let seccomp_key = format!("{SECCOMP_CONTAINER}{}", container.name);
    if own.is_none_or(|context| context.seccomp_profile.is_none()) && annotations.contains_key(&seccomp_key) {
        warnings.push(format!("{}: {SECCOMP_WORDS}", path.key(&seccomp_key)));
    }
    let has_field = own.is_some_and(|context| context.app_armor_profile.is_some())
        || spec.security_context.as_ref().is_some_and(|context| context.app_armor_profile.is_some());
    let app_armor_key = format!("{APP_ARMOR}{}", container.name);
    if !has_field && annotations.contains_key(&app_armor_key) {
        let words = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
        warnings.push(format!("{}: {words}", path.key(&app_armor_key)));
    }
}

fn resources(warnings: &mut Warnings, container: &Container, path: &Path<'_>) {
    let Some(resources) = &container.resources else { return };
    for name in ["memory", "ephemeral-storage"] {
        for (list, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            let amount = amounts.as_ref().and_then(|amounts| amounts.get(name));
            fractional(warnings, amount, &path.child(list).key(name));
        }
    }
}

/// A variable given again, unless it builds on what it was before.
fn env(warnings: &mut Warnings, vars: &[EnvVar], path: &Path<'_>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, var) in vars.iter().enumerate() {
        if seen.insert(&var.name) {
            continue;
        }
        let before = format!("$({})", var.name);
        let value = var.value.as_deref().unwrap_or_default();
        if var.value_from.is_some() || value == before || !value.contains(&before) {
            let words = "which may be dropped when using apply";
            let name = quote(&var.name);
            warnings.push(format!("{}: hides previous definition of {name}, {words}", path.index(index)));
        }
    }
}

/// Ports that stand twice, or that may or may not be the same.
fn ports(warnings: &mut Warnings, spec: &PodSpec, path: &Path<'_>) {
    /// Ports seen before, with their paths.
    type Seen = Vec<(String, ContainerPort)>;
    let mut seen: BTreeMap<(i32, Option<String>), Seen> = BTreeMap::new();
    each_container(spec, path, |container, path| {
        let path = path.child("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let place = path.index(index).to_string();
            let (host, address) = (host_port(port), host_ip(port));
            if !address.is_empty() && host == 0 {
                warnings.push(format!("{place}: hostIP set without hostPort: {}", go_port(port)));
            }
            let others = seen.entry((port.container_port, port.protocol.clone())).or_default();
            for (other_place, other) in others.iter().take(COMPARED_MAX) {
                let (other_host, other_address) = (host_port(other), host_ip(other));
                let what = if host == other_host && address == other_address {
                    "duplicate"
                } else if host == 0 || other_host == 0 {
                    "overlapping"
                } else if host == other_host && address.is_empty() != other_address.is_empty() {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                warnings.push(format!("{place}: {what} port definition with {other_place}"));
            }
            others.push((place, port.clone()));
        }
    });
}

fn host_port(port: &ContainerPort) -> i32 {
    port.host_port.unwrap_or(0)
}

fn host_ip(port: &ContainerPort) -> &str {
    port.host_ip.as_deref().unwrap_or_default()
}

/// A port as Go prints its struct.
fn go_port(port: &ContainerPort) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        port.name.as_deref().unwrap_or_default(),
        host_port(port),
        port.container_port,
        port.protocol.as_deref().unwrap_or_default(),
        host_ip(port)
    )
}

fn pod_affinity(warnings: &mut Warnings, affinity: &Affinity, path: &Path<'_>) {
    let together = affinity.pod_affinity.as_ref().map(|affinity| {
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
        ("podAffinity", required, affinity.preferred_during_scheduling_ignored_during_execution.as_ref())
    });
    let apart = affinity.pod_anti_affinity.as_ref().map(|affinity| {
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
        ("podAntiAffinity", required, affinity.preferred_during_scheduling_ignored_during_execution.as_ref())
    });
    for (name, required, preferred) in together.into_iter().chain(apart) {
        affinity_terms(warnings, required, preferred, &path.child(name));
    }
}

fn affinity_terms(
    warnings: &mut Warnings,
    required: Option<&Vec<PodAffinityTerm>>,
    preferred: Option<&Vec<WeightedPodAffinityTerm>>,
    path: &Path<'_>,
) {
    let required_path = path.child("requiredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in required.into_iter().flatten().enumerate() {
        if term.label_selector.is_none() {
            warnings.push(format!("{}: {NO_SELECTOR}", required_path.index(index).child("labelSelector")));
        }
    }
    let preferred_path = path.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in preferred.into_iter().flatten().enumerate() {
        if term.pod_affinity_term.label_selector.is_none() {
            let path = preferred_path.index(index);
            warnings.push(format!("{}: {NO_SELECTOR}", path.child("podAffinityTerm.labelSelector")));
        }
    }
}
