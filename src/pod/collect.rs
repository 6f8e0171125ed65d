//! Owns the slow look at all of the engine's images: what the node tells of them, which of them jobdock pulled, and the
//! removal of those that are in nobody's use when their disk is full. Never decides which: `image_gc` does.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::core::{Core, Error};
use super::draft::KUBELET;
use super::image_gc::{self, Memory, Victim};
use super::images::Brought;
use super::pressure::Signal;
use super::{inventory, restart};
use crate::model::event::{self, Severity};
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::model::phase;
use crate::runtime::{self, ImageLine};
use crate::store::{Query, Write};

/// How often the node's images are listed.
const LOOK: Duration = Duration::from_secs(60);
/// Looks between two collections. Parity: the kubelet's `ImageGCPeriod` of five minutes.
const COLLECT: u32 = 5;
/// The fact beside the Node object.
const FACT: &str = "images";

/// Looks and collects, now and then.
pub async fn keep(core: &Core) {
    let mut failed_before = false;
    for round in 0_u32.. {
        let listed = list(core).await;
        if let Err(error) = &listed {
            tracing::warn!(error = error as &dyn std::error::Error, "the node's images are listed later");
        }
        if round % COLLECT == 0 && core.image_gc.is_on() {
            let outcome = match listed {
                Ok(images) => collect(core, &images).await,
                Err(error) => Err(error.into()),
            };
            if let Err(failure) = &outcome {
                tracing::warn!(%failure, "images could not be collected");
                // Parity: a first failure may only be a start that has not settled.
                if failed_before {
                    tell(core, "ImageGCFailed", &failure.to_string()).await;
                }
            }
            failed_before = outcome.is_err();
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Why images could not be collected.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The disk stays too full, or makes no sense.
    #[error("{0}")]
    Disk(String),
    /// The engine or the store failed: it is tried again at the next time.
    #[error(transparent)]
    Other(#[from] Error),
}

/// Enters what the engine has, and returns it; the node's next heartbeat tells it.
async fn list(core: &Core) -> Result<Vec<ImageLine>, Error> {
    let images = core.heard(core.engine.images().await)?;
    let told = inventory::told(&images);
    core.with_ground(|ground| ground.images = Some(told));
    Ok(images)
}

async fn collect(core: &Core, images: &[ImageLine]) -> Result<(), Failure> {
    let mut in_use = core.heard(core.engine.images_in_use().await).map_err(Error::from)?;
    in_use.extend(wanted(core).await?);
    let now = Timestamp::now();
    let memory = change(core, |memory| memory.looked(images, &in_use, now)).await?;
    let Some(disk) = core.with_ground(|ground| ground.room.get(&Signal::Imagefs).copied()) else {
        return Err(Failure::Disk("the disk of the engine's images cannot be seen from here".to_owned()));
    };
    let excess = match image_gc::excess(&core.image_gc, disk) {
        Ok(excess) => excess,
        Err(message) => {
            tell(core, "InvalidDiskCapacity", &message).await;
            return Err(Failure::Disk(message));
        }
    };
    let Some(excess) = excess else { return Ok(()) };
    let (freed, errors) = free(core, image_gc::victims(&core.image_gc, &memory, images, &in_use, now), excess).await;
    if !errors.is_empty() {
        return Err(Failure::Disk(image_gc::removal_failed(excess, freed, &errors)));
    }
    if freed < excess {
        let message = image_gc::shortfall(excess, freed);
        tell(core, "FreeDiskSpaceFailed", &message).await;
        return Err(Failure::Disk(message));
    }
    Ok(())
}

/// Ids of the images that pods will want which are not over: they may be about to start.
async fn wanted(core: &Core) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    core.store.each(&Query::all(Kind::of::<Pod>()), |object| {
        let Some(pod) = object.typed::<Pod>() else { return Ok(()) };
        if let Some(spec) = pod.spec.as_ref().filter(|_| !phase::is_over(pod)) {
            names.extend(restart::containers(spec).filter_map(|(_, container)| container.image.clone()));
            let volumes = spec.volumes.iter().flatten();
            names.extend(volumes.filter_map(|volume| volume.image.as_ref()?.reference.clone()));
        }
        Ok(())
    })?;
    let mut ids = BTreeSet::new();
    for name in names {
        ids.extend(core.heard(core.images.present(&name).await)?.map(|seen| seen.id));
    }
    Ok(ids)
}

/// Removes images until enough is free. Goes on after an error: another image may go.
async fn free(core: &Core, victims: Vec<Victim>, wanted: u64) -> (u64, Vec<String>) {
    let (mut freed, mut errors) = (0, Vec::new());
    for victim in victims {
        if freed >= wanted {
            break;
        }
        match remove(core, &victim).await {
            Ok(true) => {
                tracing::info!(image = ?victim.names, bytes = victim.bytes, "an image was removed to make room");
                freed += victim.bytes;
            }
            // It has names of somebody else's: it stays, without jobdock's.
            Ok(false) => {}
            Err(error) => errors.push(error.to_string()),
        }
    }
    (freed, errors)
}

/// Takes jobdock's names from an image; says whether it is gone.
async fn remove(core: &Core, victim: &Victim) -> Result<bool, runtime::Error> {
    for name in &victim.names {
        core.images.missing(name);
        core.heard(core.engine.remove_image(name).await)?;
    }
    Ok(core.heard(core.engine.image(&victim.id).await)?.is_none())
}

/// Remembers an image that a pull brought, so that it may be removed one day.
pub async fn remember(core: &Core, brought: Brought) {
    let Brought { id, name, before } = brought;
    let now = Timestamp::now();
    let outcome = change(core, |memory| {
        // One that was there before is its bringer's, unless that was jobdock.
        if before.is_some_and(|before| !before.contains(&id)) || memory.holds(&id) {
            memory.pulled(&id, &name, now);
        }
    });
    if let Err(error) = outcome.await {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, "a pulled image is not remembered, and so never collected");
    }
}

/// Changes what is remembered, one change at a time; returns what is remembered then.
async fn change(core: &Core, change: impl FnOnce(&mut Memory)) -> Result<Memory, Error> {
    let _one_at_a_time = core.images_turn.lock().await;
    let Some(node) = node(core)? else { return Ok(Memory::default()) };
    let kept = core.store.fact(node.uid(), FACT)?;
    let before: Memory = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let mut memory = before.clone();
    change(&mut memory);
    if memory != before
        && let Ok(bytes) = serde_json::to_vec(&memory)
    {
        let write = Write::Remember { uid: node.uid().to_owned(), name: FACT, value: bytes.into() };
        core.store.commit(vec![write]).await?;
    }
    Ok(memory)
}

fn node(core: &Core) -> Result<Option<Object>, Error> {
    let name = core.with_ground(|ground| ground.node.name.clone());
    Ok(core.store.get(&Key::of::<Node>("", &name))?)
}

/// An Event about the node. One that is lost is told again at the next time.
async fn tell(core: &Core, reason: &str, message: &str) {
    let Ok(Some(node)) = node(core) else { return };
    let said = event::about(&node, KUBELET, Severity::Warning, reason, message, Timestamp::now());
    if let Err(error) = core.store.commit(vec![Write::Record(said)]).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "an Event about the node is lost");
    }
}
