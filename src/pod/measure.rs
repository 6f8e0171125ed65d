//! Owns the regular measure of what pods write to disk, for pods that may only write so much. Never decides: `limits` says
//! what is too much, and `plan` ends the pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::core::{Core, Error};
use super::limits::{self, Usage};
use super::{names, phase, volumes_plan};
use crate::model::object::Object;

/// Measures every pod that runs and has a limit. Without one it asks the engine nothing.
pub async fn everything(core: &Core) -> Result<(), Error> {
    let mut limited = Vec::new();
    for uid in core.memories.uids(|memory| memory.exceeded.is_none() && !memory.containers.is_empty()) {
        let Some(key) = core.store.by_uid(&uid)? else { continue };
        let Some(pod) = core.store.get(&key)?.as_ref().and_then(Object::typed::<Pod>).cloned() else { continue };
        let over = phase::terminal(pod.status.as_ref().and_then(|status| status.phase.as_deref()));
        if !over && limits::is_limited(&pod) {
            limited.push((uid, pod));
        }
    }
    if limited.is_empty() {
        return Ok(());
    }
    let usages = usages(core, &limited, limits::limits_containers).await?;
    for ((uid, pod), usage) in limited.into_iter().zip(usages) {
        if let Some(words) = limits::exceeded(&pod, &usage) {
            core.memories.known(&uid, |memory| memory.exceeded = Some(words));
            core.queue.add(uid);
        }
    }
    Ok(())
}

/// What each of these pods holds on disk: its volumes, and what its containers have written where `counted` wants that.
pub async fn usages(core: &Core, pods: &[(String, Pod)], counted: impl Fn(&Pod) -> bool) -> Result<Vec<Usage>, Error> {
    let wanted: Vec<String> = pods.iter().flat_map(|(_, pod)| volumes_plan::engine_volumes(pod)).collect();
    let sizes = match wanted.is_empty() {
        true => BTreeMap::new(),
        false => core.heard(core.engine.volume_bytes(&wanted).await)?,
    };
    let mut out = Vec::with_capacity(pods.len());
    for (uid, pod) in pods {
        let disk = volumes_plan::on_disk(pod);
        let volumes = disk.keys().filter_map(|name| Some(((*name).to_owned(), *sizes.get(&names::volume(uid, name))?)));
        let containers = if counted(pod) { written(core, uid).await? } else { BTreeMap::new() };
        out.push(Usage { volumes: volumes.collect(), containers });
    }
    Ok(out)
}

/// What each container has written into its own file system; of several runs, the one that wrote most.
async fn written(core: &Core, uid: &str) -> Result<BTreeMap<String, u64>, Error> {
    let mut out = BTreeMap::new();
    let of = |seen: &crate::runtime::ContainerSeen| {
        let (container, _) = names::identity(seen)?;
        Some((container.to_owned(), seen.name.clone()))
    };
    let seen = core.memories.known(uid, |memory| memory.containers.values().filter_map(of).collect::<Vec<_>>());
    for (container, name) in seen.unwrap_or_default() {
        let bytes = core.heard(core.engine.written_bytes(&name).await)?.unwrap_or(0);
        let most = out.entry(container).or_insert(0);
        *most = bytes.max(*most);
    }
    Ok(out)
}
