//! Owns what the server warns of in a pod's volumes: sources that do nothing any more, files over each other.
//!
//! Parity: `pkg/api/pod/warnings.go` at 1.32.

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, PersistentVolumeClaimSpec, ProjectedVolumeSource, Volume, VolumeProjection,
};

use super::field::{Path, quote};
use super::warnings::{COMPARED_MAX, Warnings, fractional};

/// The warnings of a pod's volumes.
pub(super) fn volumes(warnings: &mut Warnings, volumes: &[Volume], path: &Path<'_>) {
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        deprecated(warnings, volume, &path);
    }
    for volume in volumes {
        overlapping(warnings, volume);
    }
}

fn deprecated(warnings: &mut Warnings, volume: &Volume, path: &Path<'_>) {
    let before = [
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some(), "v1.11, non-functional in v1.16+"),
        ("gitRepo", volume.git_repo.is_some(), "v1.11"),
        ("scaleIO", volume.scale_io.is_some(), "v1.16, non-functional in v1.22+"),
        ("flocker", volume.flocker.is_some(), "v1.22, non-functional in v1.25+"),
        ("storageOS", volume.storageos.is_some(), "v1.22, non-functional in v1.25+"),
        ("quobyte", volume.quobyte.is_some(), "v1.22, non-functional in v1.25+"),
        ("glusterfs", volume.glusterfs.is_some(), "v1.25, non-functional in v1.26+"),
    ];
    let after = [
        ("cephfs", volume.cephfs.is_some(), "v1.28, non-functional in v1.31+"),
        ("rbd", volume.rbd.is_some(), "v1.28, non-functional in v1.31+"),
    ];
    for (name, _, since) in before.iter().filter(|(_, set, _)| *set) {
        warnings.push(format!("{}: deprecated in {since}", path.child(name)));
    }
    if let Some(template) = volume.ephemeral.as_ref().and_then(|source| source.volume_claim_template.as_ref()) {
        claim(warnings, &template.spec, &path.child("ephemeral.volumeClaimTemplate.spec"));
    }
    for (name, _, since) in after.iter().filter(|(_, set, _)| *set) {
        warnings.push(format!("{}: deprecated in {since}", path.child(name)));
    }
}

fn claim(warnings: &mut Warnings, spec: &PersistentVolumeClaimSpec, path: &Path<'_>) {
    let Some(resources) = &spec.resources else { return };
    let path = path.child("resources");
    for (list, amounts) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        let amount = amounts.as_ref().and_then(|amounts| amounts.get("storage"));
        fractional(warnings, amount, &path.child(list).key("storage"));
    }
}

/// A file in a volume, and what it comes from.
#[derive(Clone)]
struct File {
    path: String,
    source: String,
}

impl File {
    fn of_items(items: &[KeyToPath], source: &str) -> Vec<Self> {
        items.iter().map(|item| Self::new(&item.path, source)).collect()
    }

    fn of_facts(items: &[DownwardAPIVolumeFile], source: &str) -> Vec<Self> {
        items.iter().map(|item| Self::new(&item.path, source)).collect()
    }

    fn new(path: &str, source: &str) -> Self {
        Self { path: path.trim_end_matches('/').to_owned(), source: source.to_owned() }
    }

    /// Whether one is, or holds, the other.
    fn overlaps(&self, other: &Self) -> bool {
        let holds = |dir: &str, file: &str| file.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
        let (one, two) = (self.path.as_str(), other.path.as_str());
        !one.is_empty() && !two.is_empty() && (one == two || holds(one, two) || holds(two, one))
    }
}

impl std::fmt::Display for File {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.source.as_str() {
            "" => out.write_str(&quote(&self.path)),
            source => write!(out, "{} ({source})", quote(&self.path)),
        }
    }
}

fn overlapping(warnings: &mut Warnings, volume: &Volume) {
    let name = quote(&volume.name);
    if let Some(source) = &volume.config_map {
        let files = File::of_items(source.items.as_deref().unwrap_or_default(), "");
        over_each_other(warnings, &files, &format!("volume {name} (ConfigMap {})", quote(&source.name)));
    }
    if let Some(source) = &volume.secret {
        let files = File::of_items(source.items.as_deref().unwrap_or_default(), "");
        let secret = quote(source.secret_name.as_deref().unwrap_or_default());
        over_each_other(warnings, &files, &format!("volume {name} (Secret {secret})"));
    }
    if let Some(source) = &volume.downward_api {
        let files = File::of_facts(source.items.as_deref().unwrap_or_default(), "");
        over_each_other(warnings, &files, &format!("volume {name} (DownwardAPI)"));
    }
    if let Some(source) = &volume.projected {
        projected(warnings, source, &format!("volume {name} (Projected)"));
    }
}

fn over_each_other(warnings: &mut Warnings, files: &[File], volume: &str) {
    for (index, file) in files.iter().enumerate() {
        for other in files[..index].iter().take(COMPARED_MAX).filter(|other| file.overlaps(other)) {
            warnings.push(format!("{volume}: overlapping paths: {file} with {other}"));
        }
    }
}

fn projected(warnings: &mut Warnings, source: &ProjectedVolumeSource, volume: &str) {
    let mut all: Vec<File> = Vec::new();
    // Parity: a source without items is taken for the one before it, which then overlaps itself.
    let mut files: Vec<File> = Vec::new();
    for source in source.sources.iter().flatten() {
        if *source == VolumeProjection::default() {
            warnings.push(format!("{volume} has no sources provided"));
            continue;
        }
        if let Some(found) = files_of(source) {
            files = found;
        }
        for file in &files {
            for other in all.iter().take(COMPARED_MAX).filter(|other| file.overlaps(other)) {
                warnings.push(format!("{volume}: overlapping paths: {file} with {other}"));
            }
            all.push(file.clone());
        }
    }
}

/// The files of one source; `None` where it names none.
fn files_of(source: &VolumeProjection) -> Option<Vec<File>> {
    let named = |kind: &str, name: &str| format!("{kind} {}", quote(name));
    if let Some(map) = source.config_map.as_ref()
        && let Some(items) = &map.items
    {
        return Some(File::of_items(items, &named("ConfigMap", &map.name)));
    }
    if let Some(secret) = source.secret.as_ref()
        && let Some(items) = &secret.items
    {
        return Some(File::of_items(items, &named("Secret", &secret.name)));
    }
    if let Some(items) = source.downward_api.as_ref().and_then(|source| source.items.as_ref()) {
        return Some(File::of_facts(items, "DownwardAPI"));
    }
    if let Some(token) = &source.service_account_token {
        return Some(vec![File::new(&token.path, "ServiceAccountToken")]);
    }
    let bundle = source.cluster_trust_bundle.as_ref()?;
    let name = bundle.name.as_deref().or(bundle.signer_name.as_deref()).unwrap_or_default();
    Some(vec![File::new(&bundle.path, &named("ClusterTrustBundle", name))])
}
