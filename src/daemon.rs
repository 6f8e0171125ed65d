//! Owns the wiring: which rooms run, in which order they start, in which order they stop.
//! Never decides anything about Jobs or pods.
//!
//! ```text
//!  start: lock the data directory -> store -> engine -> namespaces -> socket -> node agent, controllers, API
//!  stop:  API takes nothing new and closes its watches -> controllers finish what they are at
//!         -> (pods are ended, where that was asked for) -> node agent -> the last commit is on disk -> the lock goes
//! ```
//!
//! The lock is the operating system's on an open file: it goes with the process, however that ends.

mod directory;
mod farewell;
mod part;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::directory::{Directory, Refusal, Socket};
pub use self::directory::{Holder, connect, holder};
use self::part::{Failures, Part};
pub use crate::api::Limits;
use crate::api::accounts::Accounts;
use crate::api::{ApiState, Listeners};
use crate::job::backoff::Delays;
use crate::model::object::Object;
use crate::model::priority;
use crate::pod::agent::Agent;
use crate::pod::core::{Credentials, reach};
pub use crate::pod::devices::parse as device;
pub use crate::pod::image_gc::{OFF as IMAGE_GC_OFF, Policy as ImagePolicy};
pub use crate::pod::pressure::{DEFAULT as DEFAULT_THRESHOLDS, Threshold, thresholds};
pub use crate::runtime::Devices;
use crate::runtime::docker::Docker;
use crate::runtime::fake::Fake;
pub use crate::store::logs::Limits as LogLimits;
use crate::store::{self, Store, Write};
use crate::token::{self, Signer};
use crate::{api, gc, job, pod, quota, runtime, scheduler, service, storage, tenancy};

/// What runs pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// The Docker engine.
    Docker,
    /// Nothing: containers are pretended.
    Fake,
}

/// How a daemon is to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Whether it ends with the command that starts it, so that nothing may be left to it.
    pub passing: bool,
    /// Address of the HTTPS API; without one only the unix socket answers.
    pub listen: Option<SocketAddr>,
    /// Further addresses of it, for containers to reach.
    pub also_listen: Vec<SocketAddr>,
    /// The engine, as the docker CLI's `--host`; found as that finds it where absent.
    pub host: Option<String>,
    /// What runs pods.
    pub runtime: Runtime,
    /// Whether this machine runs pods at all.
    pub node: bool,
    /// The Node's name; the one it had where absent, and at first the machine's.
    pub node_name: Option<String>,
    /// Whether pods end with the daemon.
    pub stop_pods_on_exit: bool,
    /// Whether service accounts may call the API.
    pub account_access: bool,
    /// How much clients may ask of the API at once.
    pub limits: Limits,
    /// First delay before a failed pod is tried again.
    pub backoff_base: SignedDuration,
    /// Longest such delay.
    pub backoff_cap: SignedDuration,
    /// When this machine is short of something.
    pub thresholds: Vec<Threshold>,
    /// When images that were pulled for pods go.
    pub image_gc: ImagePolicy,
    /// The most processes that a container may have; none for no bound.
    pub pids_limit: Option<u64>,
    /// Devices that pods may have, beside those that the engine finds by itself.
    pub devices: Devices,
    /// How much container output is kept.
    pub logs: LogLimits,
}

