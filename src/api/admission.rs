//! Owns what has to be looked up in the store before an object may be written: priority classes.
//! Never judges an object by itself: `model::admit` does.
//!
//! Parity: the Priority admission plugin. Differs: upstream asks it before validation, here it comes after.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::error::Problem;
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::model::priority;
use crate::store::{Query, Store};

/// A new object, with what its classes give it.
pub fn create(store: &Store, object: Object) -> Result<Object, Problem> {
    let Some(pod) = object.typed::<Pod>() else { return one_default(store, object) };
    let mut pod = pod.clone();
    let assigned = priority::assign(pod.spec.get_or_insert_default(), &classes(store)?);
    assigned.map_err(|why| Problem::forbidden(object.kind(), &object.key().name, &why))?;
    Ok(Object::new(pod))
}

/// An object as it is to replace another.
pub fn update(store: &Store, object: Object) -> Result<Object, Problem> {
    one_default(store, object)
}

/// Of all classes one may be the default.
fn one_default(store: &Store, object: Object) -> Result<Object, Problem> {
    if object.typed::<PriorityClass>().is_some_and(|class| class.global_default == Some(true)) {
        let name = object.key().name;
        let classes = classes(store)?;
        let other = priority::default_class(&classes).and_then(|class| class.metadata.name.as_deref());
        if let Some(other) = other.filter(|other| *other != name) {
            let why = format!("PriorityClass {other} is already marked as default. Only one default can exist");
            return Err(Problem::forbidden(object.kind(), &name, &why));
        }
    }
    Ok(object)
}

fn classes(store: &Store) -> Result<Vec<PriorityClass>, Problem> {
    let page = store.list(&Query::all(Kind::of::<PriorityClass>()))?;
    Ok(page.objects.iter().filter_map(|object| object.typed::<PriorityClass>().cloned()).collect())
}
