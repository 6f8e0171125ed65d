//! Owns the acts on containers: create with adoption, start, signal, remove, upload, and the looks at them.
//! Never decides which act is due, and never touches a container whose labels are not this store's.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::wire::Ask;
use super::{Docker, READ_LIMIT, files};
use crate::runtime::failure::Act;
use crate::runtime::reply::{ContainerLine, ContainerReply, MountsReply, container_seen};
use crate::runtime::{ContainerSeen, ContainerSpec, Error, LABEL_STORE, Limits, Seen, convert, podman};

/// Time to create: the engine lays out a file system and may have to fill it.
const CREATE_LIMIT: Duration = Duration::from_secs(120);
/// Time to start: network, runtime and mounts; volumes on a network file system take long.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Time to change limits: the kernel may have to take memory back first.
const UPDATE_LIMIT: Duration = Duration::from_secs(60);
/// Time to send a signal, which waits for nothing.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// Time to remove: the engine kills first, waits for the death (10 s), and deletes the files.
const REMOVE_LIMIT: Duration = Duration::from_secs(120);
/// Time to unpack an archive; the largest are a pod's ConfigMaps and Secrets, some MiB.
const UPLOAD_LIMIT: Duration = Duration::from_secs(120);
/// Inspections under way at once in a listing: enough to hide the round trip, few enough to leave the engine room.
const INSPECTIONS: usize = 8;

/// Every container of this store. A listing has neither exit codes nor times, so each is inspected; one that goes
/// away in between is left out.
pub(super) async fn list(docker: &Docker) -> Result<Vec<ContainerSeen>, Error> {
    let filters = form(&convert::store_filter(&docker.inner.store_id));
    let ask = Ask::get(Act::Read, "the containers", format!("/containers/json?all=true&filters={filters}"));
    let lines: Vec<ContainerLine> = docker.wire().read(READ_LIMIT, ask).await?;
    futures::stream::iter(lines)
        .map(|line| async move { inspect(docker, &line.id).await })
        .buffer_unordered(INSPECTIONS)
        .try_filter_map(|seen| async { Ok(seen) })
        .try_collect()
        .await
}

pub(super) async fn inspect(docker: &Docker, name: &str) -> Result<Option<ContainerSeen>, Error> {
    let seen = look(docker, name).await?;
    Ok(seen.filter(|seen| is_of_store(docker, seen)))
}

