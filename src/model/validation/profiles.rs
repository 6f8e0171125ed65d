//! Owns the rules of seccomp and AppArmor profiles: fields, the older annotations, and that both say the same.
//! Never loads a profile.
//!
//! Parity: core's `validateSeccompProfileField`, `ValidateAppArmorProfileField` and their annotation twins at 1.32.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile};

use super::{each_container, paths};
use crate::model::field::{Errors, Path, quote};

/// Annotation with a pod's seccomp profile.
pub const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// What such an annotation's key begins with for a container, whose name follows.
pub const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
/// What the key of an annotation with a container's AppArmor profile begins with; the container's name follows.
pub const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

const RUNTIME_DEFAULT: &str = "runtime/default";
const DOCKER_DEFAULT: &str = "docker/default";
const UNCONFINED: &str = "unconfined";
const LOCALHOST: &str = "localhost/";
const TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
/// Longest AppArmor profile: a path less its end.
const APP_ARMOR_MAX: usize = 4095;

/// A seccomp profile.
pub fn seccomp(errors: &mut Errors, profile: Option<&SeccompProfile>, path: &Path<'_>) {
    let Some(profile) = profile else { return };
    let kind = profile.type_.as_str();
    if kind.is_empty() {
        errors.required(&path.child("type"), "type is required when seccompProfile is set");
    } else {
        errors.one_of(&path.child("type"), kind, TYPES);
    }
    let path = path.child("localhostProfile");
    match (kind, &profile.localhost_profile) {
        ("Localhost", None) => errors.required(&path, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(file)) => paths::relative(errors, file, &path),
        (_, Some(file)) => errors.invalid(&path, file, "can only be set when seccomp type is Localhost"),
        (_, None) => {}
    }
}

/// An AppArmor profile.
pub fn app_armor(errors: &mut Errors, profile: Option<&AppArmorProfile>, path: &Path<'_>) {
    let Some(profile) = profile else { return };
    let name_path = path.child("localhostProfile");
    let must = "must be set when AppArmor type is Localhost";
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("Localhost", None) => errors.required(&name_path, must),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.invalid(&name_path, name, "must not be padded with whitespace");
            } else if name.is_empty() {
                errors.required(&name_path, must);
            }
            if name.len() > APP_ARMOR_MAX {
                errors.too_long(&name_path, APP_ARMOR_MAX);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.invalid(&name_path, name, "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => errors.required(&path.child("type"), "type is required when appArmorProfile is set"),
        (other, _) => errors.not_supported(&path.child("type"), &other, TYPES),
    }
}

/// The annotations with profiles.
pub fn annotations(errors: &mut Errors, annotations: &BTreeMap<String, String>, spec: &PodSpec, path: &Path<'_>) {
    if let Some(profile) = annotations.get(SECCOMP_POD) {
        seccomp_annotation(errors, profile, &path.child(SECCOMP_POD));
    }
    for (key, profile) in annotations.iter().filter(|(key, _)| key.starts_with(SECCOMP_CONTAINER)) {
        seccomp_annotation(errors, profile, &path.child(key));
    }
    for (key, profile) in annotations {
        let Some(name) = key.strip_prefix(APP_ARMOR) else { continue };
        let mut found = false;
        each_container(spec, path, |container, _| found |= container.name == name);
        if !found {
            errors.invalid(&path.key(key), &name, "container not found");
        }
        if !matches!(profile.as_str(), "" | RUNTIME_DEFAULT | UNCONFINED) && !profile.starts_with(LOCALHOST) {
            errors.invalid(&path.key(key), profile, &format!("invalid AppArmor profile name: {}", quote(profile)));
        }
    }
}

fn seccomp_annotation(errors: &mut Errors, profile: &str, path: &Path<'_>) {
    match profile {
        RUNTIME_DEFAULT | DOCKER_DEFAULT | UNCONFINED => {}
        _ => match profile.strip_prefix(LOCALHOST) {
            Some(file) => paths::relative(errors, file, path),
            None => errors.invalid(path, &profile, "must be a valid seccomp profile"),
        },
    }
}

/// On a create, annotation and field must say the same.
pub fn annotations_match(
    errors: &mut Errors,
    annotations: &BTreeMap<String, String>,
    spec: &PodSpec,
    spec_path: &Path<'_>,
) {
    let pod = spec.security_context.as_ref();
    if let (Some(annotation), Some(profile)) =
        (annotations.get(SECCOMP_POD), pod.and_then(|context| context.seccomp_profile.as_ref()))
    {
        let path = spec_path.child("securityContext");
        seccomp_matches(errors, annotation, profile, &path.child("seccompProfile"));
    }
    each_container(spec, spec_path, |container, path| {
        let profile = container.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
        let annotation = annotations.get(&format!("{SECCOMP_CONTAINER}{}", container.name));
        if let (Some(annotation), Some(profile)) = (annotation, profile) {
            let path = path.child("securityContext");
            seccomp_matches(errors, annotation, profile, &path.child("seccompProfile"));
        }
    });
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return;
    }
    each_container(spec, spec_path, |container, path| {
        let own = container.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
        let profile = own.or(pod.and_then(|context| context.app_armor_profile.as_ref()));
        let annotation = annotations.get(&format!("{APP_ARMOR}{}", container.name));
        if let (Some(annotation), Some(profile)) = (annotation, profile) {
            let path = path.child("securityContext");
            app_armor_matches(errors, annotation, profile, &path.child("appArmorProfile"));
        }
    });
}

fn seccomp_matches(errors: &mut Errors, annotation: &str, profile: &SeccompProfile, path: &Path<'_>) {
    let type_matches = match profile.type_.as_str() {
        "Unconfined" => annotation == UNCONFINED,
        "RuntimeDefault" => matches!(annotation, RUNTIME_DEFAULT | DOCKER_DEFAULT),
        "Localhost" => annotation.starts_with(LOCALHOST),
        _ => return,
    };
    if !type_matches {
        errors.forbidden(&path.child("type"), "seccomp type in annotation and field must match");
    } else if profile.type_ == "Localhost" && profile.localhost_profile.as_deref() != annotation.strip_prefix(LOCALHOST)
    {
        errors.forbidden(&path.child("localhostProfile"), "seccomp profile in annotation and field must match");
    }
}

fn app_armor_matches(errors: &mut Errors, annotation: &str, profile: &AppArmorProfile, path: &Path<'_>) {
    let type_matches = match profile.type_.as_str() {
        "Unconfined" => annotation == UNCONFINED,
        "RuntimeDefault" => annotation == RUNTIME_DEFAULT,
        "Localhost" => annotation.starts_with(LOCALHOST),
        _ => return,
    };
    if !type_matches {
        errors.forbidden(&path.child("type"), "apparmor type in annotation and field must match");
    } else if profile.type_ == "Localhost" && profile.localhost_profile.as_deref() != annotation.strip_prefix(LOCALHOST)
    {
        errors.forbidden(&path.child("localhostProfile"), "apparmor profile in annotation and field must match");
    }
}
