//! Owns what the manifests of a run say: read, checked as a whole, ready to be sent.
//! Never starts anything: every problem of every source is told before that.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use super::check;
use super::sources::Source;
use crate::cli::exit::Failure;
use crate::model::kind::Kind;
use crate::model::{canonical, defaults, schema};

/// One object to create.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its namespace; empty for one that is cluster-scoped, or not settled yet.
    pub namespace: String,
    /// Its name; empty where the server generates it.
    pub name: String,
    /// The object as it is sent.
    pub value: Value,
    /// Where it stands: `job.yaml:12`.
    pub origin: String,
    /// What is odd about it, with its place, in the server's words.
    pub warnings: Vec<String>,
}

impl Manifest {
    /// Whether it is a Job.
    pub fn is_job(&self) -> bool {
        *self.kind == *Kind::of::<Job>()
    }

    /// Whether this is the Job's name. A name that is generated is no Job's.
    pub fn is_named_as(&self, job: &Job) -> bool {
        let meta = &job.metadata;
        meta.name.as_ref() == Some(&self.name) && meta.namespace.as_ref() == Some(&self.namespace)
    }

    /// Whether a Job that was made from it would be like this one: the same in all that its spec says, once the server
    /// has filled that in.
    pub fn makes(&self, job: &Job) -> bool {
        let Some(mut anew) = self.job() else { return false };
        anew.metadata.uid.clone_from(&job.metadata.uid);
        defaults::job(&mut anew);
        defaults::job::prepare_create(&mut anew);
        canonical_spec(&anew) == canonical_spec(job)
    }

    /// The Job, if it is one.
    pub fn job(&self) -> Option<Job> {
        if self.is_job() { serde_json::from_value(self.value.clone()).ok() } else { None }
    }

    /// Its name, or what its name is generated from.
    pub fn title(&self) -> String {
        if self.name.is_empty() {
            let prefix = self.value.pointer("/metadata/generateName").and_then(Value::as_str).unwrap_or_default();
            return format!("{prefix}…");
        }
        self.name.clone()
    }
}

/// A Job's spec without what may be written or left out alike.
fn canonical_spec(job: &Job) -> Value {
    let mut value = json!(job);
    canonical::tidy(&mut value, schema::of(Kind::of::<Job>()));
    value["spec"].take()
}

/// Reads every source and checks everything: what is returned can be sent.
pub fn read(sources: &[Source], namespace: Option<&str>) -> Result<Vec<Manifest>, Failure> {
    let mut manifests = Vec::new();
    let mut problems = Vec::new();
    for source in sources {
        for checked in check::source(source) {
            match checked {
                Ok(manifest) => manifests.push(manifest),
                Err(found) => problems.extend(found),
            }
        }
    }
    if let Some(namespace) = namespace {
        problems.extend(manifests.iter().filter_map(|manifest| elsewhere(manifest, namespace)));
        place(&mut manifests, namespace);
    }
    problems.extend(repeated(&manifests));
    if problems.is_empty() && !manifests.iter().any(Manifest::is_job) {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        problems.push(format!("{}: no Job in it: there is nothing to run", names.join(", ")));
    }
    if !problems.is_empty() {
        return Err(Failure::Usage(problems.join("\n")));
    }
    manifests.sort_by_key(|manifest| check::KINDS.iter().position(|kind| *kind == manifest.kind.kind));
    Ok(manifests)
}

/// Gives a namespace to objects that name none.
pub fn place(manifests: &mut [Manifest], namespace: &str) {
    for manifest in manifests.iter_mut().filter(|manifest| manifest.kind.namespaced && manifest.namespace.is_empty()) {
        manifest.namespace = namespace.to_owned();
        manifest.value["metadata"]["namespace"] = json!(namespace);
    }
}

/// The namespaces that the objects are in, but for those that are among the objects.
pub fn namespaces(manifests: &[Manifest]) -> BTreeSet<&str> {
    let made = |name: &str| manifests.iter().any(|manifest| manifest.kind.kind == "Namespace" && manifest.name == name);
    let used = manifests.iter().map(|manifest| manifest.namespace.as_str());
    used.filter(|name| !name.is_empty() && !made(name)).collect()
}

/// Parity: kubectl refuses an object that names another namespace than the command line.
fn elsewhere(manifest: &Manifest, namespace: &str) -> Option<String> {
    let Manifest { origin, kind, namespace: own, .. } = manifest;
    (!own.is_empty() && own != namespace).then(|| {
        let title = manifest.title();
        let kind = kind.kind;
        format!(
            "{origin}: {kind} {title} is in namespace {own:?}, and --namespace asks for {namespace:?}: leave out one"
        )
    })
}

/// Two objects of one name.
fn repeated(manifests: &[Manifest]) -> Vec<String> {
    let mut seen: BTreeMap<(&str, &str, &str), &Manifest> = BTreeMap::new();
    let mut problems = Vec::new();
    for manifest in manifests.iter().filter(|manifest| !manifest.name.is_empty()) {
        let key = (manifest.kind.kind, manifest.namespace.as_str(), manifest.name.as_str());
        match seen.get(&key) {
            Some(first) => problems.push(format!(
                "{}: {} {} is defined twice, first in {}",
                manifest.origin,
                manifest.kind.kind,
                manifest.title(),
                first.origin
            )),
            None => {
                seen.insert(key, manifest);
            }
        }
    }
    problems
}
