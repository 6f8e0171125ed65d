//! PURE. Owns what a service account gives its pods: its name, its pull secrets, and a token where they ask for one.
//!
//! Parity: the ServiceAccount admission plugin at 1.32.
//! Differs: upstream mounts a token into every pod that does not refuse it. Here a pod gets one where it or its account
//! says `automountServiceAccountToken: true`, or where it names an account other than `default` and neither says
//! `false`: most pods never call the API, and need neither the time nor the credential. And a missing `default` account
//! counts as an empty one, because it is about to be made.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector, Pod,
    PodSpec, ProjectedVolumeSource, ServiceAccount, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};

/// The account of pods that name none.
const DEFAULT: &str = "default";
/// Where a token is mounted.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the volume's name begins with.
const VOLUME_PREFIX: &str = "kube-api-access-";
/// How long a mounted token holds. Parity: an hour, and seven seconds by which upstream knows such tokens.
const TOKEN_SECONDS: i64 = 3607;
const MODE: i32 = 0o644;
/// Annotation of a pod that was read from a file on its node.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The account that a pod runs as.
pub(super) fn name(pod: &Pod) -> String {
    let name = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT.to_owned())
}

/// Gives a pod what its account has; `suffix` makes the volume's name its own.
pub(super) fn admit(
    pod: &mut Pod,
    namespace: &str,
    account: Option<&ServiceAccount>,
    suffix: &str,
) -> Result<(), String> {
    if pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)) {
        return mirrored(pod);
    }
    let name = name(pod);
    if account.is_none() && name != DEFAULT {
        return Err(format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        ));
    }
    let spec = pod.spec.get_or_insert_default();
    if wants_token(spec, account, &name) {
        mount(spec, &format!("{VOLUME_PREFIX}{suffix}"));
    }
    spec.service_account_name = Some(name.clone());
    spec.service_account = Some(name);
    if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
        spec.image_pull_secrets = account.and_then(|account| account.image_pull_secrets.clone());
    }
    Ok(())
}

fn mirrored(pod: &Pod) -> Result<(), String> {
    let named = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_ref());
    match named.filter(|name| !name.is_empty()) {
        Some(_) => Err("a mirror pod may not reference service accounts".to_owned()),
        None => Ok(()),
    }
}

fn wants_token(spec: &PodSpec, account: Option<&ServiceAccount>, name: &str) -> bool {
    let said = spec
        .automount_service_account_token
        .or_else(|| account.and_then(|account| account.automount_service_account_token));
    said.unwrap_or(name != DEFAULT)
}

/// Mounts a token into every container that has nothing at its place.
fn mount(spec: &mut PodSpec, volume: &str) {
    // Parity: a volume of that name, which a template may hold already, is used.
    let known = spec.volumes.iter().flatten().find(|known| known.name.starts_with(VOLUME_PREFIX));
    let name = known.map_or_else(|| volume.to_owned(), |known| known.name.clone());
    let is_new = known.is_none();
    let mut needed = false;
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        needed |= mount_into(container, &name);
    }
    if needed && is_new {
        spec.volumes.get_or_insert_default().push(token_volume(name));
    }
}

fn mount_into(container: &mut Container, volume: &str) -> bool {
    let mounts = container.volume_mounts.get_or_insert_default();
    if mounts.iter().any(|mount| mount.mount_path == MOUNT_PATH) {
        return false;
    }
    mounts.push(VolumeMount {
        name: volume.to_owned(),
        mount_path: MOUNT_PATH.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    true
}

fn token_volume(name: String) -> Volume {
    let token = ServiceAccountTokenProjection {
        path: "token".to_owned(),
        expiration_seconds: Some(TOKEN_SECONDS),
        ..ServiceAccountTokenProjection::default()
    };
    let authority = ConfigMapProjection {
        name: "kube-root-ca.crt".to_owned(),
        items: Some(vec![KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), ..KeyToPath::default() }]),
        optional: None,
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".to_owned()),
            field_path: "metadata.namespace".to_owned(),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(authority), ..VolumeProjection::default() },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
            ..VolumeProjection::default()
        },
    ];
    let projected =
        ProjectedVolumeSource { sources: Some(sources), default_mode: Some(MODE), ..ProjectedVolumeSource::default() };
    Volume { name, projected: Some(projected), ..Volume::default() }
}
