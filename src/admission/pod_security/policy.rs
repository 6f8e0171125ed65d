//! PURE. Owns what a namespace's labels ask of its pods: a level and a version of the Pod Security Standards for each of
//! enforce, audit and warn. Never looks at a pod: `checks` does.
//!
//! Parity: `PolicyToEvaluate` of upstream's pod-security-admission. A label that cannot be read asks for the most where
//! it enforces, and for nothing where it only tells.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::field::{Errors, FieldError, Path};

/// How strict a standard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::admission) enum Level {
    /// Asks for nothing.
    Privileged,
    /// Keeps known ways onto the node shut.
    Baseline,
    /// Hardened.
    Restricted,
}

const LEVELS: [(&str, Level); 3] =
    [("privileged", Level::Privileged), ("baseline", Level::Baseline), ("restricted", Level::Restricted)];

/// Of which Kubernetes the standard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admission) enum Version {
    /// v1.x.
    Minor(u32),
    /// The newest, whichever that is.
    Latest,
}

/// A standard that pods are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admission) struct Standard {
    pub(in crate::admission) level: Level,
    pub(in crate::admission) version: Version,
}

impl Standard {
    /// What holds where nothing is said. Parity: the defaults of the plugin's configuration.
    const NONE: Self = Self { level: Level::Privileged, version: Version::Latest };

    /// Whether this one asks for nothing that the other did not. Parity: versions are not compared, only told apart.
    pub(in crate::admission) fn is_relaxed_from(self, old: Self) -> bool {
        self.level == Level::Privileged || self.version == old.version && self.level <= old.level
    }
}

/// `baseline:latest`, `restricted:v1.25`.
impl fmt::Display for Standard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = LEVELS.iter().find(|(_, level)| *level == self.level).map_or("", |(name, _)| name);
        match self.version {
            Version::Minor(minor) => write!(out, "{level}:v1.{minor}"),
            Version::Latest => write!(out, "{level}:latest"),
        }
    }
}

/// What a namespace asks of its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admission) struct Policy {
    /// Pods that break it are refused.
    pub(in crate::admission) enforce: Standard,
    /// Whoever makes one that breaks it is noted.
    pub(in crate::admission) audit: Standard,
    /// Whoever makes one that breaks it is warned.
    pub(in crate::admission) warn: Standard,
}

impl Policy {
    /// Of a namespace that says nothing.
    pub(in crate::admission) const NONE: Self =
        Self { enforce: Standard::NONE, audit: Standard::NONE, warn: Standard::NONE };
}

/// Reads the labels of a namespace. There is a policy in any case, beside every problem of the labels.
pub(in crate::admission) fn read(labels: Option<&BTreeMap<String, String>>) -> (Policy, Vec<FieldError>) {
    let (mut policy, mut errors) = (Policy::NONE, Errors::new());
    let modes = [
        ("enforce", &mut policy.enforce, Level::Restricted),
        ("audit", &mut policy.audit, Level::Privileged),
        ("warn", &mut policy.warn, Level::Privileged),
    ];
    for (mode, standard, if_unreadable) in modes {
        let label = format!("pod-security.kubernetes.io/{mode}");
        standard.level = said(labels, &label, level, &mut errors, (standard.level, if_unreadable));
        let label = format!("{label}-version");
        standard.version = said(labels, &label, version, &mut errors, (standard.version, Version::Latest));
    }
    (policy, errors.into_vec())
}

/// What a label says, or else one of two: what holds without the label, what holds where it cannot be read.
fn said<T>(
    labels: Option<&BTreeMap<String, String>>,
    label: &str,
    parse: fn(&str) -> Result<T, &'static str>,
    errors: &mut Errors,
    (if_absent, if_unreadable): (T, T),
) -> T {
    let Some(value) = labels.and_then(|labels| labels.get(label)) else { return if_absent };
    parse(value).unwrap_or_else(|why| {
        errors.invalid(&Path::new("metadata").child("labels").key(label), value, why);
        if_unreadable
    })
}

fn level(text: &str) -> Result<Level, &'static str> {
    let found = LEVELS.iter().find(|(name, _)| *name == text);
    found.map(|(_, level)| *level).ok_or("must be one of privileged, baseline, restricted")
}

fn version(text: &str) -> Result<Version, &'static str> {
    if text == "latest" {
        return Ok(Version::Latest);
    }
    let digits = text.strip_prefix("v1.").filter(|digits| {
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number && (*digits == "0" || !digits.starts_with('0'))
    });
    let minor = digits.and_then(|digits| digits.parse().ok());
    minor.map(Version::Minor).ok_or("must be \"latest\" or \"v1.x\"")
}
