//! Owns the rules of environment variables and of the references that they, and downward API files, are made from.
//! Never resolves a reference.
//!
//! Parity: core's `ValidateEnv`, `ValidateEnvFrom` and their selectors at 1.32.

use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector,
};

use super::{amount, labels, metadata, names, paths, text};
use crate::model::field::{Errors, Path};

/// Fields that a variable can show.
const IN_ENV: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields that a file can show.
pub const IN_FILES: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Fields that exist, here or there.
const KNOWN: &[&str] = &["spec.restartPolicy", "spec.schedulerName", "status.phase", "spec.host"];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTE_DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A container's `env`.
pub fn env(errors: &mut Errors, vars: Option<&Vec<EnvVar>>, path: &Path<'_>) {
    for (index, var) in vars.into_iter().flatten().enumerate() {
        let path = path.index(index);
        if !errors.required_if_empty(&path.child("name"), &var.name) {
            errors.invalid_each(&path.child("name"), &var.name, names::env_name(&var.name));
        }
        if let Some(source) = &var.value_from {
            value_from(errors, source, !text(&var.value).is_empty(), &path.child("valueFrom"));
        }
    }
}

fn value_from(errors: &mut Errors, source: &EnvVarSource, has_value: bool, path: &Path<'_>) {
    let mut sources = 0;
    if let Some(field) = &source.field_ref {
        sources += 1;
        field_ref(errors, field, IN_ENV, &path.child("fieldRef"));
    }
    if let Some(resource) = &source.resource_field_ref {
        sources += 1;
        resource_field_ref(errors, resource, &path.child("resourceFieldRef"), false);
    }
    if let Some(key) = &source.config_map_key_ref {
        sources += 1;
        key_ref(errors, &key.name, &key.key, &path.child("configMapKeyRef"));
    }
    if let Some(key) = &source.secret_key_ref {
        sources += 1;
        key_ref(errors, &key.name, &key.key, &path.child("secretKeyRef"));
    }
    if let Some(file) = &source.file_key_ref {
        sources += 1;
        file_key_ref(errors, file, &path.child("fileKeyRef"));
    }
    if sources == 0 {
        let words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        errors.invalid(path, &"", words);
    } else if has_value {
        errors.invalid(path, &"", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(path, &"", "may not have more than one field specified at a time");
    }
}

fn key_ref(errors: &mut Errors, name: &str, key: &str, path: &Path<'_>) {
    errors.invalid_each(&path.child("name"), &name, metadata::subdomain_name(name, false));
    let path = path.child("key");
    if !errors.required_if_empty(&path, key) {
        errors.invalid_each(&path, &key, names::config_key(key));
    }
}

/// Parity: newer than 1.32; as the newest upstream has it.
fn file_key_ref(errors: &mut Errors, file: &FileKeySelector, path: &Path<'_>) {
    if !errors.required_if_empty(&path.child("key"), &file.key) {
        errors.invalid_each(&path.child("key"), &file.key, names::env_name(&file.key));
    }
    if !errors.required_if_empty(&path.child("volumeName"), &file.volume_name) {
        errors.invalid_each(&path.child("volumeName"), &file.volume_name, names::dns_label(&file.volume_name));
    }
    if !errors.required_if_empty(&path.child("path"), &file.path) {
        paths::relative_not_reserved(errors, &file.path, &path.child("path"));
    }
}

/// A field of the pod; `allowed` are the whole fields, besides single labels and annotations.
pub fn field_ref(errors: &mut Errors, field: &ObjectFieldSelector, allowed: &[&str], path: &Path<'_>) {
    let version = text(&field.api_version);
    let name = field.field_path.as_str();
    if errors.required_if_empty(&path.child("apiVersion"), version)
        || errors.required_if_empty(&path.child("fieldPath"), name)
    {
        return;
    }
    let field_path = path.child("fieldPath");
    let subscript = name.strip_suffix("']").and_then(|rest| rest.split_once("['")).filter(|(map, _)| !map.is_empty());
    let problem = match subscript {
        _ if version != "v1" => Some(format!("unsupported pod version: {version}")),
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {name}")),
        None if IN_ENV.contains(&name) || IN_FILES.contains(&name) || KNOWN.contains(&name) => None,
        None => Some(format!("field label not supported: {name}")),
    };
    if let Some(problem) = problem {
        errors.invalid(&field_path, &name, &format!("error converting fieldPath: {problem}"));
        return;
    }
    match subscript {
        Some(("metadata.annotations", key)) => labels::label_name(errors, &key.to_lowercase(), path),
        Some((_, key)) => labels::label_name(errors, key, path),
        // Parity: the oldest clients say `spec.host`.
        None => errors.one_of(&field_path, if name == "spec.host" { "spec.nodeName" } else { name }, allowed),
    }
}

/// A resource of a container, which a file must name.
pub fn resource_field_ref(errors: &mut Errors, field: &ResourceFieldSelector, path: &Path<'_>, in_file: bool) {
    let name = field.resource.as_str();
    let huge = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
    if in_file && text(&field.container_name).is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if !errors.required_if_empty(&path.child("resource"), name) && !huge {
        errors.one_of(&path.child("resource"), name, RESOURCES);
    }
    let Some(divisor) = field.divisor.as_ref().filter(|divisor| !amount::of(divisor).is_zero()) else { return };
    let (allowed, what): (&[&str], &str) = match name {
        "limits.cpu" | "requests.cpu" => {
            if !["1m", "1"].contains(&divisor.0.as_str()) {
                let words = "only divisor's values 1m and 1 are supported with the cpu resource";
                errors.invalid(&path.child("divisor"), &name, words);
            }
            return;
        }
        "limits.memory" | "requests.memory" => (BYTE_DIVISORS, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (BYTE_DIVISORS, "local ephemeral storage"),
        _ if huge => (BYTE_DIVISORS, "hugepages"),
        _ => return,
    };
    if !allowed.contains(&divisor.0.as_str()) {
        let values = allowed.join(", ");
        let words = format!("only divisor's values {values} are supported with the {what} resource");
        errors.invalid(&path.child("divisor"), &name, &words);
    }
}

/// A container's `envFrom`. Parity: what is wrong with the number of sources is said of the list, not of its item.
pub fn env_from(errors: &mut Errors, sources: Option<&Vec<EnvFromSource>>, path: &Path<'_>) {
    for (index, source) in sources.into_iter().flatten().enumerate() {
        let item = path.index(index);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            errors.invalid_each(&item.child("prefix"), &prefix, names::env_name(prefix));
        }
        let mut count = 0;
        if let Some(map) = &source.config_map_ref {
            count += 1;
            source_name(errors, &map.name, &item.child("configMapRef"));
        }
        if let Some(secret) = &source.secret_ref {
            count += 1;
            source_name(errors, &secret.name, &item.child("secretRef"));
        }
        match count {
            0 => errors.invalid(path, &"", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(path, &"", "may not have more than one field specified at a time"),
        }
    }
}

fn source_name(errors: &mut Errors, name: &str, path: &Path<'_>) {
    let path = path.child("name");
    if !errors.required_if_empty(&path, name) {
        errors.invalid_each(&path, &name, metadata::subdomain_name(name, true));
    }
}