/// Why a daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the data directory: talk to that one, wait for its end, or use another directory.
    #[error("another jobdock (process {holder}) uses {directory}: stop it, or give another --data-dir")]
    Held {
        /// The data directory.
        directory: String,
        /// The other's process id, as far as it told.
        holder: String,
    },
    /// The data directory cannot be used: make it writable, or use another.
    #[error("data directory {directory}: {source}; give another with --data-dir")]
    Directory {
        /// The data directory.
        directory: String,
        /// Why.
        source: std::io::Error,
    },
    /// The data directory is somebody's: give one that is empty, or that is not there yet.
    #[error("{0} is not empty and no jobdock data directory: give another with --data-dir")]
    Foreign(String),
    /// The database cannot be used.
    #[error("the database in {directory} cannot be used")]
    Store {
        /// The data directory.
        directory: String,
        /// Why.
        source: store::Error,
    },
    /// There is no room left: make some.
    #[error("the disk of {0} is full")]
    Full(String),
    /// There is no engine to run pods on: start one, or say where it is.
    #[error("{0}")]
    NoEngine(String),
    /// The key of service account tokens is damaged: restore it, or remove it so that a new one is made.
    #[error(transparent)]
    Tokens(#[from] token::Error),
    /// The API cannot be served: another address may do.
    #[error("{0}; give another address with --listen")]
    Api(#[from] api::serve::Error),
    /// A part that should run until it is stopped has ended: a fault of jobdock's.
    #[error("the {0} has ended by itself: this is a fault in jobdock, please report it")]
    Ended(&'static str),
}

/// A running daemon. Dropped without [`Daemon::shutdown`] it stops as in a crash: nothing is lost, the next daemon
/// goes on.
pub struct Daemon {
    address: Option<SocketAddr>,
    failures: Failures,
    stop_pods_on_exit: bool,
    api: Part,
    controllers: Part,
    node: Part,
    /// What runs the pods; none where nothing does.
    engine: Option<Arc<dyn runtime::Runtime>>,
    store: Store,
    _socket: Socket,
    /// Last, so that the lock is held until the database is closed.
    directory: Directory,
}

impl Daemon {
    /// Starts everything; returns when requests are answered.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let directory = lock(&config)?;
        raise_file_limit();
        let told = |source: store::Error| {
            let directory = config.data_dir.display().to_string();
            if source.is_full() { Error::Full(directory) } else { Error::Store { directory, source } }
        };
        let store = Store::open(&config.data_dir).map_err(told)?;
        store.logs().limit(config.logs);
        let engine = if config.node { Some(engine(&config, store.id()).await?) } else { None };
        found(&store).await.map_err(told)?;
        let socket = directory.socket().map_err(|source| unusable(&config.data_dir, source))?;
        let addresses: Vec<SocketAddr> = config.listen.iter().chain(&config.also_listen).copied().collect();
        let listeners = Listeners::bind_all(&config.data_dir, Some(socket.path()), &addresses).await?;
        let address = listeners.tcp_address();

        let failures = Failures::default();
        let controllers = Part::new("controllers", &failures);
        let signer = signer(&config.data_dir)?;
        let authority = api::pki::authority(&config.data_dir, Timestamp::now()).map_err(api::serve::Error::from)?;
        controllers.spawn(|stop| gc::run(store.clone(), stop));
        controllers.spawn(|stop| tenancy::run(store.clone(), authority, stop));
        controllers.spawn(|stop| job::controller::run(store.clone(), config.options(), stop));
        controllers.spawn(|stop| quota::run(store.clone(), stop));
        controllers.spawn(|stop| job::cronjob::run(store.clone(), stop));
        controllers.spawn(|stop| job::ttl::run(store.clone(), stop));
        controllers.spawn(|stop| service::run(store.clone(), stop));
        let asked = config.node_name.as_deref();
        let node_name = pod::node::name(&store, asked, &pod::node::default_name()).map_err(told)?;
        let (engine_of_storage, name) = (engine.clone(), node_name.clone());
        controllers.spawn(|stop| storage::run(store.clone(), engine_of_storage, name, stop));
        let node = Part::new("node agent", &failures);
        let (talking, kept) = (engine.clone(), engine.clone());
        if let Some(runtime) = engine {
            let (store, data_dir) = (store.clone(), config.data_dir.clone());
            let credentials = Credentials { signer: Some(signer.clone()), api: reach(&listeners.tcp_addresses()) };
            controllers.spawn(|stop| scheduler::run(store.clone(), node_name.clone(), stop));
            let (thresholds, image_gc, pids_limit) = (config.thresholds.clone(), config.image_gc, config.pids_limit);
            let devices = config.devices.clone();
            #[rustfmt::skip]
            let agent = Agent { store, runtime, data_dir, thresholds, image_gc, pids_limit, devices, node_name, credentials };
            node.spawn(|stop| pod::agent::run(agent, stop));
        }
        let api = Part::new("API", &failures);
        let accounts = Accounts::new(store.clone()).with_signer(signer, config.account_access);
        api.spawn(|stop| {
            let state = ApiState::limited(store.clone(), stop.clone(), config.limits);
            api::serve(state.with_accounts(accounts).with_runtime(talking), listeners, stop)
        });
        let stop_pods_on_exit = config.stop_pods_on_exit;
        Ok(Self {
            address,
            failures,
            stop_pods_on_exit,
            api,
            controllers,
            node,
            engine: kept,
            store,
            directory,
            _socket: socket,
        })
    }

    /// Where the HTTPS API listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until a part ends that should not.
    pub fn failed(&self) -> impl Future<Output = Error> + use<> {
        let failures = self.failures.clone();
        async move { Error::Ended(failures.first().await) }
    }

    /// Stops everything in order. Containers run on, for the next daemon to adopt, unless the daemon was started to
    /// stop them; the answer is how many pods have them.
    pub async fn shutdown(self) -> usize {
        let Self { api, controllers, node, engine, store, directory, .. } = self;
        api.stop().await;
        controllers.stop().await;
        if self.stop_pods_on_exit
            && let Err(error) = farewell::end_pods(&store, engine.as_deref()).await
        {
            tracing::error!(error = &error as &dyn std::error::Error, "pods could not be ended and run on");
        }
        node.stop().await;
        // Who cannot be asked any more is not counted: it is only told.
        let left = if engine.is_some() { farewell::running(&store).map_or(0, |pods| pods.len()) } else { 0 };
        drop(store);
        drop(directory);
        left
    }
}

impl Config {
    fn options(&self) -> job::facts::Options {
        let delays = Delays { base: self.backoff_base, cap: self.backoff_cap };
        job::facts::Options { delays, ..job::facts::Options::default() }
    }
}

/// What signs service account tokens.
fn signer(data_dir: &Path) -> Result<Signer, Error> {
    let key = api::pki::account_key(data_dir).map_err(api::serve::Error::from)?;
    Ok(Signer::from_pem(&key)?)
}

async fn engine(config: &Config, store_id: &str) -> Result<Arc<dyn runtime::Runtime>, Error> {
    match config.runtime {
        Runtime::Fake => Ok(Arc::new(Fake::new())),
        Runtime::Docker => match Docker::connect(config.host.as_deref(), store_id).await {
            Ok(docker) => Ok(Arc::new(docker)),
            Err(error) => Err(Error::NoEngine(with_causes(&error))),
        },
    }
}

/// An error with its causes, as one text.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn lock(config: &Config) -> Result<Directory, Error> {
    let path = &config.data_dir;
    Directory::lock(path, config.passing).map_err(|refusal| match refusal {
        Refusal::Foreign => Error::Foreign(path.display().to_string()),
        Refusal::Held { holder } => Error::Held { directory: path.display().to_string(), holder },
        Refusal::Io(source) => unusable(path, source),
    })
}

