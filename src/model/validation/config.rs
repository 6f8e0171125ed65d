//! Owns the rules of ConfigMaps and Secrets.
//!
//! Parity: core's `ValidateConfigMap`, `ValidateSecret` and their updates at 1.32.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::{metadata, names, text};
use crate::model::field::{Errors, FieldError, Path};

/// The type of Secrets that hold an account's token.
pub const ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";

/// Most bytes of values in a ConfigMap or Secret.
const SIZE_MAX: usize = 1024 * 1024;

/// Every problem of a new ConfigMap.
pub fn config_map(map: &ConfigMap) -> Vec<FieldError> {
    let mut errors = Errors::new();
    check_config_map(&mut errors, map);
    errors.into_vec()
}

fn check_config_map(errors: &mut Errors, map: &ConfigMap) {
    metadata::create(errors, &map.metadata, true, metadata::subdomain_name);
    let mut size = 0;
    let path = Path::new("data");
    for (key, value) in map.data.iter().flatten() {
        errors.invalid_each(&path.key(key), key, names::config_key(key));
        if map.binary_data.as_ref().is_some_and(|data| data.contains_key(key)) {
            errors.invalid(&path.key(key), key, "duplicate of key present in binaryData");
        }
        size += value.len();
    }
    let path = Path::new("binaryData");
    for (key, value) in map.binary_data.iter().flatten() {
        errors.invalid_each(&path.key(key), key, names::config_key(key));
        size += value.0.len();
    }
    if size > SIZE_MAX {
        errors.too_long(&Path::new(""), SIZE_MAX);
    }
}

/// Every problem of an update of a ConfigMap.
pub fn config_map_update(new: &ConfigMap, old: &ConfigMap) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    if old.immutable == Some(true) {
        frozen(&mut errors, "immutable", new.immutable == Some(true));
        frozen(&mut errors, "data", filled(&new.data) == filled(&old.data));
        frozen(&mut errors, "binaryData", filled(&new.binary_data) == filled(&old.binary_data));
    }
    check_config_map(&mut errors, new);
    errors.into_vec()
}

fn filled<T>(map: &Option<BTreeMap<String, T>>) -> Option<&BTreeMap<String, T>> {
    map.as_ref().filter(|map| !map.is_empty())
}

fn frozen(errors: &mut Errors, field: &str, same: bool) {
    if !same {
        errors.forbidden(&Path::new(field), "field is immutable when `immutable` is set");
    }
}

/// Every problem of a new Secret.
pub fn secret(secret: &Secret) -> Vec<FieldError> {
    let mut errors = Errors::new();
    check_secret(&mut errors, secret);
    errors.into_vec()
}

fn check_secret(errors: &mut Errors, secret: &Secret) {
    metadata::create(errors, &secret.metadata, true, metadata::subdomain_name);
    let none = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&none);
    let path = Path::new("data");
    for key in data.keys() {
        errors.invalid_each(&path.key(key), key, names::config_key(key));
    }
    if data.values().map(|value| value.0.len()).sum::<usize>() > SIZE_MAX {
        errors.too_long(&path, SIZE_MAX);
    }
    by_type(errors, secret, data, &path);
}

/// Some types need some keys.
fn by_type(errors: &mut Errors, secret: &Secret, data: &BTreeMap<String, ByteString>, path: &Path<'_>) {
    let need = |errors: &mut Errors, key: &str| {
        if !data.contains_key(key) {
            errors.required(&path.key(key), "");
        }
    };
    match text(&secret.type_) {
        ACCOUNT_TOKEN => {
            let key = "kubernetes.io/service-account.name";
            let name = secret.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
            if name.is_none_or(String::is_empty) {
                errors.required(&Path::new("metadata.annotations").key(key), "");
            }
        }
        "kubernetes.io/dockercfg" => docker_config(errors, data, ".dockercfg", path),
        "kubernetes.io/dockerconfigjson" => docker_config(errors, data, ".dockerconfigjson", path),
        "kubernetes.io/basic-auth" if !data.contains_key("username") && !data.contains_key("password") => {
            need(errors, "username");
            need(errors, "password");
        }
        "kubernetes.io/ssh-auth" if data.get("ssh-privatekey").is_none_or(|key| key.0.is_empty()) => {
            errors.required(&path.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            need(errors, "tls.crt");
            need(errors, "tls.key");
        }
        _ => {}
    }
}

fn docker_config(errors: &mut Errors, data: &BTreeMap<String, ByteString>, key: &str, path: &Path<'_>) {
    let path = path.key(key);
    let Some(content) = data.get(key) else { return errors.required(&path, "") };
    if let Err(problem) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&content.0) {
        errors.invalid(&path, &"<secret contents redacted>", &problem.to_string());
    }
}

/// Every problem of an update of a Secret.
pub fn secret_update(new: &Secret, old: &Secret) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    let kind = text(&new.type_);
    errors.immutable(&Path::new("type"), &kind, &text(&old.type_), &kind);
    if old.immutable == Some(true) {
        frozen(&mut errors, "immutable", new.immutable == Some(true));
        frozen(&mut errors, "data", filled(&new.data) == filled(&old.data));
    }
    check_secret(&mut errors, new);
    errors.into_vec()
}
