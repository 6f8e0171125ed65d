//! Owns the rules of volumes made of files that the cluster holds: ConfigMaps, Secrets, the downward API,
//! projections of these, and git.
//! Never reads what they name.
//!
//! Parity: core's `validateConfigMapVolumeSource`, `validateProjectionSources` and their like at 1.32.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource,
    GitRepoVolumeSource, KeyToPath, PodCertificateProjection, ProjectedVolumeSource, SecretVolumeSource,
    ServiceAccountTokenProjection, VolumeProjection,
};

use super::env::{self, IN_FILES};
use super::{labels, names, paths, text};
use crate::model::field::{Errors, Json, Path};

/// Shortest life of a service account token, in seconds.
const TOKEN_SECONDS_MIN: i64 = 10 * 60;
/// Longest life of a service account token, in seconds.
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// A git checkout. Parity: still accepted at 1.32.
pub fn git_repo(errors: &mut Errors, source: &GitRepoVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("repository"), &source.repository);
    paths::relative(errors, text(&source.directory), &path.child("directory"));
}

/// A Secret's files.
pub fn secret(errors: &mut Errors, source: &SecretVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("secretName"), text(&source.secret_name));
    paths::mode(errors, source.default_mode, &path.child("defaultMode"));
    items(errors, source.items.as_ref(), path);
}

/// A ConfigMap's files.
pub fn config_map(errors: &mut Errors, source: &ConfigMapVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("name"), &source.name);
    paths::mode(errors, source.default_mode, &path.child("defaultMode"));
    items(errors, source.items.as_ref(), path);
}

fn items(errors: &mut Errors, items: Option<&Vec<KeyToPath>>, path: &Path<'_>) {
    let path = path.child("items");
    for (index, item) in items.into_iter().flatten().enumerate() {
        self::item(errors, item, &path.index(index));
    }
}

fn item(errors: &mut Errors, item: &KeyToPath, path: &Path<'_>) {
    errors.required_if_empty(&path.child("key"), &item.key);
    errors.required_if_empty(&path.child("path"), &item.path);
    paths::relative_not_reserved(errors, &item.path, &path.child("path"));
    paths::mode(errors, item.mode, &path.child("mode"));
}

/// Facts about the pod as files. Parity: upstream says what is wrong of the volume, not of the item.
pub fn downward_api(errors: &mut Errors, source: &DownwardAPIVolumeSource, path: &Path<'_>) {
    paths::mode(errors, source.default_mode, &path.child("defaultMode"));
    for file in source.items.iter().flatten() {
        downward_file(errors, file, path);
    }
}

fn downward_file(errors: &mut Errors, file: &DownwardAPIVolumeFile, path: &Path<'_>) {
    errors.required_if_empty(&path.child("path"), &file.path);
    paths::relative_not_reserved(errors, &file.path, &path.child("path"));
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), resource) => {
            env::field_ref(errors, field, IN_FILES, &path.child("fieldRef"));
            if resource.is_some() {
                let words = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(path, &"resource", words);
            }
        }
        (None, Some(resource)) => {
            env::resource_field_ref(errors, resource, &path.child("resourceFieldRef"), true);
        }
        (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    paths::mode(errors, file.mode, &path.child("mode"));
}

/// Several of these in one directory.
pub fn projected(errors: &mut Errors, source: &ProjectedVolumeSource, path: &Path<'_>) {
    paths::mode(errors, source.default_mode, &path.child("defaultMode"));
    let sources_path = path.child("sources");
    let mut taken = Taken::default();
    for (index, source) in source.sources.iter().flatten().enumerate() {
        projection(errors, source, &mut taken, &sources_path.index(index), path);
    }
}

/// The paths taken so far in a projected volume.
#[derive(Default)]
struct Taken(BTreeSet<String>);

impl Taken {
    /// Takes a path; `shown` is what the message about a path taken before shows.
    fn take(&mut self, errors: &mut Errors, file: &str, shown: &str, volume: &Path<'_>) {
        if !self.0.insert(file.to_owned()) {
            errors.invalid(volume, &shown, "conflicting duplicate paths");
        }
    }
}