/// Like [`inspect`], but shows a container that is not ours too.
pub(super) async fn look(docker: &Docker, name: &str) -> Result<Option<ContainerSeen>, Error> {
    check_name(name)?;
    let ask = Ask::get(Act::Read, name, format!("/containers/{name}/json"));
    match docker.wire().read::<ContainerReply>(READ_LIMIT, ask).await {
        Ok(reply) => {
            let seen = container_seen(reply);
            docker.inner.known.set(&seen.name, is_of_store(docker, &seen));
            Ok(Some(seen))
        }
        Err(Error::NoContainer(_)) => {
            docker.inner.known.set(name, false);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_of_store(docker: &Docker, seen: &ContainerSeen) -> bool {
    seen.labels.get(LABEL_STORE).is_some_and(|id| *id == docker.inner.store_id)
}

/// Asks before an act whether the container is ours. Costs a call only for a name that this process has neither
/// created nor looked at. False where it is not there.
async fn is_here(docker: &Docker, name: &str) -> Result<bool, Error> {
    check_name(name)?;
    if docker.inner.known.contains(name) {
        return Ok(true);
    }
    match look(docker, name).await? {
        Some(seen) if is_of_store(docker, &seen) => Ok(true),
        Some(_) => Err(Error::NameTaken(name.to_owned())),
        None => Ok(false),
    }
}

/// [`is_here`], for acts that are nothing without their container.
pub(super) async fn must_be_here(docker: &Docker, name: &str) -> Result<(), Error> {
    if is_here(docker, name).await? { Ok(()) } else { Err(Error::NoContainer(name.to_owned())) }
}

/// Creates, or adopts what an earlier create of ours left (D15, D16: its reply was lost).
pub(super) async fn create(docker: &Docker, spec: &ContainerSpec) -> Result<(), Error> {
    check_name(&spec.name)?;
    match create_once(docker, spec).await {
        Err(taken @ Error::NameTaken(_)) => match look(docker, &spec.name).await? {
            Some(found) if convert::is_ours(&found.labels, spec, &docker.inner.store_id) => Ok(()),
            Some(_) => Err(taken),
            None => create_again(docker, spec).await,
        },
        outcome => outcome,
    }
}

/// The name was taken, but nobody has it: it became free meanwhile, or the engine keeps the name of a container that
/// it has lost, which only its restart cures. Differs from cri-dockerd, which then takes another name: ours must be
/// found again by name.
async fn create_again(docker: &Docker, spec: &ContainerSpec) -> Result<(), Error> {
    create_once(docker, spec).await.map_err(|error| match error {
        Error::NameTaken(name) => Error::Engine(format!(
            "the engine keeps the container name {name} for a container that it does not have; its restart frees it"
        )),
        other => other,
    })
}

async fn create_once(docker: &Docker, spec: &ContainerSpec) -> Result<(), Error> {
    let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
    let spec = &files::mountable(docker, spec).await?;
    let body = convert::create_body(spec, &docker.inner.store_id);
    let body = if docker.inner.version.is_podman() { podman::worded(body, spec.seccomp_file.as_deref()) } else { body };
    let call = async {
        match docker.inner.bollard.create_container(Some(options), body).await {
            Ok(_) => {
                docker.inner.known.made(&spec.name);
                Ok(())
            }
            Err(error) => docker.wire().judged(Act::Create, &spec.name, error),
        }
    };
    docker.wire().within(CREATE_LIMIT, call).await
}

/// Starts a container that has never run. The engine would run one that has ended a second time, so a name that this
/// process has not itself made and left alone is looked at first.
pub(super) async fn start(docker: &Docker, name: &str) -> Result<(), Error> {
    check_name(name)?;
    if !docker.inner.known.take_fresh(name) {
        match look(docker, name).await? {
            None => return Err(Error::NoContainer(name.to_owned())),
            Some(seen) if !is_of_store(docker, &seen) => return Err(Error::NameTaken(name.to_owned())),
            Some(ContainerSeen { state: Seen::Created { .. }, .. }) => {}
            Some(ContainerSeen { state: Seen::Running { .. } | Seen::Exited { .. }, .. }) => return Ok(()),
            Some(ContainerSeen { state: Seen::Dead, .. }) => {
                return Err(Error::Engine(format!("the container {name} is dead and can only be removed")));
            }
        }
    }
    let call = async {
        match docker.inner.bollard.start_container(name, None).await {
            Ok(()) => Ok(()),
            Err(error) => docker.wire().judged(Act::Start, name, error),
        }
    };
    docker.wire().within(START_LIMIT, call).await
}

/// The engine takes it for a running container and for one that is not.
pub(super) async fn update(docker: &Docker, name: &str, limits: &Limits) -> Result<(), Error> {
    must_be_here(docker, name).await?;
    let call = async {
        match docker.inner.bollard.update_container(name, convert::update_body(limits)).await {
            Ok(()) => Ok(()),
            Err(error) => docker.wire().judged(Act::Update, name, error),
        }
    };
    docker.wire().within(UPDATE_LIMIT, call).await
}

pub(super) async fn kill(docker: &Docker, name: &str, signal: &str) -> Result<(), Error> {
    if !is_here(docker, name).await? {
        return Ok(());
    }
    let options = KillContainerOptionsBuilder::default().signal(signal).build();
    let call = async {
        match docker.inner.bollard.kill_container(name, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) => docker.wire().judged(Act::Kill, name, error),
        }
    };
    docker.wire().within(KILL_LIMIT, call).await
}

/// With force and volumes, whatever state it is in (D17: a dead one knows no other way).
pub(super) async fn remove(docker: &Docker, name: &str) -> Result<(), Error> {
    if !is_here(docker, name).await? {
        return Ok(());
    }
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let call = async {
        match docker.inner.bollard.remove_container(name, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) => docker.wire().judged(Act::Remove, name, error),
        }
    };
    docker.wire().within(REMOVE_LIMIT, call).await?;
    docker.inner.known.set(name, false);
    Ok(())
}

pub(super) async fn upload(docker: &Docker, name: &str, path: &str, tar: Bytes) -> Result<(), Error> {
    must_be_here(docker, name).await?;
    if !docker.inner.version.is_podman() {
        return upload_to(docker, name, path, tar).await;
    }
    let ask = Ask::get(Act::Read, name, format!("/containers/{name}/json"));
    let mounts = docker.wire().read::<MountsReply>(READ_LIMIT, ask).await?.volumes();
    let parts = podman::by_mount(path, &tar, &mounts).map_err(|error| Error::Refused(error.to_string()))?;
    for (place, part) in parts {
        upload_to(docker, name, &place, part).await?;
    }
    Ok(())
}

async fn upload_to(docker: &Docker, name: &str, path: &str, tar: Bytes) -> Result<(), Error> {
    let options = UploadToContainerOptionsBuilder::default().path(path).build();
    let call = async {
        match docker.inner.bollard.upload_to_container(name, Some(options), bollard::body_full(tar)).await {
            Ok(()) => Ok(()),
            Err(error) => docker.wire().judged(Act::Upload, name, error),
        }
    };
    docker.wire().within(UPLOAD_LIMIT, call).await
}

/// A name goes into a path, so only what the engine itself allows in names may pass.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if starts && name.bytes().all(fits) { Ok(()) } else { Err(Error::Refused(format!("{name:?} is no name here"))) }
}

/// A value of a query, percent-encoded.
pub(super) fn form(value: &str) -> String {
    value
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Names that are known to be this store's, so that acts need not ask first. Only a memory: losing it costs a call.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<String, Fresh>>);

/// Whether this process has made a container and not yet tried to start it.
#[derive(Clone, Copy, PartialEq)]
enum Fresh {
    /// A start can be the first one only.
    Yes,
    /// It may have been started.
    No,
}

impl Known {
    fn contains(&self, name: &str) -> bool {
        self.names().contains_key(name)
    }

    /// Remembers or forgets a name; what is gone is forgotten, so this is as large as what is there.
    fn set(&self, name: &str, ours: bool) {
        if ours {
            self.names().entry(name.to_owned()).or_insert(Fresh::No);
        } else {
            self.names().remove(name);
        }
    }

    fn made(&self, name: &str) {
        self.names().insert(name.to_owned(), Fresh::Yes);
    }

    /// True once for a name that was made and not started since.
    fn take_fresh(&self, name: &str) -> bool {
        self.names().get_mut(name).is_some_and(|fresh| std::mem::replace(fresh, Fresh::No) == Fresh::Yes)
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Fresh>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
