//! Owns a pod's files on the machine: the directories behind configMap, secret, downwardAPI and projected volumes, the
//! files of termination messages, and the checks of host paths. Never decides what a volume holds: `volumes_plan` did.
//!
//! Files are replaced as the kubelet replaces them, so that a reader sees all of the old or all of the new:
//! ```text
//!  key -> ..data/key          (a link per top-level name)
//!  ..data -> ..17000000000    (renamed into place)
//!  ..17000000000/key          (the bytes)
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File as Handle, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink,
};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::facts::Attempt;
use super::payload::File;
use super::spec;
use super::termination;
use super::volumes_plan::VolumeWork;
use crate::runtime::directories::{self, Directory};
use crate::runtime::{self, ContainerSpec, Runtime};

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";
/// Anyone may write a termination message, whoever the container runs as.
const MESSAGE_MODE: u32 = 0o666;
/// What is made of a host path that is not there. Parity: the kubelet's `MakeDir` and `MakeFile`.
const HOST_DIR_MODE: u32 = 0o755;
const HOST_FILE_MODE: u32 = 0o644;

/// A volume that does not stand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be had as things stand: tell the user, try again later.
    #[error("{message}")]
    Volume {
        /// The volume's name in the pod.
        volume: String,
        /// Why.
        message: String,
    },
    /// The engine does not answer: try again when it does.
    #[error(transparent)]
    Engine(#[from] runtime::Error),
}

/// Makes everything on the list; making it again is harmless.
pub async fn prepare(engine: &dyn Runtime, pod_dir: &Path, work: Vec<VolumeWork>) -> Result<(), Error> {
    for item in work {
        match item {
            VolumeWork::Engine { volume, spec } => {
                // The directory stands for the pod's data: while it exists there is something to remove.
                private_dir(pod_dir).map_err(|error| refused(&volume, &error))?;
                engine.create_volume(&spec).await.map_err(|error| failed(&volume, error))?;
            }
            VolumeWork::Claimed { volume, spec } => {
                engine.create_volume(&spec).await.map_err(|error| failed(&volume, error))?;
            }
            VolumeWork::Files { volume, dir, files, group } => {
                private_dir(pod_dir)
                    .and_then(|()| write_files(&dir, &files, group))
                    .map_err(|error| refused(&volume, &error))?;
            }
            VolumeWork::Host { volume, path, check } => {
                check_host_path(&path, &check).map_err(|message| Error::Volume { volume, message })?;
            }
            VolumeWork::Local { volume, path } => {
                if !path.exists() {
                    let message = format!("path \"{}\" does not exist", path.display());
                    return Err(Error::Volume { volume, message });
                }
            }
            VolumeWork::Open { holder, directories } => {
                let outcome = directories::make(engine, &holder, &directories).await;
                outcome.map_err(|error| failed(named(&directories[0].path), error))?;
            }
            VolumeWork::Own { holder, paths, group, mode } => {
                let outcome = own(engine, &holder, &paths, group, mode).await;
                outcome.map_err(|error| failed(named(&paths[0]), error))?;
            }
            VolumeWork::Impossible { volume, message } => return Err(Error::Volume { volume, message }),
        }
    }
    Ok(())
}

/// An engine that does not answer is waited for; what it refuses is told.
fn failed(volume: &str, error: runtime::Error) -> Error {
    match error {
        error @ runtime::Error::Unreachable { .. } => Error::Engine(error),
        error => Error::Volume { volume: volume.to_owned(), message: error.to_string() },
    }
}

/// The last name of a path.
fn named(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Gives directories to a group, where they are not its.
async fn own(
    engine: &dyn Runtime,
    holder: &ContainerSpec,
    paths: &[String],
    group: u64,
    mode: u32,
) -> Result<(), runtime::Error> {
    engine.create(holder).await?;
    let outcome = async {
        let mut wrong = Vec::new();
        for path in paths {
            let Some(seen) = engine.entry(&holder.name, &format!("/{path}")).await? else { continue };
            if seen.gid != group || seen.mode & mode != mode {
                wrong.push(Directory { path: path.clone(), mode: seen.mode | mode, uid: seen.uid, gid: group });
            }
        }
        if wrong.is_empty() { Ok(()) } else { directories::put(engine, &holder.name, "/", &wrong).await }
    }
    .await;
    outcome.and(engine.remove(&holder.name).await)
}

fn refused(volume: &str, error: &io::Error) -> Error {
    Error::Volume { volume: volume.to_owned(), message: error.to_string() }
}

/// Makes a directory that only this user can enter; success where it is there.
pub fn private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn open_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o755))
}

