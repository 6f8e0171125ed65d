//! A unix socket in front of the engine's, which can be cut and which counts: for lost connections and lost replies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The proxy; gone with its value.
pub struct Proxy {
    path: PathBuf,
    _dir: tempfile::TempDir,
    _task: AbortOnDropHandle<()>,
    connections: Arc<AtomicUsize>,
    /// Raised by one for each cut.
    cuts: watch::Sender<usize>,
}

impl Proxy {
    /// Stands in front of the engine's socket at `target`.
    pub fn before(target: &Path) -> Result<Proxy> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&path)?;
        let (connections, cuts) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(0));
        let (target, count, cut) = (target.to_owned(), Arc::clone(&connections), cuts.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(carry(client, target.clone(), cut.subscribe()));
            }
        }));
        Ok(Proxy { path, _dir: dir, _task: task, connections, cuts })
    }

    /// `unix:///…` of the proxy.
    pub fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Connections that were opened so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Breaks every connection that is open.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(mut client: UnixStream, target: PathBuf, mut cut: watch::Receiver<usize>) {
    cut.borrow_and_update();
    let Ok(mut engine) = UnixStream::connect(target).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut engine) => {}
        _ = cut.changed() => {}
    }
}
