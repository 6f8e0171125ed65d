//! Owns what all parts of the agent share: the store, the engine, the queue, what is known of pods, of images, of the
//! engine's lives. Never decides: `plan` does.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerImage, PodStatus};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::device_book::Book;
use super::devices;
use super::facts::{NodeFacts, Note, Outage};
use super::image_gc::Policy;
use super::images::{Audience, Images};
use super::memory::Memories;
use super::mentions::Mentions;
use super::node::{self, Lives};
use super::pressure::{Pressure, Readings, Threshold};
use super::prober::Probers;
use super::tokens::{Address, Reach};
use crate::metrics::metrics;
use crate::reconcile::Queue;
use crate::runtime::{self, Devices, EngineSeen, Runtime};
use crate::store::{self, Store};
use crate::token::Signer;

/// Why a look at a pod, or an act on it, did not succeed: the queue tries again later, whichever it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused or failed. A conflict means that somebody wrote first.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The engine does not answer.
    #[error(transparent)]
    Engine(#[from] runtime::Error),
    /// A file of the pod could not be written or removed.
    #[error("the pod's files failed")]
    Io(#[from] std::io::Error),
}

/// What is known of the node.
#[derive(Clone, Default)]
pub struct Ground {
    /// As pods see it; `pod_dir` is the directory of all pods' directories.
    pub node: NodeFacts,
    /// What the engine last said of itself; none while it does not answer.
    pub engine: Option<EngineSeen>,
    /// Its lives.
    pub lives: Option<Lives>,
    /// When it is short of something.
    pub thresholds: Vec<Threshold>,
    /// The most processes that a container may have.
    pub pids_limit: Option<u64>,
    /// Devices that the daemon was told of.
    pub devices: Devices,
    /// What it is short of.
    pub pressure: Pressure,
    /// What was measured last.
    pub room: Readings,
    /// What the node tells of the engine's images, once they were listed.
    pub images: Option<Vec<ContainerImage>>,
    /// The sandbox image, once it was made sure of in this life.
    pub sandbox_image: Option<String>,
}

impl Ground {
    /// The gap before the engine's present life, by the clock that stamps its containers' ends.
    pub fn outage(&self) -> Option<Outage> {
        let ahead = self.engine.as_ref().map_or(SignedDuration::ZERO, |engine| engine.ahead);
        let outage = self.lives.as_ref()?.outage()?;
        Some(Outage { from: outage.from + ahead, to: outage.to + ahead })
    }
}

/// What pods that call the API are given.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Signs their tokens; none where there are no tokens.
    pub signer: Option<Signer>,
    /// Where the API listens.
    pub api: Reach,
}

/// Where the API is reached that listens on these addresses: loopback reaches only this machine, and one that stands
/// for all addresses is in no certificate.
pub fn reach(addresses: &[SocketAddr]) -> Reach {
    let concrete = addresses.iter().filter(|address| !address.ip().is_unspecified());
    let named = |address: &SocketAddr| Address { host: address.ip().to_string(), port: address.port() };
    let outside = concrete.clone().find(|address| !address.ip().is_loopback());
    Reach { host: concrete.clone().next().map(named), containers: outside.map(named) }
}

/// Shared by every task of the agent.
pub struct Core {
    /// The store.
    pub store: Store,
    /// The engine.
    pub engine: Arc<dyn Runtime>,
    /// Pods to look at, by uid.
    pub queue: Queue<String>,
    /// What is known of each.
    pub memories: Memories,
    /// Images.
    pub images: Images,
    /// Probes and hooks at work.
    pub probers: Probers,
    /// Background work: pulls, log copies, probes, hooks.
    pub tasks: TaskTracker,
    /// Ends background work.
    pub stop: CancellationToken,
    /// Directory of pods' files; the engine mounts from there.
    pub pods_dir: PathBuf,
    /// What pods that call the API are given.
    pub credentials: Credentials,
    /// Names of Services changed: hosts files are to be written.
    pub names_changed: Notify,
    /// Hosts files are written by one at a time, each from what the store says then.
    pub hosts_turn: tokio::sync::Mutex<()>,
    /// Who holds which device.
    pub device_book: Book,
    /// When images go.
    pub image_gc: Policy,
    /// What is remembered of pulled images is changed by one at a time.
    pub images_turn: tokio::sync::Mutex<()>,
    /// Copies of images are made and removed by one at a time.
    pub copies_turn: tokio::sync::Mutex<()>,
    ground: Mutex<Ground>,
    mentions: Mutex<Mentions>,
    /// Uids of the pods that run, for the count of them.
    running: Mutex<HashSet<String>>,
    /// A call met no engine: before an exit is believed, its life is asked for.
    suspect: AtomicBool,
}

