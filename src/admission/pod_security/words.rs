//! PURE. Owns how the findings of checks are said: upstream's lists, plurals and subjects.
//! Never finds anything.

use std::collections::BTreeSet;

/// What a pod breaks: why in short, and who does it with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admission) struct Finding {
    reason: String,
    detail: String,
}

impl Finding {
    pub(super) fn new(reason: &str, detail: String) -> Self {
        Self { reason: reason.to_owned(), detail }
    }
}

/// Every finding with its detail: `privileged (container "main" must not set …), hostPort (…)`.
pub(in crate::admission) fn details(findings: &[Finding]) -> String {
    let texts: Vec<String> = findings.iter().map(|found| format!("{} ({})", found.reason, found.detail)).collect();
    texts.join(", ")
}

/// Every finding in short: `privileged, hostPort`.
pub(in crate::admission) fn reasons(findings: &[Finding]) -> String {
    findings.iter().map(|found| found.reason.as_str()).collect::<Vec<_>>().join(", ")
}

/// `"a", "b"`. Parity: what stands inside is not escaped.
pub(super) fn quoted<'a>(items: impl IntoIterator<Item = &'a String>) -> String {
    items.into_iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
}

pub(super) fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn containers(names: &[String]) -> String {
    format!("{} {}", plural(names.len(), "container", "containers"), quoted(names))
}

/// Who set what they must not set: the pod, some of its containers, annotations.
#[derive(Debug, Default)]
pub(super) struct Setters {
    pub(super) pod: bool,
    pub(super) containers: Vec<String>,
    pub(super) annotations: usize,
}

impl Setters {
    /// `pod and containers "a", "b"`; none where nobody did.
    pub(super) fn text(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.pod {
            parts.push("pod".to_owned());
        }
        if !self.containers.is_empty() {
            parts.push(containers(&self.containers));
        }
        if self.annotations > 0 {
            parts.push(plural(self.annotations, "annotation", "annotations").to_owned());
        }
        (!parts.is_empty()).then(|| parts.join(" and "))
    }
}

/// Who set something to a forbidden value, and to which.
#[derive(Debug, Default)]
pub(super) struct Offence {
    pub(super) by: Setters,
    pub(super) values: BTreeSet<String>,
}