fn write_files(dir: &Path, files: &BTreeMap<String, File>, group: Option<u32>) -> io::Result<()> {
    open_dir(dir)?;
    let current = fs::read_link(dir.join(DATA)).ok();
    if current.as_ref().is_some_and(|current| holds(&dir.join(current), files, group)) {
        return link_names(dir, files);
    }
    // Which number it has only must differ from the one in use.
    let number = current
        .as_ref()
        .and_then(|old| old.to_str()?.strip_prefix("..")?.parse::<u64>().ok())
        .map_or(1, |number| number + 1);
    let fresh = format!("..{number}");
    let target = dir.join(&fresh);
    remove_all(&target)?;
    open_dir(&target)?;
    for (path, file) in files {
        let path = target.join(path);
        if let Some(parent) = path.parent() {
            open_dir(parent)?;
        }
        fs::write(&path, &file.bytes)?;
        let shared = group.is_some_and(|group| chown(&path, None, Some(group)).is_ok());
        fs::set_permissions(&path, Permissions::from_mode(file_mode(file, group, shared)))?;
    }
    let next = dir.join(DATA_NEXT);
    remove_all(&next)?;
    symlink(&fresh, &next)?;
    fs::rename(&next, dir.join(DATA))?;
    link_names(dir, files)?;
    match current {
        Some(old) if old != Path::new(&fresh) => remove_all(&dir.join(old)),
        Some(_) | None => Ok(()),
    }
}

/// The pod's group may read what is made for it.
/// Differs: where this process may not give files to the group, everybody may read them instead.
fn file_mode(file: &File, group: Option<u32>, shared: bool) -> u32 {
    match (group, shared) {
        (None, _) => file.mode,
        (Some(_), true) => file.mode | 0o440,
        (Some(_), false) => file.mode | 0o444,
    }
}

/// Whether the directory holds these files and no others.
fn holds(dir: &Path, files: &BTreeMap<String, File>, group: Option<u32>) -> bool {
    let same = |(path, file): (&String, &File)| {
        let path = dir.join(path);
        let mode = fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o777);
        mode.is_ok_and(|mode| mode == file_mode(file, group, true) || mode == file_mode(file, group, false))
            && fs::read(&path).is_ok_and(|bytes| bytes == file.bytes)
    };
    files.iter().all(same) && count(dir).is_ok_and(|found| found == files.len())
}

/// Files below a directory.
fn count(dir: &Path) -> io::Result<usize> {
    fs::read_dir(dir)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        Ok(sum + if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 })
    })
}

/// A link for each top-level name, none for names that are gone.
fn link_names(dir: &Path, files: &BTreeMap<String, File>) -> io::Result<()> {
    let names: Vec<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        match symlink(Path::new(DATA).join(name), dir.join(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !names.contains(&name.as_ref()) {
            remove_all(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file, a link or a tree; success where nothing is there.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let outcome = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Parity: `checkTypeInternal` of the kubelet's host path volumes.
fn check_host_path(path: &Path, check: &str) -> Result<(), String> {
    let found = fs::metadata(path).ok();
    let failed = |what: &str| Err(format!("hostPath type check failed: {} is not {what}", path.display()));
    let kind = found.as_ref().map(fs::Metadata::file_type);
    match check {
        "DirectoryOrCreate" | "" if found.is_none() => {
            // Without a type, the engine says what is wrong if this process may not make it.
            let made = make_dirs(path);
            if check.is_empty() { Ok(()) } else { made.map_err(|error| failure("mkdir", path, &error)) }
        }
        "FileOrCreate" if found.is_none() => make_file(path).map_err(|error| failure("open", path, &error)),
        "" => Ok(()),
        "DirectoryOrCreate" | "Directory" if !kind.is_some_and(|kind| kind.is_dir()) => failed("a directory"),
        "FileOrCreate" | "File" if !kind.is_some_and(|kind| kind.is_file()) => failed("a file"),
        "Socket" if !kind.is_some_and(|kind| kind.is_socket()) => failed("a socket file"),
        "CharDevice" if !kind.is_some_and(|kind| kind.is_char_device()) => failed("a character device"),
        "BlockDevice" if !kind.is_some_and(|kind| kind.is_block_device()) => failed("a block device"),
        _met => Ok(()),
    }
}

/// Makes a directory of the host and those above it, as open as a kubelet makes them: this process's umask is for its own
/// files.
fn make_dirs(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dirs(parent)?;
    }
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(HOST_DIR_MODE))
}

fn make_file(path: &Path) -> io::Result<()> {
    Handle::create(path)?.set_permissions(Permissions::from_mode(HOST_FILE_MODE))
}

/// `open /a/b: No such file or directory`, as Go says it.
fn failure(act: &str, path: &Path, error: &io::Error) -> String {
    let why = error.raw_os_error().map_or_else(|| error.to_string(), |code| Errno::from_raw(code).desc().to_owned());
    format!("{act} {}: {why}", path.display())
}

/// Makes the empty file that a container writes its termination message to.
pub fn make_message_file(path: &str) -> io::Result<()> {
    let path = PathBuf::from(path);
    if let Some(parent) = path.parent() {
        private_dir(parent)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(MESSAGE_MODE).open(&path)?;
    // The process's umask does not apply to what a container may do.
    file.set_permissions(Permissions::from_mode(MESSAGE_MODE))
}

/// What a run wrote as its termination message, as far as anyone will show it.
pub fn read_message(pod_dir: &str, run: &Attempt) -> Option<String> {
    let limit = u64::try_from(termination::MAX_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = Handle::open(spec::message_file(pod_dir, run)).ok()?;
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
