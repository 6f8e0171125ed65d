//! Owns how storage classes meet claims that are being stored: a new claim that names no class gets the default one, and
//! one grows only where its class says that volumes may.
//! Never binds or makes a volume: `storage` does.
//!
//! Parity: the admission plugins DefaultStorageClass and PersistentVolumeClaimResize.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;

use crate::model::claims;
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::model::quantity::Quantity;
use crate::store::{self, Query, Store};

/// Gives a new claim the default class, where it names none.
pub(super) fn assign(store: &Store, claim: &PersistentVolumeClaim) -> Result<PersistentVolumeClaim, store::Error> {
    let mut claim = claim.clone();
    let spec = claim.spec.get_or_insert_default();
    if spec.storage_class_name.is_none() {
        let classes = store.list(&Query::all(Kind::of::<StorageClass>()))?.objects;
        let classes: Vec<&StorageClass> = classes.iter().filter_map(Object::typed).collect();
        spec.storage_class_name = claims::default_class(classes).and_then(|class| class.metadata.name.clone());
    }
    Ok(claim)
}

/// Why a claim may not become this large; none where it may.
pub(super) fn too_large(
    store: &Store,
    new: &PersistentVolumeClaim,
    old: &PersistentVolumeClaim,
) -> Result<Option<&'static str>, store::Error> {
    let size = |claim: &PersistentVolumeClaim| claims::size(claim).and_then(|text| Quantity::parse(&text.0).ok());
    let (Some(asked), Some(before)) = (size(new), size(old)) else { return Ok(None) };
    if !asked.compare(&before).is_gt() {
        return Ok(None);
    }
    if old.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
        return Ok(Some("Only bound persistent volume claims can be expanded"));
    }
    let class = store.get(&Key::of::<StorageClass>("", claims::class_of(new)))?;
    let class = class.as_ref().and_then(|class| class.typed::<StorageClass>());
    let grows = class.is_some_and(|class| class.allow_volume_expansion == Some(true));
    Ok((!grows).then_some(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    ))
}
