//! PURE. Owns which files a volume made from objects holds: `configMap`, `secret`, `downwardAPI`, `projected`.
//! Never writes one: `volumes.rs` does.
//!
//! Parity: `MakePayload` of the kubelet's configmap and secret volumes, `collectData` of downwardapi.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Secret, VolumeProjection};

use super::downward;
use super::environment::{Context, missing};
use super::tokens;
use super::volumes_plan::source_field;

/// Mode of a file where neither the item nor the volume gives one. Parity: 0644.
const DEFAULT_MODE: i32 = 0o644;

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// Collects the files of one volume.
pub struct Payload<'a> {
    context: Context<'a>,
    files: BTreeMap<String, File>,
}

impl<'a> Payload<'a> {
    /// No files yet.
    pub fn new(context: Context<'a>) -> Self {
        Self { context, files: BTreeMap::new() }
    }

    /// The files by relative path.
    pub fn into_files(self) -> BTreeMap<String, File> {
        self.files
    }

    /// Adds one source of a projected volume.
    pub fn projection(&mut self, source: &VolumeProjection, mode: Option<i32>) -> Result<(), String> {
        if let Some(source) = &source.config_map {
            return self.config_map(&source.name, source.items.as_deref(), source.optional == Some(true), mode);
        }
        if let Some(source) = &source.secret {
            return self.secret(&source.name, source.items.as_deref(), source.optional == Some(true), mode);
        }
        if let Some(source) = &source.downward_api {
            return self.downward(source.items.as_deref(), mode);
        }
        if let Some(source) = &source.service_account_token {
            let seconds = source.expiration_seconds.unwrap_or(tokens::DEFAULT_SECONDS);
            return self.token(&source.path, (source.audience.clone().unwrap_or_default(), seconds), mode);
        }
        // Parity: a source that names nothing is warned of when the pod is made, and adds nothing.
        let Some(kind) = source_field(source, &[]) else { return Ok(()) };
        Err(format!(
            "projected volumes with {kind} are not supported by jobdock; supported are the sources configMap, secret, \
             downwardAPI and serviceAccountToken"
        ))
    }

    /// Adds a token of the pod's account.
    fn token(&mut self, path: &str, wanted: tokens::Wanted, mode: Option<i32>) -> Result<(), String> {
        let Context { pod, sources, .. } = self.context;
        let Some(token) = sources.tokens.get(&wanted) else {
            let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or_default();
            return Err(format!("failed to fetch token: {}", missing("serviceaccounts", account)));
        };
        self.add(path, token.clone().into_bytes(), None, mode)
    }

    /// Adds a ConfigMap's keys, or the items asked for.
    pub fn config_map(
        &mut self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: bool,
        mode: Option<i32>,
    ) -> Result<(), String> {
        match self.context.sources.config_maps.get(name) {
            Some(map) => {
                self.keys(&bytes_of_map(map), items, optional, mode, "configmap references non-existent config key")
            }
            None if optional => Ok(()),
            None => Err(missing("configmap", name)),
        }
    }

    /// Adds a Secret's keys, or the items asked for.
    pub fn secret(
        &mut self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: bool,
        mode: Option<i32>,
    ) -> Result<(), String> {
        match self.context.sources.secrets.get(name) {
            Some(secret) => {
                self.keys(&bytes_of_secret(secret), items, optional, mode, "references non-existent secret key")
            }
            None if optional => Ok(()),
            None => Err(missing("secret", name)),
        }
    }

    fn keys(
        &mut self,
        data: &BTreeMap<&str, &[u8]>,
        items: Option<&[KeyToPath]>,
        optional: bool,
        mode: Option<i32>,
        absent: &str,
    ) -> Result<(), String> {
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            return data.iter().try_for_each(|(key, bytes)| self.add(key, bytes.to_vec(), None, mode));
        };
        for item in items {
            match data.get(item.key.as_str()) {
                Some(bytes) => self.add(&item.path, bytes.to_vec(), item.mode, mode)?,
                None if optional => {}
                None => return Err(format!("{absent}: {}", item.key)),
            }
        }
        Ok(())
    }

    /// Adds fields of the pod.
    pub fn downward(&mut self, items: Option<&[DownwardAPIVolumeFile]>, mode: Option<i32>) -> Result<(), String> {
        for item in items.into_iter().flatten() {
            let Context { pod, node, pod_ip, .. } = self.context;
            let text = if let Some(field) = &item.field_ref {
                downward::field(pod, node, pod_ip, &field.field_path)?
            } else if let Some(resource) = &item.resource_field_ref {
                downward::resource(pod, None, node, resource)?
            } else {
                String::new()
            };
            self.add(&item.path, text.into_bytes(), item.mode, mode)?;
        }
        Ok(())
    }

    fn add(&mut self, path: &str, bytes: Vec<u8>, own: Option<i32>, volume: Option<i32>) -> Result<(), String> {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !inside || path.starts_with("..") {
            return Err(format!("invalid path: {path}"));
        }
        let mode = own.or(volume).unwrap_or(DEFAULT_MODE);
        self.files.insert(path.to_owned(), File { bytes, mode: u32::try_from(mode).unwrap_or(0) & 0o777 });
        Ok(())
    }
}

fn bytes_of_map(map: &ConfigMap) -> BTreeMap<&str, &[u8]> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.as_str(), value.as_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice()));
    text.chain(binary).collect()
}

fn bytes_of_secret(secret: &Secret) -> BTreeMap<&str, &[u8]> {
    secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice())).collect()
}
