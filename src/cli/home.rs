//! Owns the way to the daemon of a data directory: find the one that runs, or become it.
//! Never speaks HTTP: it hands out connections to the daemon's socket.
//!
//! ```text
//!  connection wanted --> socket answers? --yes--> connection
//!        ^                    | no
//!        |                    v
//!        |             lock of the directory free? --yes--> start the daemon in this process --> connection
//!        +---- wait ---------+ no: another process is just starting or stopping
//! ```
//!
//! So two `jobdock run` share one daemon, and when the one that held it ends, the other takes over.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::daemon::{self, Config, Daemon, Holder};

/// How long another process may take to start or to stop on the same data directory.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between looks at it.
const PAUSE: Duration = Duration::from_millis(50);

/// The daemon of one data directory, wherever it runs. Clones share it.
#[derive(Clone)]
pub struct Home(Arc<Inner>);

struct Inner {
    config: Config,
    /// Whether a daemon that ends with another command will not do.
    lasting: bool,
    inside: Mutex<Inside>,
    /// Why the daemon in this process has ended by itself, if it has.
    broken: watch::Sender<Option<String>>,
}

enum Inside {
    /// No daemon in this process; one may be started.
    Outside,
    /// The daemon runs in this process.
    Here(Box<Daemon>),
    /// None may be started: the command uses a daemon or none, or it is ending.
    Never,
}

/// What this process is to the data directory.
enum Became {
    /// Its daemon, just now.
    Daemon,
    /// Its daemon, for a while.
    Already,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No daemon runs, and this command does not start one.
    #[error("no jobdock daemon runs on {0}")]
    NoDaemon(String),
    /// A daemon runs, but one that ends with the command that started it.
    #[error("no daemon runs on {directory}, only a `jobdock run` (process {process}), which ends with its own Jobs")]
    Passing {
        /// The data directory.
        directory: String,
        /// The command's process id.
        process: String,
    },
    /// Another process holds the data directory but does not answer.
    #[error("another jobdock (process {holder}) holds {directory} but its socket does not answer")]
    Silent {
        /// The data directory.
        directory: String,
        /// Its process id, as far as it is known.
        holder: String,
    },
    /// The daemon cannot be started in this process.
    #[error(transparent)]
    Start(#[from] daemon::Error),
    /// The socket failed.
    #[error("the daemon's socket failed")]
    Socket(#[from] io::Error),
}

impl Home {
    /// The daemon of `config`'s data directory, started in this process when it is needed and none runs.
    pub fn found_or_started(config: Config) -> Self {
        Self::new(config, false, Inside::Outside)
    }

    /// The daemon of `config`'s data directory, which must run already and stay.
    pub fn found(config: Config) -> Self {
        Self::new(config, true, Inside::Never)
    }

    fn new(config: Config, lasting: bool, inside: Inside) -> Self {
        Self(Arc::new(Inner { config, lasting, inside: Mutex::new(inside), broken: watch::Sender::new(None) }))
    }

    /// A connection to the daemon.
    pub async fn connection(&self) -> Result<UnixStream, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match daemon::connect(self.directory()).await {
                Ok(stream) => return self.lasts().map(|()| stream),
                Err(error) if is_nobody(&error) => {}
                Err(error) if is_barred(&error) => return Err(daemon::unusable(self.directory(), error).into()),
                Err(error) => return Err(error.into()),
            }
            let holder = match self.become_it().await {
                Ok(Became::Daemon) => continue,
                Ok(Became::Already) => std::process::id().to_string(),
                Err(Error::Start(daemon::Error::Held { holder, .. })) => holder,
                Err(error) => return Err(error),
            };
            if Instant::now() >= deadline {
                return Err(Error::Silent { directory: self.directory().display().to_string(), holder });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn become_it(&self) -> Result<Became, Error> {
        let mut inside = self.0.inside.lock().await;
        match &*inside {
            Inside::Here(_) => Ok(Became::Already),
            Inside::Never => Err(match self.holder() {
                // It is about to serve.
                Some(Holder { process: holder, .. }) if holder != std::process::id().to_string() => {
                    daemon::Error::Held { directory: self.directory().display().to_string(), holder }.into()
                }
                Some(_) | None => Error::NoDaemon(self.directory().display().to_string()),
            }),
            Inside::Outside => {
                let daemon = Daemon::start(self.0.config.clone()).await?;
                tokio::spawn(report(daemon.failed(), self.0.broken.clone()));
                *inside = Inside::Here(Box::new(daemon));
                Ok(Became::Daemon)
            }
        }
    }

    /// Waits until a daemon in this process ends by itself, and says why.
    pub async fn broken(&self) -> String {
        let mut broken = self.0.broken.subscribe();
        // The sender lives as long as `self`.
        match broken.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether the daemon runs in this process.
    pub async fn is_here(&self) -> bool {
        matches!(&*self.0.inside.lock().await, Inside::Here(_))
    }

    /// The process that has the data directory, where one has.
    pub fn holder(&self) -> Option<Holder> {
        daemon::holder(self.directory())
    }

    /// Ends the daemon if it runs in this process.
    pub async fn leave(&self) {
        match std::mem::replace(&mut *self.0.inside.lock().await, Inside::Never) {
            // What runs on was told of where it is somebody's.
            Inside::Here(daemon) => drop(daemon.shutdown().await),
            Inside::Outside | Inside::Never => {}
        }
    }

    /// Whether the daemon that answers is one that this command can do with.
    fn lasts(&self) -> Result<(), Error> {
        match self.holder().filter(|holder| self.0.lasting && holder.passing) {
            Some(Holder { process, .. }) => {
                Err(Error::Passing { directory: self.directory().display().to_string(), process })
            }
            None => Ok(()),
        }
    }

    fn directory(&self) -> &Path {
        &self.0.config.data_dir
    }
}

async fn report(failed: impl Future<Output = daemon::Error>, broken: watch::Sender<Option<String>>) {
    let why = failed.await.to_string();
    broken.send_replace(Some(why));
}

/// Nobody listens there: the socket is missing, or left over.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// The directory is none, or not for this user.
fn is_barred(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied)
}
