//! PURE. Owns what a volume that is made for a claim looks like: the object, and the engine's volume behind it.
//! Never makes either.
//!
//! Differs: the size is noted, not enforced, for a volume of the engine has none.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec,
    PersistentVolumeStatus,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::model::claims::{DEFAULT_CLASS, PROVISIONED_BY, PROVISIONER, engine_volume};
use crate::model::defaults::storage::VOLUME_PROTECTION;
use crate::runtime::{LABEL_VOLUME, LABEL_VOLUME_CLAIM, VolumeSpec};

/// Its name, as kind and minikube call theirs.
const DEFAULT_CLASS_NAME: &str = "standard";

/// The class that every daemon has: volumes of the engine, made once a pod wants them. Parity: local-path's settings.
pub fn default_class() -> StorageClass {
    StorageClass {
        metadata: ObjectMeta {
            name: Some(DEFAULT_CLASS_NAME.to_owned()),
            annotations: Some([(DEFAULT_CLASS.to_owned(), "true".to_owned())].into()),
            ..ObjectMeta::default()
        },
        provisioner: PROVISIONER.to_owned(),
        reclaim_policy: Some("Delete".to_owned()),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        ..StorageClass::default()
    }
}

/// The volume for a claim of this class.
pub fn volume(claim: &PersistentVolumeClaim, class: &StorageClass) -> PersistentVolume {
    let uid = claim.metadata.uid.as_deref().unwrap_or_default();
    let asked = claim.spec.clone().unwrap_or_default();
    let requests = asked.resources.and_then(|resources| resources.requests).unwrap_or_default();
    let capacity = requests.into_iter().filter(|(name, _)| name == "storage").collect();
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(format!("pvc-{uid}")),
            annotations: Some([(PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())].into()),
            finalizers: Some(vec![VOLUME_PROTECTION.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: asked.access_modes,
            capacity: Some(capacity),
            claim_ref: Some(reference(claim)),
            csi: Some(CSIPersistentVolumeSource {
                driver: PROVISIONER.to_owned(),
                volume_handle: format!("jobdock-pvc-{uid}"),
                ..CSIPersistentVolumeSource::default()
            }),
            mount_options: class.mount_options.clone(),
            persistent_volume_reclaim_policy: class.reclaim_policy.clone().or_else(|| Some("Delete".to_owned())),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: asked.volume_mode.or_else(|| Some("Filesystem".to_owned())),
            ..PersistentVolumeSpec::default()
        }),
        status: Some(PersistentVolumeStatus { phase: Some("Pending".to_owned()), ..PersistentVolumeStatus::default() }),
    }
}

/// What a volume says of the claim that it is bound to.
pub fn reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        name: claim.metadata.name.clone(),
        namespace: claim.metadata.namespace.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// The engine's volume behind one that we made. It belongs to no pod, so no pod's end removes it.
pub fn engine_spec(volume: &PersistentVolume) -> Option<VolumeSpec> {
    let name = engine_volume(volume)?.to_owned();
    let kept = volume.spec.as_ref()?.claim_ref.clone().unwrap_or_default();
    let claim = format!("{}/{}", kept.namespace.unwrap_or_default(), kept.name.unwrap_or_default());
    let labels = BTreeMap::from([
        (LABEL_VOLUME.to_owned(), volume.metadata.name.clone().unwrap_or_default()),
        (LABEL_VOLUME_CLAIM.to_owned(), claim),
    ]);
    Some(VolumeSpec { name, labels, memory: None })
}
