//! PURE. Owns the decision of what becomes of one volume, bound or left behind. Never removes anything.
//!
//! Parity: `syncVolume` and `reclaimVolume` of `pv_controller.go`, `processPV` of `pvprotection`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::plan::{Said, enter_phase};
use crate::model::claims::{BOUND_BY_CONTROLLER, engine_volume, volume_name};
use crate::model::defaults::storage::VOLUME_PROTECTION;
use crate::model::event::Severity;

/// What to do about a volume.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The volume as it should be.
    pub volume: Option<PersistentVolume>,
    /// The engine's volume to remove, and the object after it.
    pub remove: Option<String>,
    /// What to say of the volume.
    pub events: Vec<Said>,
}

/// Decides about a volume; `claim` is the one that it names, where that is there.
pub fn volume(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>, now: Timestamp) -> Plan {
    let mut next = volume.clone();
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let kept = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let uid = kept.and_then(|kept| kept.uid.as_deref()).unwrap_or_default();
    let holder = claim.filter(|claim| claim.metadata.uid.as_deref() == Some(uid));
    let own = volume.metadata.name.as_deref();
    match holder {
        _free if uid.is_empty() => enter_phase(&mut next, "Available", now),
        None if phase == "Pending" || !matches!(phase, "Released" | "Failed") => {
            enter_phase(&mut next, "Released", now)
        }
        None => return reclaim(volume, phase, now),
        // It is being made, or about to be bound: the claim's turn.
        Some(claim) if volume_name(claim).is_none() => {}
        Some(claim) if volume_name(claim) == own => enter_phase(&mut next, "Bound", now),
        Some(_elsewhere) => unbind(&mut next, now),
    }
    if next.metadata.deletion_timestamp.is_some() && phase != "Bound" {
        next.metadata.finalizers.get_or_insert_default().retain(|name| name != VOLUME_PROTECTION);
    }
    Plan { volume: (next != *volume).then_some(next), ..Plan::default() }
}

/// The claim went to another volume: this one is free again.
fn unbind(volume: &mut PersistentVolume, now: Timestamp) {
    let ours = volume.metadata.annotations.as_mut().and_then(|all| all.remove(BOUND_BY_CONTROLLER)).is_some();
    let spec = volume.spec.get_or_insert_default();
    if ours {
        spec.claim_ref = None;
    } else if let Some(kept) = &mut spec.claim_ref {
        kept.uid = None;
    }
    enter_phase(volume, "Available", now);
}

/// Its claim is gone.
fn reclaim(volume: &PersistentVolume, phase: &str, now: Timestamp) -> Plan {
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let (reason, message) = match (policy, engine_volume(volume)) {
        (Some("Delete"), Some(engine)) => return Plan { remove: Some(engine.to_owned()), ..Plan::default() },
        (Some("Delete"), None) => {
            let why = "no deletable volume plugin matched";
            ("VolumeFailedDelete", format!("error getting deleter volume plugin for volume \"{name}\": {why}"))
        }
        (Some("Recycle"), _) => ("VolumeFailedRecycle", "No recycler plugin found for the volume!".to_owned()),
        (Some(_) | None, _) => return let_go(volume),
    };
    if phase == "Failed" {
        return let_go(volume);
    }
    let mut next = volume.clone();
    enter_phase(&mut next, "Failed", now);
    next.status.get_or_insert_default().message = Some(message.clone());
    Plan { volume: Some(next), remove: None, events: vec![Said::new(Severity::Warning, reason, message)] }
}

/// Nobody needs the object any more: it may go where somebody has deleted it. What it stands for stays.
fn let_go(volume: &PersistentVolume) -> Plan {
    let mut next = volume.clone();
    if next.metadata.deletion_timestamp.is_some() {
        next.metadata.finalizers.get_or_insert_default().retain(|name| name != VOLUME_PROTECTION);
    }
    Plan { volume: (next != *volume).then_some(next), ..Plan::default() }
}
