//! PURE. Owns the decision of what becomes of one claim. Never reads the store and never makes a volume.
//!
//! ```text
//!  going:    unused -> its protection is taken away
//!  bound:    its volume is gone -> Lost
//!  unbound:  class filled in -> volume found -> made ready, bound
//!                            -> none: a class of ours, and a pod wants it -> one is entered, to be made ready
//! ```
//!
//! Parity: `syncClaim` of `pv_controller.go`, `processPVC` of `pvcprotection`; reasons and texts are theirs.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::users::Use;
use super::{fit, provision};
use crate::model::claims::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONER, SELECTED_NODE, STORAGE_PROVISIONER, annotation, class_of,
    default_class, engine_volume, is_bound, volume_name,
};
use crate::model::defaults::storage::CLAIM_PROTECTION;
use crate::model::event::Severity;
use crate::model::time;
use crate::runtime::VolumeSpec;

/// Who speaks of binding.
pub const CONTROLLER: &str = "persistentvolume-controller";
/// A class whose volumes somebody enters by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// Everything that decides what becomes of a claim.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The claim.
    pub claim: &'a PersistentVolumeClaim,
    /// All volumes.
    pub volumes: &'a [PersistentVolume],
    /// All classes.
    pub classes: &'a [StorageClass],
    /// Which pods use it.
    pub used: Use,
    /// The node's name.
    pub node: &'a str,
    /// There is an engine to make volumes.
    pub engine: bool,
}

/// What to do about a claim: first make the engine's volume, then write, as one commit.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The engine's volume to make ready; nothing is written where that fails.
    pub make: Option<VolumeSpec>,
    /// The claim as it should be.
    pub claim: Option<PersistentVolumeClaim>,
    /// A volume as it should be.
    pub volume: Option<PersistentVolume>,
    /// A volume to enter.
    pub create: Option<PersistentVolume>,
    /// What to say of the claim.
    pub events: Vec<Said>,
}

/// An Event about a claim or a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who says it.
    pub component: &'static str,
    /// How serious it is.
    pub severity: Severity,
    /// Upstream's reason.
    pub reason: &'static str,
    /// Upstream's text.
    pub message: String,
}

impl Said {
    /// Said by the controller.
    pub fn new(severity: Severity, reason: &'static str, message: String) -> Self {
        Self { component: CONTROLLER, severity, reason, message }
    }

    fn by_provisioner(severity: Severity, reason: &'static str, message: String) -> Self {
        Self { component: PROVISIONER, ..Self::new(severity, reason, message) }
    }

    /// The engine did not make a claim's volume.
    pub fn failed(class: &str, error: &str) -> Self {
        let text = format!("failed to provision volume with StorageClass \"{class}\": {error}");
        Self::by_provisioner(Severity::Warning, "ProvisioningFailed", text)
    }
}

/// Decides about a claim.
pub fn claim(facts: &Facts<'_>, now: Timestamp) -> Plan {
    let claim = facts.claim;
    if claim.metadata.deletion_timestamp.is_some() {
        return going(facts);
    }
    if is_bound(claim) { bound(facts) } else { unbound(facts, now) }
}

/// Whether a class waits for a pod before it binds or makes a volume.
pub fn waits(classes: &[StorageClass], class: &str) -> bool {
    let class = classes.iter().find(|one| one.metadata.name.as_deref() == Some(class));
    class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
}

fn going(facts: &Facts<'_>) -> Plan {
    if facts.used.scheduled {
        return Plan::default();
    }
    let mut claim = facts.claim.clone();
    let finalizers = claim.metadata.finalizers.get_or_insert_default();
    finalizers.retain(|name| name != CLAIM_PROTECTION);
    changed_claim(facts, claim)
}

fn changed_claim(facts: &Facts<'_>, claim: PersistentVolumeClaim) -> Plan {
    Plan { claim: (claim != *facts.claim).then_some(claim), ..Plan::default() }
}