/// What it means that the data directory cannot be used.
pub fn unusable(path: &Path, source: std::io::Error) -> Error {
    Error::Directory { directory: path.display().to_string(), source }
}

/// Each watch, log and engine connection is an open file; the limit that shells give is low for historic reasons.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Makes what every cluster has, as far as it is missing: in one commit, and in none after the first start.
async fn found(store: &Store) -> Result<(), store::Error> {
    let classes = priority::system_classes().map(Object::new);
    let objects = tenancy::namespaces().map(Object::new).chain(classes);
    let mut writes = Vec::new();
    for object in objects.chain([Object::new(storage::provision::default_class())]) {
        if store.get(&object.key())?.is_none() {
            writes.push(Write::Create(object));
        }
    }
    if !writes.is_empty() {
        store.commit(writes).await?;
    }
    Ok(())
}

/// The kubeconfig for the daemon of a data directory; none where none has served it yet.
pub fn kubeconfig(directory: &Path, certificate: bool) -> Result<Option<String>, api::pki::Error> {
    let text = match certificate {
        true => api::pki::certificate_kubeconfig(directory, Timestamp::now()),
        false => api::kubeconfig(directory),
    };
    match text {
        Ok(text) => Ok(Some(text)),
        Err(api::pki::Error::NeverServed(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
