//! Owns what a RuntimeClass makes of the pods that name it: what they cost beside their containers, and where they may
//! run. Never says what runs them: the node agent does, by the class's handler.
//!
//! Parity: the RuntimeClass admission plugin.

use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};
use k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};

use crate::model::field::same;
use crate::model::object::Key;
use crate::store::{self, Store};

/// The class that a pod names, or why there can be no such pod: isolation that was asked for must not be missing in
/// silence.
pub fn of(store: &Store, pod: &Pod) -> Result<Result<Option<RuntimeClass>, String>, store::Error> {
    let Some(name) = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_ref()) else { return Ok(Ok(None)) };
    let stored = store.get(&Key::of::<RuntimeClass>("", name))?;
    let class = stored.as_ref().and_then(|object| object.typed::<RuntimeClass>()).cloned();
    Ok(class.map(Some).ok_or_else(|| format!("pod rejected: RuntimeClass \"{name}\" not found")))
}

/// Gives a new pod what its class says. The error is why there can be no such pod.
pub fn assign(pod: &mut Pod, class: Option<&RuntimeClass>) -> Result<(), String> {
    let spec = pod.spec.get_or_insert_default();
    let given = spec.overhead.as_ref().filter(|overhead| !overhead.is_empty());
    match class.and_then(|class| class.overhead.as_ref()) {
        Some(overhead) if given.is_some() && !same(&spec.overhead, &overhead.pod_fixed) => {
            return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned());
        }
        Some(overhead) => spec.overhead.clone_from(&overhead.pod_fixed),
        None if given.is_some() => {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(why.to_owned());
        }
        None => {}
    }
    class.and_then(|class| class.scheduling.as_ref()).map_or(Ok(()), |wanted| place(spec, wanted))
}

fn place(spec: &mut PodSpec, wanted: &Scheduling) -> Result<(), String> {
    for (key, value) in wanted.node_selector.iter().flatten() {
        let selector = spec.node_selector.get_or_insert_default();
        if let Some(own) = selector.get(key).filter(|own| *own != value) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
            ));
        }
        selector.insert(key.clone(), value.clone());
    }
    let all: Vec<&Toleration> = spec.tolerations.iter().flatten().chain(wanted.tolerations.iter().flatten()).collect();
    let mut kept: Vec<Toleration> = Vec::new();
    for (index, toleration) in all.iter().enumerate() {
        let before = kept.iter().any(|one| includes(one, toleration));
        let after = all[index + 1..].iter().any(|one| one != toleration && includes(one, toleration));
        if !before && !after {
            kept.push((*toleration).clone());
        }
    }
    spec.tolerations = (!kept.is_empty()).then_some(kept);
    Ok(())
}

/// Whether one tolerates all that the other does. Parity: `isSuperset`.
fn includes(one: &Toleration, other: &Toleration) -> bool {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let exists = text(&one.operator) == "Exists";
    let (key, effect) = (text(&one.key), text(&one.effect));
    if one == other {
        return true;
    }
    if (text(&other.key) != key && !(key.is_empty() && exists)) || (text(&other.effect) != effect && !effect.is_empty())
    {
        return false;
    }
    if effect == "NoExecute"
        && let Some(most) = one.toleration_seconds
        && other.toleration_seconds.is_none_or(|seconds| seconds > most)
    {
        return false;
    }
    exists || (text(&other.operator) == "Equal" && text(&other.value) == text(&one.value))
}
