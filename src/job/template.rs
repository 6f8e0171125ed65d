//! Owns how a pod is made from a Job's template: names, owner, finalizer, and for Indexed Jobs the index in annotation,
//! label, hostname and environment. Never mints a name's random end or a uid: the store does.
//!
//! Parity: upstream's `GetPodFromTemplate` and the helpers of `indexed_job_utils.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::pods::{FAILURE_COUNT, IGNORED_FAILURE_COUNT, INDEX, Member, TRACKING_FINALIZER};
use super::rules::Rules;

/// The environment variable that tells a container its index.
const INDEX_ENV: &str = "JOB_COMPLETION_INDEX";
/// Longest `generateName` that is not cut: a DNS label's 63 characters less the five that are added.
pub const MAX_GENERATE_NAME: usize = 58;

/// A new pod of the Job; with an index for Indexed Jobs. `replaces` is the failed pod whose failure count it carries on.
pub fn pod(job: &Job, rules: &Rules<'_>, index: Option<i32>, replaces: Option<&Member<'_>>) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let from = template.metadata.unwrap_or_default();
    let mut finalizers = from.finalizers.unwrap_or_default();
    if !finalizers.iter().any(|name| name == TRACKING_FINALIZER) {
        finalizers.push(TRACKING_FINALIZER.to_owned());
    }
    let mut meta = ObjectMeta {
        annotations: from.annotations,
        finalizers: Some(finalizers),
        generate_name: Some(generate_name(job, index)),
        labels: from.labels,
        namespace: job.metadata.namespace.clone(),
        owner_references: Some(vec![owner(job)]),
        ..ObjectMeta::default()
    };
    let mut spec = template.spec.unwrap_or_default();
    if let Some(index) = index {
        place(job, rules, index, replaces, &mut meta, &mut spec);
    }
    Pod { metadata: meta, spec: Some(spec), status: None }
}

/// The reference that makes the Job the controlling owner.
pub fn owner(job: &Job) -> OwnerReference {
    OwnerReference {
        api_version: "batch/v1".to_owned(),
        block_owner_deletion: Some(true),
        controller: Some(true),
        kind: "Job".to_owned(),
        name: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
    }
}

fn place(
    job: &Job,
    rules: &Rules<'_>,
    index: i32,
    replaces: Option<&Member<'_>>,
    meta: &mut ObjectMeta,
    spec: &mut PodSpec,
) {
    let text = index.to_string();
    let annotations = meta.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert(INDEX.to_owned(), text.clone());
    if rules.backoff_limit_per_index.is_some() {
        let (counted, ignored) = replaces.map_or((0, 0), next_failure_counts);
        annotations.insert(FAILURE_COUNT.to_owned(), counted.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED_FAILURE_COUNT.to_owned(), ignored.to_string());
        }
    }
    meta.labels.get_or_insert_with(BTreeMap::new).insert(INDEX.to_owned(), text);
    spec.hostname = Some(format!("{}-{index}", job.metadata.name.as_deref().unwrap_or_default()));
    let init = spec.init_containers.iter_mut().flatten();
    for container in init.chain(&mut spec.containers) {
        add_index_env(container);
    }
}

fn next_failure_counts(replaced: &Member<'_>) -> (i32, i32) {
    let counts = replaced.verdict.as_ref().is_none_or(|verdict| verdict.counts);
    let (counted, ignored) = (replaced.failure_count(), replaced.ignored_failure_count());
    if counts { (counted.saturating_add(1), ignored) } else { (counted, ignored.saturating_add(1)) }
}

/// A variable of that name that the manifest sets stays as it is.
fn add_index_env(container: &mut Container) {
    let env = container.env.get_or_insert_with(Vec::new);
    if env.iter().any(|variable| variable.name == INDEX_ENV) {
        return;
    }
    let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    env.push(EnvVar {
        name: INDEX_ENV.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    });
}

/// `<job>-`, or `<job>-<index>-` with the Job's name cut so that the index survives.
fn generate_name(job: &Job, index: Option<i32>) -> String {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let Some(index) = index else { return format!("{name}-") };
    let end = format!("-{index}-");
    // Names of Jobs are ASCII, so any cut is a character's boundary; a name that is not keeps its length.
    let kept = name.get(..name.len().min(MAX_GENERATE_NAME - end.len())).unwrap_or(name);
    format!("{kept}{end}")
}
