//! Owns the look at everything: what the engine has of this store is compared with what the store knows, at the start,
//! after every gap in the hints, and slowly ever after. Logs are looked at only at the start: there is one directory for
//! each pod that ever ran, and whoever is there sees pods go.
//! Never removes by itself: a pod that the store no longer has is handed to the queue, whose run finds that and removes
//! what is left of it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

use super::core::{Core, Error};
use super::{image_mounts, phase};
use crate::model::kind::Kind;
use crate::runtime::LABEL_POD_UID;
use crate::store::Query;

/// Looks at every container, volume and directory of this store, and wakes whose they are.
pub async fn everything(core: &Core) -> Result<(), Error> {
    core.ask_life().await?;
    let mut wake: BTreeSet<String> = BTreeSet::new();
    for seen in core.heard(core.engine.containers().await)? {
        let Some(uid) = seen.labels.get(LABEL_POD_UID).cloned() else { continue };
        // What is known already may be newer than this list.
        core.memories.with(&uid, |memory| {
            memory.containers.entry(seen.name.clone()).or_insert(seen);
        });
        wake.insert(uid);
    }
    for volume in core.heard(core.engine.volumes().await)? {
        let Some(uid) = volume.labels.get(LABEL_POD_UID) else { continue };
        if core.store.by_uid(uid)?.is_none() {
            core.memories.with(uid, |memory| memory.engine_volumes.push(volume.name.clone()));
            wake.insert(uid.clone());
        }
    }
    image_mounts::tidy(core).await?;
    wake.extend(directories(core).await?);
    wake.extend(core.memories.uids(|_| true));
    for uid in wake {
        core.memories.known(&uid, |memory| memory.stale = true);
        core.queue.add(uid);
    }
    Ok(())
}

/// The uids that have a directory of files.
async fn directories(core: &Core) -> Result<Vec<String>, Error> {
    let mut out = Vec::new();
    let mut entries = match tokio::fs::read_dir(&core.pods_dir).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(out),
        Err(error) => return Err(error.into()),
    };
    while let Some(entry) = entries.next_entry().await? {
        out.extend(entry.file_name().into_string());
    }
    Ok(out)
}

/// Wakes the uids that have logs and no pod: it went while no agent ran.
pub fn logs(core: &Core) -> Result<(), Error> {
    for uid in core.store.logs().pods()? {
        if core.store.by_uid(&uid)?.is_none() {
            core.queue.add(uid);
        }
    }
    Ok(())
}

/// Wakes every pod that is not over; returns the revision from which to watch.
pub fn pods(core: &Core) -> Result<u64, Error> {
    let revision = core.store.each(&Query::all(Kind::of::<Pod>()), |object| {
        let status = object.typed::<Pod>().and_then(|pod| pod.status.as_ref());
        core.count_running(object.uid(), status);
        let over = phase::terminal(status.and_then(|status| status.phase.as_deref()));
        if !over || object.meta().deletion_timestamp.is_some() {
            core.queue.add(object.uid().to_owned());
        }
        Ok(())
    })?;
    Ok(revision)
}
