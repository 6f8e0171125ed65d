//! Owns the parts of volumes that containers mount: they are looked for and made, and none may lead out of its volume.
//! Never decides which: `mounts` did.
//!
//! Where the volume is the host's, a link may lead anywhere inside it. In the engine's volumes and in images no link is
//! followed at all.
//! Parity: `SafeMakeDir` of the kubelet: what is made has the mode of the volume's root.
//! Differs: the kubelet holds the directory open until it is mounted. An engine before API 1.45 mounts by path, so a
//! process that swaps a directory for a link in that instant is not caught there.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path};

use super::mounts::{Root, SubPath};
use crate::runtime::directories::{self, Directory};
use crate::runtime::{ContainerSpec, EntryKind, EntrySeen, Error, Runtime};

/// Inherited by what is made in a directory: it is its group's.
const SETGID: u32 = 0o2000;

/// Makes sure of every part. `holder` mounts the engine's volumes, where there are any.
///
/// # Errors
/// [`Error::Refused`] tells why a part cannot be mounted; others are the engine's.
pub async fn prepare(engine: &dyn Runtime, holder: Option<&ContainerSpec>, parts: &[SubPath]) -> Result<(), Error> {
    if let Some(holder) = holder {
        engine.create(holder).await?;
    }
    let outcome = each(engine, holder, parts).await;
    if let Some(holder) = holder {
        engine.remove(&holder.name).await?;
    }
    outcome
}

async fn each(engine: &dyn Runtime, holder: Option<&ContainerSpec>, parts: &[SubPath]) -> Result<(), Error> {
    for part in parts {
        match (&part.root, holder) {
            (Root::Host(root), _) => {
                on_host(root, &part.path).map_err(|message| Error::Refused(worded(part, &message)))?;
            }
            (Root::Engine(name), Some(holder)) => {
                in_engine(engine, &holder.name, &format!("/{}", directories::place(name)), part).await?;
            }
            (Root::Sandbox(container, root), _) => in_engine(engine, container, root, part).await?,
            (Root::Image(holder), _) => {
                engine.create(holder).await?;
                let outcome = in_image(engine, &holder.name, part).await;
                outcome.and(engine.remove(&holder.name).await)?;
            }
            (Root::Engine(_), None) => {}
        }
    }
    Ok(())
}

fn worded(part: &SubPath, message: &str) -> String {
    format!("failed to prepare subPath \"{}\" of volume \"{}\": {message}", part.path.display(), part.volume)
}

/// Looks at each step of the way, and makes those that are missing.
async fn in_engine(engine: &dyn Runtime, container: &str, root: &str, part: &SubPath) -> Result<(), Error> {
    let refused = |message: &str| Err(Error::Refused(worded(part, message)));
    let found = engine.entry(container, root).await?;
    let top = found.unwrap_or(EntrySeen { kind: EntryKind::Directory, mode: 0o755, uid: 0, gid: 0 });
    let gid = if top.mode & SETGID == 0 { 0 } else { top.gid };
    let (mut missing, mut way) = (Vec::new(), String::new());
    for name in part.path.components() {
        way = format!("{way}/{}", name.as_os_str().to_string_lossy());
        let seen = if missing.is_empty() { engine.entry(container, &format!("{root}{way}")).await? } else { None };
        match seen.map(|seen| seen.kind) {
            None => {
                let path = way.trim_start_matches('/').to_owned();
                missing.push(Directory { path, mode: top.mode, uid: 0, gid });
            }
            Some(EntryKind::Link) => return refused(&format!("{way} is a link, and may lead out of the volume")),
            Some(EntryKind::Directory | EntryKind::Other) => {}
        }
    }
    if missing.is_empty() { Ok(()) } else { directories::put(engine, container, root, &missing).await }
}

/// Looks at each step of the way. An image is as it is: what it does not have cannot be mounted.
async fn in_image(engine: &dyn Runtime, container: &str, part: &SubPath) -> Result<(), Error> {
    let mut way = String::new();
    for name in part.path.components() {
        way = format!("{way}/{}", name.as_os_str().to_string_lossy());
        let problem = match engine.entry(container, &way).await?.map(|seen| seen.kind) {
            None => format!("{way} is not in the image"),
            Some(EntryKind::Link) => format!("{way} is a link, and may lead out of the volume"),
            Some(EntryKind::Directory | EntryKind::Other) => continue,
        };
        return Err(Error::Refused(worded(part, &problem)));
    }
    Ok(())
}

/// Steps from name to name, so that nothing is made beyond a link that leads out.
fn on_host(root: &Path, part: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let root = fs::canonicalize(root).map_err(text)?;
    let mode = fs::metadata(&root).map_err(text)?.mode();
    let mut way = root.clone();
    for name in part.components().filter(|name| matches!(name, Component::Normal(_))) {
        let next = way.join(name);
        if fs::symlink_metadata(&next).is_err() {
            fs::create_dir(&next).map_err(text)?;
            // The process's umask does not apply to a pod's directories.
            fs::set_permissions(&next, fs::Permissions::from_mode(mode & 0o7777)).map_err(text)?;
        }
        way = fs::canonicalize(&next).map_err(text)?;
        if !way.starts_with(&root) {
            return Err(format!("{} leads out of its volume", next.display()));
        }
    }
    Ok(())
}
