//! Owns what a pod's claims of storage mean for the pod: which it uses, whether it may run yet, and the names and
//! annotations by which claims and volumes know each other. Never binds one: `storage` does.
//!
//! Parity: `podHasPVCs` and `PreFilter` of the scheduler's `volumebinding`, `pkg/controller/volume/persistentvolume/util`.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Who makes volumes of the container engine; the `provisioner` of a class, and the driver of the volumes it made.
pub const PROVISIONER: &str = "docker-volume.jobdock.io";
/// On a claim whose binding is complete.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On what the controller, rather than a person, bound.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume that was made for a claim: who made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim that waits for its volume to be made: who should.
pub const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// On a claim whose first pod was found: its node.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On the class of claims that name none.
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Whether a pod's claims let it run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All are bound, or it has none.
    Ready,
    /// A volume is about to be bound or made because this pod wants it.
    Binding,
    /// Somebody has to do something first, in the scheduler's words.
    Unschedulable(String),
}

/// The claim that a volume of a pod uses: a claim's name, and whether it is made for the pod.
pub fn of_volume(pod: &Pod, volume: &Volume) -> Option<(String, bool)> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some((source.claim_name.clone(), false));
    }
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    volume.ephemeral.is_some().then(|| (format!("{pod_name}-{}", volume.name), true))
}

/// The claims that a pod uses.
pub fn of_pod(pod: &Pod) -> Vec<(String, bool)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| of_volume(pod, volume)).collect()
}

/// Whether the claim is bound for good.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    volume_name(claim).is_some() && annotation(&claim.metadata, BIND_COMPLETED).is_some()
}

/// The storage class of a claim; empty for none.
pub fn class_of(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default()
}

/// How much the claim asks for.
pub fn size(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")
}

/// The class of claims that name none. Of several defaults the newest counts, and among those of an age the first by
/// name. Parity: `GetDefaultClass`.
pub fn default_class<'a>(classes: impl IntoIterator<Item = &'a StorageClass>) -> Option<&'a StorageClass> {
    let made = |class: &StorageClass| class.metadata.creation_timestamp.as_ref().map(|at| at.0);
    let defaults = classes.into_iter().filter(|class| annotation(&class.metadata, DEFAULT_CLASS) == Some("true"));
    defaults.min_by(|one, other| made(other).cmp(&made(one)).then(one.metadata.name.cmp(&other.metadata.name)))
}

/// The volume that the claim is bound to, or asks for.
pub fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// The engine's volume behind a volume that we made.
pub fn engine_volume(volume: &PersistentVolume) -> Option<&str> {
    let source = volume.spec.as_ref()?.csi.as_ref()?;
    (source.driver == PROVISIONER).then_some(source.volume_handle.as_str())
}

/// An annotation of an object.
pub fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

/// Whether the claim was made for this pod.
pub fn is_made_for(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let mut owners = claim.metadata.owner_references.iter().flatten();
    owners.any(|owner| owner.uid == uid && owner.controller == Some(true))
}

/// Whether the pod may run. `find` knows the claims of its namespace by name; `waits` tells whether a storage class makes
/// or binds a volume only once a pod wants it.
pub fn standing<'a>(
    pod: &Pod,
    find: impl Fn(&str) -> Option<&'a PersistentVolumeClaim>,
    waits: impl Fn(&str) -> bool,
) -> Standing {
    let mut worst = Standing::Ready;
    for (name, ephemeral) in of_pod(pod) {
        let Some(claim) = find(&name) else {
            return Standing::Unschedulable(if ephemeral {
                format!("waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\"")
            } else {
                format!("persistentvolumeclaim \"{name}\" not found")
            });
        };
        if let Some(words) = unusable(pod, claim, &name, ephemeral) {
            return Standing::Unschedulable(words);
        }
        if is_bound(claim) {
            continue;
        }
        let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default();
        if volume_name(claim).is_some() || !waits(class) {
            worst = Standing::Unschedulable("pod has unbound immediate PersistentVolumeClaims".to_owned());
        } else if worst == Standing::Ready {
            worst = Standing::Binding;
        }
    }
    worst
}

/// Why no pod, or not this one, may use a claim that is there.
fn unusable(pod: &Pod, claim: &PersistentVolumeClaim, name: &str, ephemeral: bool) -> Option<String> {
    let lost = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost");
    if lost {
        let volume = volume_name(claim).unwrap_or_default();
        return Some(format!("persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\""));
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Some(format!("persistentvolumeclaim \"{name}\" is being deleted"));
    }
    if ephemeral && !is_made_for(pod, claim) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let pod = pod.metadata.name.as_deref().unwrap_or_default();
        return Some(format!("PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)"));
    }
    None
}
