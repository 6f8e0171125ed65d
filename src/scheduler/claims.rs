//! PURE. Owns what the scheduler knows of claims of storage and of their classes: whether a pod's claims let it run.
//! Never binds one: `storage` does, and the change of the claim is what the scheduler looks again for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::model::claims::{self, Standing};
use crate::model::object::{Key, Object};

/// Claims by namespace and name, and the classes that wait for a pod.
#[derive(Debug, Default)]
pub struct Claims {
    known: HashMap<String, BTreeMap<String, PersistentVolumeClaim>>,
    waiting_classes: BTreeSet<String>,
}

impl Claims {
    /// Takes in a claim or a class as it now stands; says whether it was one.
    pub fn learn(&mut self, object: &Object) -> bool {
        let Key { namespace, name, .. } = object.key();
        if let Some(claim) = object.typed::<PersistentVolumeClaim>() {
            self.known.entry(namespace).or_default().insert(name, claim.clone());
        } else if let Some(class) = object.typed::<StorageClass>() {
            if class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer") {
                self.waiting_classes.insert(name);
            } else {
                self.waiting_classes.remove(&name);
            }
        } else {
            return false;
        }
        true
    }

    /// Takes in that a claim or a class is gone; says whether it was one.
    pub fn forget(&mut self, object: &Object) -> bool {
        let Key { namespace, name, .. } = object.key();
        if object.typed::<PersistentVolumeClaim>().is_some() {
            if let Some(known) = self.known.get_mut(&namespace) {
                known.remove(&name);
                if known.is_empty() {
                    self.known.remove(&namespace);
                }
            }
        } else if object.typed::<StorageClass>().is_some() {
            self.waiting_classes.remove(&name);
        } else {
            return false;
        }
        true
    }

    /// Whether the claims of a pod let it run.
    pub fn standing(&self, pod: &Pod) -> Standing {
        let known = self.known.get(pod.metadata.namespace.as_deref().unwrap_or_default());
        claims::standing(pod, |name| known?.get(name), |class| self.waiting_classes.contains(class))
    }
}
