//! Owns who holds which device: one pod at a time is given some, and what it got is on disk before a container of it is
//! made. Never chooses: `devices` does. A pod that is over holds nothing, which is looked up rather than noted.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::core::{Core, Error};
use super::devices::{self, Wanted};
use crate::model::kind::Kind;
use crate::model::phase;
use crate::runtime::{ContainerSeen, Devices, Seen};
use crate::store::{Query, Write};

/// The fact beside a pod that holds its devices.
const FACT: &str = "devices";

/// What each pod was given, by uid; none before the first look.
#[derive(Default)]
pub struct Book(tokio::sync::Mutex<Option<BTreeMap<String, Devices>>>);

/// What a pod was given.
pub fn given(core: &Core, uid: &str) -> Result<Option<Devices>, Error> {
    let kept = core.store.fact(uid, FACT)?;
    Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Gives a pod its devices, or notes that there are too few.
pub async fn assign(core: &Core, uid: &str, wanted: &Wanted) -> Result<(), Error> {
    let mut book = core.device_book.0.lock().await;
    // Taken out, so that a failure below makes the next one read it anew.
    let mut held = match book.take() {
        Some(held) => held,
        None => read(core)?,
    };
    held.remove(uid);
    for holder in held.keys().cloned().collect::<Vec<_>>() {
        if !holds(core, &holder)? {
            held.remove(&holder);
        }
    }
    let offered = core.with_ground(|ground| ground.node.devices.clone());
    match devices::allocate(wanted, &offered, held.values()) {
        Ok(own) => {
            let value = serde_json::to_vec(&own).unwrap_or_default().into();
            core.store.commit(vec![Write::Remember { uid: uid.to_owned(), name: FACT, value }]).await?;
            held.insert(uid.to_owned(), own);
        }
        Err(words) => core.memories.with(uid, |memory| memory.devices_short = Some(words)),
    }
    *book = Some(held);
    Ok(())
}

/// What pods were given by agents before this one.
fn read(core: &Core) -> Result<BTreeMap<String, Devices>, Error> {
    let mut active = Vec::new();
    core.store.each(&Query::all(Kind::of::<Pod>()), |object| {
        if object.typed::<Pod>().is_some_and(|pod| !phase::is_over(pod)) {
            active.push(object.uid().to_owned());
        }
        Ok(())
    })?;
    let mut held = BTreeMap::new();
    for uid in active {
        held.extend(given(core, &uid)?.map(|devices| (uid, devices)));
    }
    Ok(held)
}

/// A pod that is not over, or of which a container runs on: it was deleted without waiting for that.
fn holds(core: &Core, uid: &str) -> Result<bool, Error> {
    let runs = |seen: &ContainerSeen| matches!(seen.state, Seen::Running { .. });
    if core.memories.known(uid, |memory| memory.containers.values().any(runs)) == Some(true) {
        return Ok(true);
    }
    let Some(key) = core.store.by_uid(uid)? else { return Ok(false) };
    let object = core.store.get(&key)?;
    Ok(object.as_ref().and_then(|object| object.typed::<Pod>()).is_some_and(|pod| !phase::is_over(pod)))
}
