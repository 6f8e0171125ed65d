//! Owns the acts on volumes, which outlive the containers that mount them.
//! Never removes or adopts one that is not this store's: removal goes by the names that [`list`] found or the caller
//! computed, and creation looks at the labels of what was there.

use std::time::Duration;

use bollard::query_parameters::RemoveVolumeOptions;
use bytes::Bytes;

use super::containers::{check_name, form};
use super::wire::Ask;
use super::{Docker, READ_LIMIT};
use crate::runtime::failure::Act;
use crate::runtime::reply::{VolumeReply, VolumesReply, volume_seen};
use crate::runtime::{Error, LABEL_STORE, VolumeSeen, VolumeSpec, convert, podman};

/// Time to create: a directory.
const CREATE_LIMIT: Duration = Duration::from_secs(60);
/// Time to remove: all of a volume's files.
const REMOVE_LIMIT: Duration = Duration::from_secs(300);

/// Creates a volume. The engine answers with the one that is there where the name is taken, so its labels are asked.
pub(super) async fn create(docker: &Docker, spec: &VolumeSpec) -> Result<(), Error> {
    check_name(&spec.name)?;
    let body = convert::volume_body(spec, &docker.inner.store_id);
    let body = if docker.inner.version.is_podman() { podman::worded_volume(body) } else { body };
    let body = serde_json::to_vec(&body).map_err(|error| Error::Refused(error.to_string()))?;
    let ask = Ask::post(Act::Volume, &spec.name, "/volumes/create".to_owned(), "application/json", Bytes::from(body));
    let made: VolumeReply = docker.wire().read(CREATE_LIMIT, ask).await?;
    let seen = volume_seen(made);
    if is_of_store(docker, &seen) { Ok(()) } else { Err(Error::NameTaken(spec.name.clone())) }
}

pub(super) async fn list(docker: &Docker) -> Result<Vec<VolumeSeen>, Error> {
    let filters = form(&convert::store_filter(&docker.inner.store_id));
    let ask = Ask::get(Act::Read, "the volumes", format!("/volumes?filters={filters}"));
    let reply: VolumesReply = docker.wire().read(READ_LIMIT, ask).await?;
    Ok(reply.volumes.into_iter().map(volume_seen).filter(|seen| is_of_store(docker, seen)).collect())
}

/// Removes a volume, after a look at its labels: its content cannot be had back.
pub(super) async fn remove(docker: &Docker, name: &str) -> Result<(), Error> {
    check_name(name)?;
    let look = Ask::get(Act::Read, name, format!("/volumes/{name}"));
    let seen = match docker.wire().read::<VolumeReply>(READ_LIMIT, look).await {
        Ok(reply) => volume_seen(reply),
        Err(Error::Refused(words)) if words.to_lowercase().contains("no such volume") => return Ok(()),
        Err(error) => return Err(error),
    };
    if !is_of_store(docker, &seen) {
        return Err(Error::NameTaken(name.to_owned()));
    }
    let call = async {
        match docker.inner.bollard.remove_volume(name, None::<RemoveVolumeOptions>).await {
            Ok(()) => Ok(()),
            Err(error) => docker.wire().judged(Act::Remove, name, error),
        }
    };
    docker.wire().within(REMOVE_LIMIT, call).await
}

fn is_of_store(docker: &Docker, seen: &VolumeSeen) -> bool {
    seen.labels.get(LABEL_STORE).is_some_and(|id| *id == docker.inner.store_id)
}