fn projection(errors: &mut Errors, source: &VolumeProjection, taken: &mut Taken, path: &Path<'_>, volume: &Path<'_>) {
    let secret = source.secret.as_ref().map(|secret| ("secret", &secret.name, &secret.items));
    let map = source.config_map.as_ref().map(|map| ("configMap", &map.name, &map.items));
    for (kind, name, items) in secret.into_iter().chain(map) {
        let path = path.child(kind);
        errors.required_if_empty(&path.child("name"), name);
        let items_path = path.child("items");
        for (index, item) in items.iter().flatten().enumerate() {
            self::item(errors, item, &items_path.index(index));
            if !item.path.is_empty() {
                taken.take(errors, &item.path, name, volume);
            }
        }
    }
    for file in source.downward_api.iter().flat_map(|source| source.items.iter().flatten()) {
        downward_file(errors, file, &path.child("downwardAPI"));
        if !file.path.is_empty() {
            taken.take(errors, &file.path, &file.path, volume);
        }
    }
    if let Some(token) = &source.service_account_token {
        self::token(errors, token, &path.child("serviceAccountToken"), volume);
    }
    if let Some(bundle) = &source.cluster_trust_bundle {
        trust_bundle(errors, bundle, &path.child("clusterTrustBundle"));
        taken.take(errors, &bundle.path, &bundle.path, volume);
    }
    if let Some(certificate) = &source.pod_certificate {
        pod_certificate(errors, certificate, &path.child("podCertificate"));
    }
    let count = [
        source.secret.is_some(),
        source.config_map.is_some(),
        source.downward_api.is_some(),
        source.service_account_token.is_some(),
        source.cluster_trust_bundle.is_some(),
        source.pod_certificate.is_some(),
    ];
    if count.iter().filter(|set| **set).count() > 1 {
        errors.forbidden(path, "may not specify more than 1 volume type per source");
    }
}

/// A token. Parity: its path's errors are said of the volume's `path`.
fn token(errors: &mut Errors, token: &ServiceAccountTokenProjection, path: &Path<'_>, volume: &Path<'_>) {
    let seconds = token.expiration_seconds.unwrap_or(0);
    let seconds_path = path.child("expirationSeconds");
    if seconds < TOKEN_SECONDS_MIN {
        errors.invalid(&seconds_path, &seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > TOKEN_SECONDS_MAX {
        errors.invalid(&seconds_path, &seconds, "may not specify a duration larger than 2^32 seconds");
    }
    if !errors.required_if_empty(&volume.child("path"), &token.path) {
        paths::relative_not_reserved(errors, &token.path, &volume.child("path"));
    }
}

fn trust_bundle(errors: &mut Errors, bundle: &ClusterTrustBundleProjection, path: &Path<'_>) {
    match (&bundle.name, &bundle.signer_name) {
        (Some(_), Some(_)) => errors.invalid(path, &Json(bundle), "only one of name and signerName may be used"),
        (Some(name), None) => {
            if name.is_empty() {
                errors.required(&path.child("name"), "must be a valid object name");
            }
            for words in names::dns_subdomain(name.rsplit(':').next().unwrap_or_default()) {
                let words = format!("not a valid clustertrustbundlename: {words}");
                errors.invalid(&path.child("name"), name, &words);
            }
            if let Some(selector) = &bundle.label_selector {
                let words = "labelSelector must be unset if name is specified";
                errors.invalid(&path.child("labelSelector"), &Json(selector), words);
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.required(&path.child("signerName"), "must be a valid signer name");
            }
            labels::selector(errors, bundle.label_selector.as_ref(), &path.child("labelSelector"));
        }
        (None, None) => errors.required(path, "either name or signerName must be specified"),
    }
    errors.required_if_empty(&path.child("path"), &bundle.path);
    paths::relative_not_reserved(errors, &bundle.path, &path.child("path"));
}

/// Newer than 1.32; lightly.
fn pod_certificate(errors: &mut Errors, certificate: &PodCertificateProjection, path: &Path<'_>) {
    errors.required_if_empty(&path.child("signerName"), &certificate.signer_name);
    errors.required_if_empty(&path.child("keyType"), &certificate.key_type);
    let files = [
        ("credentialBundlePath", &certificate.credential_bundle_path),
        ("keyPath", &certificate.key_path),
        ("certificateChainPath", &certificate.certificate_chain_path),
    ];
    for (name, file) in files {
        paths::relative_not_reserved(errors, text(file), &path.child(name));
    }
    if files.iter().all(|(_, file)| text(file).is_empty()) {
        errors.required(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
    }
}
