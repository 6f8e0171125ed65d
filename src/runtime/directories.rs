//! Owns directories in the engine's volumes: they are looked at and made through a container that mounts the volumes and
//! is never started, because where a volume lies is the engine's business, and may be another machine's.
//! Never reads or writes a file's content.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use super::{ContainerSpec, Error, Mount, MountSource, Runtime};

/// Where the container has the volumes.
const ROOT: &str = "volumes";

/// A directory as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its path below a base (the container's root), without a leading slash.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u64,
    /// Its group.
    pub gid: u64,
}

/// Where a holder has a volume, without the leading slash.
pub fn place(volume: &str) -> String {
    format!("{ROOT}/{volume}")
}

/// The container through which the volumes are reached. The name is `owner`'s, so that what a crash left is found again.
pub fn holder<'a>(
    owner: &str,
    image: &str,
    labels: BTreeMap<String, String>,
    volumes: impl IntoIterator<Item = &'a str>,
) -> ContainerSpec {
    let mount = |volume: &str| Mount {
        source: MountSource::Volume(volume.to_owned()),
        target: format!("/{}", place(volume)),
        ..Mount::default()
    };
    ContainerSpec {
        name: format!("{owner}-_opener"),
        labels,
        image: image.to_owned(),
        mounts: volumes.into_iter().map(mount).collect(),
        ..ContainerSpec::default()
    }
}

/// Makes the directories, or sets what they are, through a holder that is made and removed.
pub async fn make(engine: &dyn Runtime, holder: &ContainerSpec, directories: &[Directory]) -> Result<(), Error> {
    engine.create(holder).await?;
    let outcome = put(engine, &holder.name, "/", directories).await;
    let removed = engine.remove(&holder.name).await;
    outcome.and(removed)
}

/// [`make`] through a container that is there; paths are below `base`, which itself stays as it is.
pub async fn put(engine: &dyn Runtime, container: &str, base: &str, directories: &[Directory]) -> Result<(), Error> {
    let archive = archive(directories).map_err(|error| Error::Refused(error.to_string()))?;
    engine.upload(container, base, archive).await
}

/// An archive of directories and nothing else. The engine takes over what an entry says of a directory that is there.
fn archive(directories: &[Directory]) -> io::Result<Bytes> {
    let mut archive = tar::Builder::new(Vec::new());
    for directory in directories {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(directory.mode);
        header.set_uid(directory.uid);
        header.set_gid(directory.gid);
        archive.append_data(&mut header, format!("{}/", directory.path), io::empty())?;
    }
    Ok(archive.into_inner()?.into())
}
