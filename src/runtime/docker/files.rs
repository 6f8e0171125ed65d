//! Owns the looks at files: of containers, of volumes, and how much they hold; and the way to mount part of a volume.
//! Never writes one: `containers::upload` does.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt as _;

use super::containers::{check_name, form};
use super::wire::Ask;
use super::{Docker, READ_LIMIT, image_mounts};
use crate::runtime::failure::Act;
use crate::runtime::reply::{self, SizeReply, UsageReply, VolumeReply};
use crate::runtime::{ContainerSpec, EntrySeen, Error, Mount, MountSource, image_copy};

/// Bytes of an archive in which its first entry's header is found: a block, and room for what may stand before it.
const HEADER_BYTES: usize = 8 * 1024;
/// Time to measure: the engine walks through all that it has.
const MEASURE_LIMIT: Duration = Duration::from_secs(300);
/// The API since which a part of a volume can be mounted.
const SUB_PATHS: (u32, u32) = (1, 45);
/// The API since which an image can be mounted.
pub(super) const IMAGE_MOUNTS: (u32, u32) = (1, 48);
/// The API since which a mount can be read-only with all below it.
const RECURSIVE_READ_ONLY: (u32, u32) = (1, 44);

/// Looks at the head of the archive that the engine makes of the path, and leaves the rest unread.
pub(super) async fn entry(docker: &Docker, name: &str, path: &str) -> Result<Option<EntrySeen>, Error> {
    let Some(head) = beginning(docker, name, path, HEADER_BYTES).await? else { return Ok(None) };
    reply::entry_seen(&head).map(Some).ok_or_else(|| unreadable(name, path))
}

/// Reads the one file of such an archive.
pub(super) async fn read(docker: &Docker, name: &str, path: &str, most: usize) -> Result<Option<Vec<u8>>, Error> {
    let Some(archive) = beginning(docker, name, path, HEADER_BYTES + most).await? else { return Ok(None) };
    let mut archive = tar::Archive::new(&archive[..]);
    let mut entries = archive.entries().map_err(|_| unreadable(name, path))?;
    let Some(Ok(mut file)) = entries.next() else { return Err(unreadable(name, path)) };
    if !file.header().entry_type().is_file() {
        return Ok(None);
    }
    if file.size() > most as u64 {
        return Err(Error::Refused(format!("{path} has more than {most} bytes")));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(|_| unreadable(name, path))?;
    Ok(Some(content))
}

fn unreadable(name: &str, path: &str) -> Error {
    Error::Engine(format!("{path} of {name} cannot be read"))
}

/// At least so many bytes of the archive that the engine makes of the path, or all; none where nothing is there.
async fn beginning(docker: &Docker, name: &str, path: &str, bytes: usize) -> Result<Option<Vec<u8>>, Error> {
    check_name(name)?;
    let ask = Ask::get(Act::Read, name, format!("/containers/{name}/archive?path={}", form(path)));
    let read = async {
        let response = match docker.wire().open(ask).await {
            Ok(Some(response)) => response,
            Ok(None) => return Ok(None),
            Err(Error::Refused(words)) if is_missing(&words) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut body = response.into_body();
        let mut head = Vec::new();
        while head.len() < bytes {
            let Some(frame) = body.frame().await else { break };
            let frame = frame.map_err(|error| docker.wire().unreachable(error))?;
            head.extend(frame.data_ref().into_iter().flatten());
        }
        Ok(Some(head))
    };
    docker.wire().within(READ_LIMIT, read).await
}

fn is_missing(words: &str) -> bool {
    let words = words.to_lowercase();
    ["could not find the file", "no such file", "not found"].iter().any(|sign| words.contains(sign))
}

pub(super) async fn volume_bytes(docker: &Docker, names: &[String]) -> Result<BTreeMap<String, u64>, Error> {
    // Engines before API 1.42 do not know the type and measure everything.
    let ask = Ask::get(Act::Read, "the volumes' sizes", "/system/df?type=volume".to_owned());
    let reply: UsageReply = docker.wire().read(MEASURE_LIMIT, ask).await?;
    let mut all = reply::volume_bytes(reply);
    all.retain(|name, _| names.contains(name));
    Ok(all)
}

pub(super) async fn written_bytes(docker: &Docker, name: &str) -> Result<Option<u64>, Error> {
    check_name(name)?;
    let ask = Ask::get(Act::Read, name, format!("/containers/{name}/json?size=true"));
    match docker.wire().read::<SizeReply>(MEASURE_LIMIT, ask).await {
        Ok(reply) => Ok(reply.written()),
        Err(Error::NoContainer(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The spec with mounts that this engine knows. One that cannot mount a part of a volume is given its place in the host's
/// files; the caller has seen that no link leads out of the volume.
pub(super) async fn mountable<'a>(docker: &Docker, spec: &'a ContainerSpec) -> Result<Cow<'a, ContainerSpec>, Error> {
    if spec.mounts.iter().any(|mount| mount.recursive_read_only) && !docker.speaks(RECURSIVE_READ_ONLY) {
        return Err(Error::Refused("this engine has no recursive read-only mounts: Docker 25 has".to_owned()));
    }
    let foreign = |mount: &Mount| match mount.source {
        MountSource::SubPath { .. } => !docker.speaks(SUB_PATHS),
        MountSource::Image { .. } => !docker.speaks(IMAGE_MOUNTS),
        MountSource::Bind(_) | MountSource::Volume(_) | MountSource::Tmpfs { .. } => false,
    };
    if !spec.mounts.iter().any(foreign) {
        return Ok(Cow::Borrowed(spec));
    }
    let mut spec = spec.clone();
    for mount in spec.mounts.iter_mut().filter(|mount| foreign(mount)) {
        if let MountSource::Image { image, path } = &mount.source {
            let path = Path::new(image_copy::FILES).join(path);
            mount.source = MountSource::SubPath { volume: image_mounts::copy_name(docker, image), path };
        }
        if docker.speaks(SUB_PATHS) {
            continue;
        }
        if let MountSource::SubPath { volume, path } = &mount.source {
            check_name(volume)?;
            let look = Ask::get(Act::Read, volume, format!("/volumes/{volume}"));
            let found: VolumeReply = docker.wire().read(READ_LIMIT, look).await?;
            mount.source = MountSource::Bind(Path::new(&found.mountpoint).join(path));
        }
    }
    Ok(Cow::Owned(spec))
}