fn bound(facts: &Facts<'_>) -> Plan {
    let name = volume_name(facts.claim).unwrap_or_default();
    let volume = facts.volumes.iter().find(|volume| volume.metadata.name.as_deref() == Some(name));
    let (reason, message) = match volume {
        None => ("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        Some(volume) if fit::is_kept_for(volume, facts.claim) => return Plan::default(),
        Some(volume) if volume.spec.as_ref().is_none_or(|spec| spec.claim_ref.is_none()) => return Plan::default(),
        Some(_) => ("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly"),
    };
    let mut claim = facts.claim.clone();
    let status = claim.status.get_or_insert_default();
    if status.phase.as_deref() == Some("Lost") {
        return Plan::default();
    }
    status.phase = Some("Lost".to_owned());
    (status.capacity, status.access_modes) = (None, None);
    let said = Said::new(Severity::Warning, reason, message.to_owned());
    Plan { events: vec![said], ..changed_claim(facts, claim) }
}

fn unbound(facts: &Facts<'_>, now: Timestamp) -> Plan {
    if let Some(name) = volume_name(facts.claim) {
        return asked_for(facts, name, now);
    }
    if let Some(claim) = with_default_class(facts) {
        return changed_claim(facts, claim);
    }
    let class = class_of(facts.claim);
    let chosen = annotation(&facts.claim.metadata, SELECTED_NODE).is_some();
    let wait = waits(facts.classes, class) && !chosen;
    if let Some(volume) = fit::find(facts.claim, facts.volumes, wait) {
        return bind(facts, volume, now);
    }
    if !wait {
        return without_volume(facts);
    }
    if facts.used.wanted {
        let mut claim = facts.claim.clone();
        annotate(&mut claim.metadata, SELECTED_NODE, facts.node);
        return changed_claim(facts, claim);
    }
    let text = "waiting for first consumer to be created before binding".to_owned();
    Plan { events: vec![Said::new(Severity::Normal, "WaitForFirstConsumer", text)], ..Plan::default() }
}

/// The claim with the default class, where it names none (not even the empty one) and there is a default by now.
fn with_default_class(facts: &Facts<'_>) -> Option<PersistentVolumeClaim> {
    let spec = facts.claim.spec.as_ref()?;
    if spec.storage_class_name.is_some() {
        return None;
    }
    let default = default_class(facts.classes)?;
    let mut claim = facts.claim.clone();
    claim.spec.get_or_insert_default().storage_class_name.clone_from(&default.metadata.name);
    Some(claim)
}

/// A claim that names its volume itself.
fn asked_for(facts: &Facts<'_>, name: &str, now: Timestamp) -> Plan {
    let Some(volume) = facts.volumes.iter().find(|volume| volume.metadata.name.as_deref() == Some(name)) else {
        return Plan::default();
    };
    let said = |reason, text| Plan { events: vec![Said::new(Severity::Warning, reason, text)], ..Plan::default() };
    let taken = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
    if taken && !fit::is_kept_for(volume, facts.claim) {
        return said("FailedBinding", format!("volume \"{name}\" already bound to a different claim."));
    }
    match fit::mismatch(volume, facts.claim) {
        Some(why) if !taken => said("VolumeMismatch", format!("Cannot bind to requested volume \"{name}\": {why}")),
        Some(_) | None => bind(facts, volume, now),
    }
}

/// Claim and volume name each other, and say that they are bound.
fn bind(facts: &Facts<'_>, found: &PersistentVolume, now: Timestamp) -> Plan {
    let (mut claim, mut volume) = (facts.claim.clone(), found.clone());
    let make = super::provision::engine_spec(found);
    if make.is_some() && !facts.engine {
        return Plan::default();
    }
    let spec = volume.spec.get_or_insert_default();
    if spec.claim_ref.as_ref().and_then(|kept| kept.uid.as_ref()).is_none() {
        if spec.claim_ref.is_none() {
            annotate(&mut volume.metadata, BOUND_BY_CONTROLLER, "yes");
        }
        volume.spec.get_or_insert_default().claim_ref = Some(provision::reference(facts.claim));
    }
    enter_phase(&mut volume, "Bound", now);
    let asked = claim.spec.get_or_insert_default();
    if asked.volume_name.as_deref().unwrap_or_default().is_empty() {
        asked.volume_name.clone_from(&found.metadata.name);
        annotate(&mut claim.metadata, BOUND_BY_CONTROLLER, "yes");
    }
    annotate(&mut claim.metadata, BIND_COMPLETED, "yes");
    let offered = found.spec.clone().unwrap_or_default();
    let status = claim.status.get_or_insert_default();
    status.phase = Some("Bound".to_owned());
    (status.access_modes, status.capacity) = (offered.access_modes, offered.capacity);
    let fresh = found.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending");
    let events = match engine_volume(found).filter(|_| fresh) {
        Some(_) => {
            let text =
                format!("Successfully provisioned volume {}", found.metadata.name.as_deref().unwrap_or_default());
            vec![Said::by_provisioner(Severity::Normal, "ProvisioningSucceeded", text)]
        }
        None => Vec::new(),
    };
    Plan { make, claim: Some(claim), volume: (volume != *found).then_some(volume), create: None, events }
}

/// No volume suits: one is made, or somebody is told who should.
fn without_volume(facts: &Facts<'_>) -> Plan {
    let name = class_of(facts.claim);
    let say = |severity, reason, text| Plan { events: vec![Said::new(severity, reason, text)], ..Plan::default() };
    if name.is_empty() {
        let text = "no persistent volumes available for this claim and no storage class is set".to_owned();
        return say(Severity::Normal, "FailedBinding", text);
    }
    let Some(class) = facts.classes.iter().find(|class| class.metadata.name.as_deref() == Some(name)) else {
        let text = format!("storageclass.storage.k8s.io \"{name}\" not found");
        return say(Severity::Warning, "ProvisioningFailed", text);
    };
    if class.provisioner == NO_PROVISIONER {
        let text = "no volume plugin matched name: kubernetes.io/no-provisioner".to_owned();
        return say(Severity::Warning, "ProvisioningFailed", text);
    }
    if class.provisioner != PROVISIONER || !facts.engine {
        return external(facts, class);
    }
    made_here(facts, class)
}

/// A volume of the engine, or why it cannot be one.
fn made_here(facts: &Facts<'_>, class: &StorageClass) -> Plan {
    let name = class.metadata.name.as_deref().unwrap_or_default();
    let spec = facts.claim.spec.clone().unwrap_or_default();
    if let Some(why) = refused(&spec) {
        return Plan { events: vec![Said::failed(name, &why)], ..Plan::default() };
    }
    let key = &facts.claim.metadata;
    let (namespace, claim) = (key.namespace.as_deref().unwrap_or_default(), key.name.as_deref().unwrap_or_default());
    let text = format!("External provisioner is provisioning volume for claim \"{namespace}/{claim}\"");
    let mut marked = facts.claim.clone();
    annotate(&mut marked.metadata, STORAGE_PROVISIONER, PROVISIONER);
    Plan {
        create: Some(provision::volume(facts.claim, class)),
        events: vec![Said::by_provisioner(Severity::Normal, "Provisioning", text)],
        ..changed_claim(facts, marked)
    }
}

/// What a volume of the engine cannot be.
fn refused(asked: &PersistentVolumeClaimSpec) -> Option<String> {
    if asked.volume_mode.as_deref() == Some("Block") {
        return Some("block volumes are not supported by jobdock, only volumeMode Filesystem".to_owned());
    }
    if asked.data_source.is_some() || asked.data_source_ref.is_some() {
        return Some("dataSource is not supported by jobdock: a new volume is empty".to_owned());
    }
    if asked.selector.is_some() {
        return Some("claim.Spec.Selector is not supported".to_owned());
    }
    // Such classes are not served, so none is there.
    let attributes = asked.volume_attributes_class_name.as_deref().filter(|name| !name.is_empty());
    attributes.map(|name| format!("volumeattributesclass.storage.k8s.io \"{name}\" not found"))
}

/// Somebody else makes the volumes of this class.
fn external(facts: &Facts<'_>, class: &StorageClass) -> Plan {
    let mut claim = facts.claim.clone();
    annotate(&mut claim.metadata, STORAGE_PROVISIONER, &class.provisioner);
    let text = format!(
        "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly \
         registered.",
        class.provisioner
    );
    let events = vec![Said::new(Severity::Normal, "ExternalProvisioning", text)];
    Plan { events, ..changed_claim(facts, claim) }
}

/// Sets a volume's phase, with its time where it is another.
pub fn enter_phase(volume: &mut PersistentVolume, phase: &str, now: Timestamp) {
    let status = volume.status.get_or_insert_default();
    if status.phase.as_deref() != Some(phase) {
        status.phase = Some(phase.to_owned());
        status.message = None;
        status.last_phase_transition_time = Some(time::seconds(now));
    }
}

fn annotate(meta: &mut ObjectMeta, name: &str, value: &str) {
    meta.annotations.get_or_insert_default().insert(name.to_owned(), value.to_owned());
}
