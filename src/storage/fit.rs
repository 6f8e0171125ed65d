//! PURE. Owns which volume suits a claim. Never binds them.
//!
//! Parity: `FindMatchingVolume` of `component-helpers/storage/volume` and `checkVolumeSatisfyClaim`.
//! Differs: a volume's node affinity is not looked at, for there is one node.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use crate::model::claims::class_of;
use crate::model::quantity::Quantity;
use crate::model::selector::Selector;

/// Whether the volume is kept for this claim, by name and, where it says one, by uid.
pub fn is_kept_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(kept) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let uid = kept.uid.as_deref().unwrap_or_default();
    kept.name == claim.metadata.name
        && kept.namespace == claim.metadata.namespace
        && (uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref())
}

/// The volume for the claim: one that is kept for it, else the smallest that is free and suits it. With `kept_only` no
/// free one is taken.
pub fn find<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [PersistentVolume],
    kept_only: bool,
) -> Option<&'a PersistentVolume> {
    let alive = || volumes.iter().filter(|volume| volume.metadata.deletion_timestamp.is_none());
    // Parity: what somebody keeps for the claim by hand need not be of its class.
    let usable = |volume: &&PersistentVolume| {
        room(volume) >= wanted(claim)
            && same_mode(volume, claim)
            && same_attributes(volume, claim)
            && allows(volume, claim)
    };
    if let Some(kept) = alive().filter(|volume| is_kept_for(volume, claim)).find(usable) {
        return Some(kept);
    }
    let free = |volume: &&PersistentVolume| {
        let spec = volume.spec.as_ref();
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        phase == Some("Available") && spec.is_some_and(|spec| spec.claim_ref.is_none())
    };
    let suits = |volume: &&PersistentVolume| mismatch(volume, claim).is_none() && selected(volume, claim);
    if kept_only { None } else { alive().filter(free).filter(suits).min_by_key(|volume| room(volume)) }
}

/// Why a claim that asks for this very volume cannot have it.
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let class = volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default();
    if room(volume) < wanted(claim) {
        Some("requested PV is too small")
    } else if class != class_of(claim) {
        Some("storageClassName does not match")
    } else if !same_attributes(volume, claim) {
        Some("volumeAttributesClassName does not match")
    } else if !same_mode(volume, claim) {
        Some("incompatible volumeMode")
    } else if !allows(volume, claim) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

/// Whether the volume may be used in all the ways that the claim asks for.
fn allows(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let modes = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    let mut asked = claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten());
    asked.all(|mode| modes.contains(mode))
}

fn same_attributes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let offered = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let asked = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    offered.unwrap_or_default() == asked.unwrap_or_default()
}

fn selected(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(selector) = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return true };
    Selector::of(selector).is_ok_and(|selector| selector.matches(volume.metadata.labels.as_ref()))
}

fn same_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let mode = |mode: Option<&String>| mode.map_or("Filesystem", String::as_str).to_owned();
    mode(volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()))
        == mode(claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()))
}

fn room(volume: &PersistentVolume) -> Quantity {
    let amounts = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
    amount(amounts.and_then(|amounts| amounts.get("storage")).map(|amount| amount.0.as_str()))
}

fn wanted(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    amount(requests.and_then(|requests| requests.get("storage")).map(|amount| amount.0.as_str()))
}

/// Validation has seen to it that it parses.
fn amount(text: Option<&str>) -> Quantity {
    text.and_then(|text| Quantity::parse(text).ok()).unwrap_or_else(|| Quantity::from_units(0))
}
