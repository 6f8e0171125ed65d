//! Owns the data directory as a place: its mode, its lock, who holds that, its socket. Never looks into the database.
//!
//! A directory that is missing is made, the owner's alone. One that is there keeps its mode, for it is somebody's: it is
//! taken if it is empty or holds a database of ours, and what is put into it is the owner's alone (the process's umask).

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use tokio::net::UnixStream;

use crate::store;

/// The socket's name in the data directory.
const SOCKET: &str = "jobdock.sock";
/// The lock's name in the data directory.
const LOCK: &str = "lock";
/// What may lie in a directory that is taken although it has no database: a lock whose holder never came to make one, and
/// what a fresh file system has.
const HARMLESS: [&str; 2] = [LOCK, "lost+found"];
/// What follows the process id in the lock of a daemon that ends with its command.
const PASSING: &str = "run";
/// Longest path of a socket that the kernel takes (`sun_path`, less the closing zero).
const LONGEST_SOCKET_PATH: usize = 107;
/// Only the owner: the API gives power over the engine, and Secrets lie in the database.
const PRIVATE_DIRECTORY: u32 = 0o700;
/// Only the owner.
const PRIVATE_FILE: u32 = 0o600;

/// The locked data directory; the lock goes with it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

/// Why the data directory cannot be had.
#[derive(Debug)]
pub enum Refusal {
    /// Another process has it.
    Held {
        /// Its process id, as far as it told.
        holder: String,
    },
    /// It is somebody's, and not jobdock's.
    Foreign,
    /// It cannot be made or written.
    Io(io::Error),
}

/// The process that has locked a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub process: String,
    /// Whether its daemon ends with the command that started it.
    pub passing: bool,
}

/// Who holds a data directory, where that process lives. Asked of the lock's text, for trying the lock would be in the
/// way of a daemon that starts just then.
pub fn holder(directory: &Path) -> Option<Holder> {
    let text = fs::read_to_string(directory.join(LOCK)).ok()?;
    let mut words = text.split_whitespace();
    let process = words.next()?.to_owned();
    // A process of somebody else's (EPERM) lives, too.
    let lives = kill(Pid::from_raw(process.parse().ok()?), None) != Err(nix::errno::Errno::ESRCH);
    lives.then(|| Holder { process, passing: words.next() == Some(PASSING) })
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Directory {
    /// Makes the directory where it is missing, and locks it. A `passing` holder ends with its command.
    pub fn lock(path: &Path, passing: bool) -> Result<Self, Refusal> {
        fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(path)?;
        if !is_ours(path)? {
            return Err(Refusal::Foreign);
        }
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(PRIVATE_FILE);
        let mut lock = options.open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder)?;
                return Err(Refusal::Held { holder: holder.split_whitespace().next().unwrap_or("unknown").to_owned() });
            }
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        lock.rewind()?;
        let kind = if passing { PASSING } else { "" };
        // Always as long, in one write: who reads it just then finds the old holder or the new one.
        lock.write_all(format!("{:<10} {kind:<3}\n", std::process::id()).as_bytes())?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its socket.
    pub fn socket(&self) -> io::Result<Socket> {
        Socket::of(&self.path)
    }
}

/// Whether a directory may be filled with jobdock's files: it has a database of ours, or nothing that is anybody's.
fn is_ours(path: &Path) -> io::Result<bool> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name());
    }
    let known = |name: &OsStr| HARMLESS.iter().any(|harmless| name == *harmless);
    Ok(names.iter().any(|name| name == store::DATABASE) || names.iter().all(|name| known(name)))
}

/// Connects to the daemon of a data directory.
pub async fn connect(directory: &Path) -> io::Result<UnixStream> {
    let socket = Socket::of(directory)?;
    UnixStream::connect(socket.path()).await
}

/// The socket under a path that is short enough for the kernel: its own, or one through an open file descriptor of
/// the directory, which has to stay open for as long as the path is used.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl Socket {
    fn of(directory: &Path) -> io::Result<Self> {
        let path = directory.join(SOCKET);
        if path.as_os_str().len() <= LONGEST_SOCKET_PATH {
            return Ok(Self { path, _directory: None });
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = nix::fcntl::open(directory, flags, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(OsStr::new(SOCKET));
        Ok(Self { path, _directory: Some(opened) })
    }

    /// Where to bind or to connect.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_second_holder_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::lock(dir.path(), false).unwrap();
        let Err(Refusal::Held { holder }) = Directory::lock(dir.path(), false) else { panic!("locked twice") };
        assert_eq!(holder, std::process::id().to_string());
        drop(first);
        assert!(Directory::lock(dir.path(), false).is_ok(), "free again");
    }

    #[test]
    fn the_directory_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let _held = Directory::lock(&path, false).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_directory_with_files_of_somebody_else_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(dir.path().join("mine"), "").unwrap();
        assert!(matches!(Directory::lock(dir.path(), false), Err(Refusal::Foreign)));
        assert_eq!((mode(dir.path()), fs::read_dir(dir.path()).unwrap().count()), (0o1777, 1));
        fs::write(dir.path().join(store::DATABASE), "").unwrap();
        assert!(Directory::lock(dir.path(), false).is_ok(), "ours, and a note of the owner's in it");
        assert_eq!(mode(dir.path()), 0o1777);
    }

    #[test]
    fn an_empty_directory_is_taken_with_its_mode_and_again_where_only_a_lock_came_of_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for _ in 0..2 {
            assert!(Directory::lock(dir.path(), false).is_ok());
        }
        assert_eq!(mode(dir.path()), 0o755);
    }

    #[test]
    fn the_holder_is_told_with_what_it_is_while_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()), None);
        for passing in [true, false] {
            let held = Directory::lock(dir.path(), passing).unwrap();
            let process = std::process::id().to_string();
            assert_eq!(holder(dir.path()), Some(Holder { process, passing }));
            drop(held);
        }
        fs::write(dir.path().join(LOCK), format!("{} run\n", i32::MAX)).unwrap();
        assert_eq!(holder(dir.path()), None, "no such process");
    }

    #[tokio::test]
    async fn a_socket_answers_under_a_path_longer_than_the_kernel_takes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d".repeat(120));
        let held = Directory::lock(&path, false).unwrap();
        assert_eq!(connect(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = tokio::net::UnixListener::bind(held.socket().unwrap().path()).unwrap();
        connect(&path).await.unwrap();
        listener.accept().await.unwrap();
    }
}
