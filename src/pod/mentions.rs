//! PURE. Owns which pods mention which objects (ConfigMaps, Secrets, claims), so that a change of one wakes those pods and
//! no other. Never reads the store: observing a pod enters it.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret};

use super::environment;
use crate::model::claims;
use crate::model::object::Key;

/// Mentions, by object and by pod. Bounded by the pods that are not over.
#[derive(Debug, Default)]
pub struct Mentions {
    pods: HashMap<Key, BTreeSet<String>>,
    objects: HashMap<String, BTreeSet<Key>>,
}

impl Mentions {
    /// The pod of this uid mentions these objects, and no others.
    pub fn enter(&mut self, uid: &str, objects: BTreeSet<Key>) {
        if self.objects.get(uid).is_none_or(BTreeSet::is_empty) && objects.is_empty() {
            return;
        }
        if self.objects.get(uid) == Some(&objects) {
            return;
        }
        self.forget(uid);
        for key in &objects {
            self.pods.entry(key.clone()).or_default().insert(uid.to_owned());
        }
        self.objects.insert(uid.to_owned(), objects);
    }

    /// The pod is over.
    pub fn forget(&mut self, uid: &str) {
        for key in self.objects.remove(uid).unwrap_or_default() {
            if let Some(pods) = self.pods.get_mut(&key) {
                pods.remove(uid);
                if pods.is_empty() {
                    self.pods.remove(&key);
                }
            }
        }
    }

    /// The uids of pods that mention the object.
    pub fn of(&self, key: &Key) -> Vec<String> {
        self.pods.get(key).into_iter().flatten().cloned().collect()
    }
}

/// The objects that a pod mentions.
pub fn of_pod(pod: &Pod) -> BTreeSet<Key> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let (maps, secrets) = environment::named_sources(pod);
    let maps = maps.into_iter().map(|name| Key::of::<ConfigMap>(namespace, name));
    let secrets = secrets.into_iter().map(|name| Key::of::<Secret>(namespace, name));
    let claims = claims::of_pod(pod);
    let claims = claims.iter().map(|(name, _)| Key::of::<PersistentVolumeClaim>(namespace, name));
    maps.chain(secrets).chain(claims).collect()
}
