//! PURE. Owns what the Pod Security Standards make of a pod, of a template, of the pods of a namespace: refused, noted,
//! warned of. Never reads a namespace: `security` does.
//!
//! ```text
//!  labels -> policy (a standard each for enforce, audit, warn) -> checks -> findings -> words
//! ```
//!
//! Parity: upstream's pod-security-admission as of 1.37, without exemptions, as it is configured by default.

mod baseline;
mod checks;
mod policy;
mod restricted;
mod words;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::checks::{Subject, broken};
pub(super) use self::policy::{Policy, Standard, read};
use self::words::{details, reasons};
use crate::model::validation::{SECCOMP_CONTAINER, SECCOMP_POD};

/// What a policy says of a pod, or of what pods are made of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Why the pod may not be.
    pub(super) refusal: Option<String>,
    /// What is to be noted of it.
    pub(super) note: Option<String>,
    /// What its maker is warned of.
    pub(super) warning: Option<String>,
}

impl Verdict {
    /// Of a pod.
    pub(super) fn of_pod(policy: &Policy, meta: &ObjectMeta, spec: &PodSpec) -> Self {
        let enforced = policy.enforce;
        let refusal =
            violation(enforced, meta, spec).map(|what| format!("violates PodSecurity \"{enforced}\": {what}"));
        // Parity: who is refused is not warned as well.
        let told = Self::of_template(policy, meta, spec);
        let warning = told.warning.filter(|_| refusal.is_none());
        Self { refusal, warning, ..told }
    }

    /// Of what pods are made of: it is refused nothing, its pods are.
    pub(super) fn of_template(policy: &Policy, meta: &ObjectMeta, spec: &PodSpec) -> Self {
        let would = |standard: Standard| {
            let what = violation(standard, meta, spec)?;
            Some(format!("would violate PodSecurity \"{standard}\": {what}"))
        };
        Self { refusal: None, note: would(policy.audit), warning: would(policy.warn) }
    }
}

fn violation(standard: Standard, meta: &ObjectMeta, spec: &PodSpec) -> Option<String> {
    let found = broken(standard, meta, spec);
    (!found.is_empty()).then(|| details(&found))
}

/// Whether an update of a pod changes anything that the standards look at and that an update may change.
pub(super) fn is_significant(new: &Pod, old: &Pod) -> bool {
    let annotation = |pod: &Pod, key: &str| pod.metadata.annotations.as_ref().and_then(|all| all.get(key).cloned());
    let containers = |pod: &Pod| {
        let mut all: Vec<(String, Option<String>, Option<String>)> = Vec::new();
        let spec = pod.spec.clone().unwrap_or_default();
        Subject { meta: &pod.metadata, spec: &spec }.each(|container: &Container| {
            let profile = annotation(pod, &format!("{SECCOMP_CONTAINER}{}", container.name));
            all.push((container.name.clone(), container.image.clone(), profile));
        });
        all
    };
    annotation(new, SECCOMP_POD) != annotation(old, SECCOMP_POD) || containers(new) != containers(old)
}

/// The pods of a namespace beside a standard that they are to be held to from now on.
#[derive(Debug)]
pub(super) struct Census {
    standard: Standard,
    checked: usize,
    /// By what they break: the first pod by name, and how many there are.
    found: BTreeMap<String, (String, usize)>,
}

impl Census {
    /// Nobody was looked at yet.
    pub(super) fn new(standard: Standard) -> Self {
        Self { standard, checked: 0, found: BTreeMap::new() }
    }

    /// Looks at a pod.
    pub(super) fn count(&mut self, pod: &Pod) {
        self.checked += 1;
        let Some(spec) = &pod.spec else { return };
        let found = broken(self.standard, &pod.metadata, spec);
        if found.is_empty() {
            return;
        }
        let name = pod.metadata.name.clone().unwrap_or_default();
        let (first, count) = self.found.entry(reasons(&found)).or_insert_with(|| (name.clone(), 0));
        *count += 1;
        if name < *first {
            *first = name;
        }
    }

    /// What whoever asks for the standard is warned of; `beyond` pods were not looked at.
    pub(super) fn warnings(&self, namespace: &str, beyond: usize) -> Vec<String> {
        let mut warnings = Vec::new();
        if beyond > 0 {
            let (checked, all) = (self.checked, self.checked + beyond);
            warnings.push(format!(
                "new PodSecurity enforce level only checked against the first {checked} of {all} existing pods"
            ));
        }
        if !self.found.is_empty() {
            let standard = self.standard;
            warnings.push(format!(
                "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{standard}\""
            ));
        }
        let mut pods: Vec<String> = self.found.iter().map(|(why, (first, count))| told(first, *count, why)).collect();
        pods.sort();
        warnings.extend(pods);
        warnings
    }
}

/// `a: privileged`, `a (and 2 other pods): privileged`.
fn told(first: &str, count: usize, why: &str) -> String {
    match count.saturating_sub(1) {
        0 => format!("{first}: {why}"),
        1 => format!("{first} (and 1 other pod): {why}"),
        others => format!("{first} (and {others} other pods): {why}"),
    }
}

#[cfg(test)]
#[path = "pod_security/tests.rs"]
mod tests;
