//! Owns how PriorityClasses meet what is being stored: a pod gets the priority of its class, and of all classes one
//! may be the default. Never says what a class makes of a priority: `model::priority` does.
//!
//! Parity: the Priority admission plugin.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{Error, refused};
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::model::priority;
use crate::store::{self, Query, Store};

/// Every class.
pub fn classes(store: &Store) -> Result<Vec<PriorityClass>, store::Error> {
    let page = store.list(&Query::all(Kind::of::<PriorityClass>()))?;
    Ok(page.objects.iter().filter_map(|object| object.typed::<PriorityClass>().cloned()).collect())
}

/// Gives a new pod the priority of its class. The error is why there can be no such pod.
pub fn assign(pod: &mut Pod, classes: &[PriorityClass]) -> Result<(), String> {
    priority::assign(pod.spec.get_or_insert_default(), classes)
}

/// Refuses a second default class.
pub fn one_default(store: &Store, object: &Object) -> Result<(), Error> {
    if object.typed::<PriorityClass>().is_none_or(|class| class.global_default != Some(true)) {
        return Ok(());
    }
    let name = object.key().name;
    let classes = classes(store)?;
    let other = priority::default_class(&classes).and_then(|class| class.metadata.name.as_deref());
    match other.filter(|other| *other != name) {
        Some(other) => {
            let why = format!("PriorityClass {other} is already marked as default. Only one default can exist");
            Err(refused(object.kind().resource(), object.meta(), why))
        }
        None => Ok(()),
    }
}
