//! Owns the data directory as a place: its mode, its lock, its socket. Never looks into the database.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use tokio::net::UnixStream;

/// The socket's name in the data directory.
const SOCKET: &str = "jobdock.sock";
/// The lock's name in the data directory.
const LOCK: &str = "lock";
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
    /// It cannot be made or written.
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Directory {
    /// Makes the directory where it is missing, and locks it.
    pub fn lock(path: &Path) -> Result<Self, Refusal> {
        fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE_DIRECTORY))?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(PRIVATE_FILE);
        let mut lock = options.open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder)?;
                let holder = if holder.trim().is_empty() { "unknown".to_owned() } else { holder.trim().to_owned() };
                return Err(Refusal::Held { holder });
            }
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())?;
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
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::lock(dir.path()).unwrap();
        let Err(Refusal::Held { holder }) = Directory::lock(dir.path()) else { panic!("locked twice") };
        assert_eq!(holder, std::process::id().to_string());
        drop(first);
        assert!(Directory::lock(dir.path()).is_ok(), "free again");
    }

    #[test]
    fn the_directory_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let _held = Directory::lock(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_socket_answers_under_a_path_longer_than_the_kernel_takes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d".repeat(120));
        let held = Directory::lock(&path).unwrap();
        assert_eq!(connect(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = tokio::net::UnixListener::bind(held.socket().unwrap().path()).unwrap();
        connect(&path).await.unwrap();
        listener.accept().await.unwrap();
    }
}