impl Core {
    /// Nothing known yet.
    pub fn new(
        store: Store,
        engine: Arc<dyn Runtime>,
        pods_dir: PathBuf,
        ground: Ground,
        image_gc: Policy,
        credentials: Credentials,
        stop: CancellationToken,
    ) -> Self {
        let images = Images::new(Arc::clone(&engine));
        Self {
            store,
            engine,
            queue: Queue::new("pod"),
            memories: Memories::default(),
            images,
            probers: Probers::default(),
            tasks: TaskTracker::new(),
            stop,
            pods_dir,
            credentials,
            names_changed: Notify::new(),
            hosts_turn: tokio::sync::Mutex::default(),
            device_book: Book::default(),
            image_gc,
            images_turn: tokio::sync::Mutex::default(),
            copies_turn: tokio::sync::Mutex::default(),
            ground: Mutex::new(ground),
            mentions: Mutex::default(),
            running: Mutex::default(),
            suspect: AtomicBool::new(false),
        }
    }

    /// Tells metrics whether a pod of this node runs, as its stored status has it.
    pub fn count_running(&self, uid: &str, status: Option<&PodStatus>) {
        let runs = status.and_then(|status| status.phase.as_deref()) == Some("Running");
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = if runs { running.insert(uid.to_owned()) } else { running.remove(uid) };
        if changed {
            metrics().running_pods.inc_by(if runs { 1 } else { -1 });
        }
    }

    /// What is known of the node.
    pub fn ground(&self) -> Ground {
        self.lock().clone()
    }

    /// Changes what is known of the node.
    pub fn with_ground<T>(&self, change: impl FnOnce(&mut Ground) -> T) -> T {
        change(&mut self.lock())
    }

    /// Passes an engine's answer on, and remembers where there was none.
    pub fn heard<T>(&self, answer: Result<T, runtime::Error>) -> Result<T, runtime::Error> {
        if let Err(runtime::Error::Unreachable { .. }) = &answer {
            self.suspect.store(true, Ordering::Release);
        }
        answer
    }

    /// Asks the engine which life it is in, where a call has met none since it was last asked.
    pub async fn make_sure_of_life(&self) -> Result<(), Error> {
        if self.suspect.load(Ordering::Acquire) { self.ask_life().await.map(drop) } else { Ok(()) }
    }

    /// Asks the engine which life it is in, enters a new one, and writes the Node.
    pub async fn ask_life(&self) -> Result<EngineSeen, Error> {
        let answer = self.heard(self.engine.engine().await);
        let now = Timestamp::now();
        let ground = match &answer {
            Ok(seen) => self.with_ground(|ground| {
                let lives = node::seen(ground.lives.as_ref(), node::life(seen), now);
                if ground.lives.as_ref().is_none_or(|before| before.life != lives.life) {
                    ground.sandbox_image = None;
                }
                let mut facts = node::facts(&ground.node.name, seen, &self.pods_dir);
                node::offer(&mut facts, seen, ground);
                facts.api = self.credentials.api.clone();
                facts.pids_limit = ground.pids_limit;
                facts.devices = devices::offered(&ground.devices, &seen.devices);
                facts.found_devices = seen.devices.clone();
                ground.node = facts;
                ground.lives = Some(lives);
                ground.engine = Some(seen.clone());
                ground.clone()
            }),
            Err(_) => self.with_ground(|ground| {
                ground.engine = None;
                ground.clone()
            }),
        };
        node::report(&self.store, &ground, now).await?;
        let seen = answer?;
        // Only now: the outage is on disk before an exit is judged by it.
        self.suspect.store(false, Ordering::Release);
        Ok(seen)
    }

    /// Works with who mentions what.
    pub fn with_mentions<T>(&self, work: impl FnOnce(&mut Mentions) -> T) -> T {
        work(&mut self.mentions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, Ground> {
        self.ground.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audience for Core {
    fn note(&self, uid: &str, note: Note) {
        self.memories.known(uid, |memory| memory.note(note));
    }

    fn wake(&self, uid: &str) {
        self.queue.add(uid.to_owned());
    }
}
