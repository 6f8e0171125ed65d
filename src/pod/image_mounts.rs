//! Owns the copies of images that engines need which cannot mount one: made once for all pods that mount the image, gone
//! when none does. Never decides that a pod needs one: its plan does.
//!
//! A copy stays while a pod's memory names its image, or a label of one of its containers does: the labels outlive the
//! agent. What is not named is removed after the last pod that did, and in every sweep.

use std::sync::Arc;

use super::apply::{RETRY, start_failed};
use super::core::{Core, Error};
use super::facts::StartStep;
use crate::runtime::LABEL_IMAGE;

/// Makes an image mountable in the background, for it may take minutes; then the pod is looked at again.
pub fn begin(core: &Arc<Core>, uid: &str, container: String, image: String) {
    let known = core.memories.with(uid, |memory| {
        let known = memory.mountable.contains_key(&image);
        memory.mountable.entry(image.clone()).or_insert(false);
        known
    });
    if known {
        return;
    }
    let (core_of_task, uid) = (Arc::clone(core), uid.to_owned());
    core.tasks.spawn(async move {
        let core = core_of_task;
        let Some(outcome) = core.stop.run_until_cancelled(prepare(&core, &image)).await else { return };
        match outcome {
            Ok(()) => {
                core.memories.known(&uid, |memory| memory.mountable.insert(image, true));
            }
            Err(error) => {
                core.memories.known(&uid, |memory| memory.mountable.remove(&image));
                if start_failed(&core, &uid, &container, StartStep::Create, error).is_err() {
                    // The engine does not answer: not the container's fault.
                    core.stop.run_until_cancelled(tokio::time::sleep(RETRY.unsigned_abs())).await;
                }
            }
        }
        core.queue.add(uid);
    });
}

/// One copy at a time: two would only share one disk.
async fn prepare(core: &Core, image: &str) -> Result<(), crate::runtime::Error> {
    let _turn = core.copies_turn.lock().await;
    core.heard(core.engine.mountable_image(image).await)
}

/// The pod mounts nothing any more.
pub async fn release(core: &Core, uid: &str) -> Result<(), Error> {
    let mounted = core.memories.known(uid, |memory| std::mem::take(&mut memory.mountable));
    if mounted.is_some_and(|mounted| !mounted.is_empty()) { tidy(core).await } else { Ok(()) }
}

/// Removes copies of images that no pod mounts. While one is being made, that is left to a later time.
pub async fn tidy(core: &Core) -> Result<(), Error> {
    let Ok(_turn) = core.copies_turn.try_lock() else { return Ok(()) };
    for volume in core.heard(core.engine.volumes().await)? {
        let Some(image) = volume.labels.get(LABEL_IMAGE) else { continue };
        // Asked anew each time: a pod may have begun to want it.
        if core.memories.mounted_images().contains(image) {
            continue;
        }
        // What a crash in the middle of the copy left has the same name, and holds the volume.
        let outcome = async {
            core.heard(core.engine.remove(&volume.name).await)?;
            core.heard(core.engine.remove_volume(&volume.name).await)
        };
        if let Err(error) = outcome.await {
            tracing::debug!(%error, volume = %volume.name, "a copy of an image is removed later");
        }
    }
    Ok(())
}
