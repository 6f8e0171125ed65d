//! Owns the watches of a run: the Jobs that it made, their pods, and warnings, in each namespace.
//! Never interprets: what is seen goes to the session as it is.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{self, Pod};
use kube::api::ListParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::pods::JOB_UID;

/// States that wait for the session: beyond these, watches wait.
const WAITING: usize = 256;
/// Jobs that are named in a selector; more would make an address that servers refuse.
const NAMED: usize = 50;
/// Objects a page of a list.
const PAGE: u32 = 500;
/// Events of the namespace that tell of trouble; whose they are is looked at when they come.
const WARNINGS: &str = "type=Warning";
/// First and longest pause between tries to reach the server. Short: it is on this machine, or somebody waits for it.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Something that a watch has shown.
#[derive(Debug)]
pub enum Seen {
    /// A Job's state.
    Job(Box<Job>),
    /// A Job was removed.
    JobGone(Box<Job>),
    /// All Jobs (by uid) that a list of a namespace showed.
    JobsListed(String, HashSet<String>),
    /// A pod's state.
    Pod(Box<Pod>),
    /// A pod was removed; its last state.
    PodGone(Box<Pod>),
    /// An Event of type Warning, of any object of the namespace.
    Warning(Box<v1::Event>),
    /// The server cannot be reached, or refuses; it is tried again.
    Trouble(String),
}

/// The watches of a run; dropping them ends them.
pub struct Watches {
    /// What they show.
    pub seen: mpsc::Receiver<Seen>,
    _tasks: JoinSet<()>,
}

/// Watches these Jobs, their pods and the warnings beside them.
pub fn watch<'a>(client: &Client, jobs: impl Iterator<Item = &'a Job>) -> Watches {
    let (to, seen) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    for (namespace, jobs) in by_namespace(jobs) {
        let config = match jobs.as_slice() {
            [only] => watcher::Config::default().fields(&format!("metadata.name={}", only.name)),
            _ => watcher::Config::default(),
        };
        tasks.spawn(forward(Api::<Job>::namespaced(client.clone(), &namespace), config, namespace.clone(), to.clone()));
        let config = watcher::Config::default().labels(&pod_selector(&jobs));
        let api = Api::<Pod>::namespaced(client.clone(), &namespace);
        tasks.spawn(forward(api, config, namespace.clone(), to.clone()));
        let config = watcher::Config::default().fields(WARNINGS);
        tasks.spawn(forward(Api::<v1::Event>::namespaced(client.clone(), &namespace), config, namespace, to.clone()));
    }
    Watches { seen, _tasks: tasks }
}

/// Every pod of these Jobs, as it is now.
pub async fn pods<'a>(client: &Client, jobs: impl Iterator<Item = &'a Job>) -> kube::Result<Vec<Pod>> {
    let mut pods = Vec::new();
    for (namespace, jobs) in by_namespace(jobs) {
        let api = Api::<Pod>::namespaced(client.clone(), &namespace);
        pods.extend(all(api, ListParams::default().labels(&pod_selector(&jobs))).await?);
    }
    Ok(pods)
}

/// Every warning of the namespaces of these Jobs, as they are now.
pub async fn warnings<'a>(client: &Client, jobs: impl Iterator<Item = &'a Job>) -> kube::Result<Vec<v1::Event>> {
    let mut warnings = Vec::new();
    for namespace in by_namespace(jobs).into_keys() {
        let api = Api::<v1::Event>::namespaced(client.clone(), &namespace);
        warnings.extend(all(api, ListParams::default().fields(WARNINGS)).await?);
    }
    Ok(warnings)
}

async fn all<K: Watched>(api: Api<K>, params: ListParams) -> kube::Result<Vec<K>> {
    let mut params = params.limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = api.list(&params).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// What names a Job in a selector.
struct Named {
    name: String,
    uid: String,
}

fn by_namespace<'a>(jobs: impl Iterator<Item = &'a Job>) -> BTreeMap<String, Vec<Named>> {
    let mut all: BTreeMap<String, Vec<Named>> = BTreeMap::new();
    for job in jobs {
        let meta = &job.metadata;
        let named = Named { name: meta.name.clone().unwrap_or_default(), uid: meta.uid.clone().unwrap_or_default() };
        all.entry(meta.namespace.clone().unwrap_or_default()).or_default().push(named);
    }
    all
}

fn pod_selector(jobs: &[Named]) -> String {
    let uids: Vec<&str> = jobs.iter().map(|job| job.uid.as_str()).collect();
    match uids.as_slice() {
        [only] => format!("{JOB_UID}={only}"),
        few if few.len() <= NAMED => format!("{JOB_UID} in ({})", few.join(",")),
        _ => JOB_UID.to_owned(),
    }
}

/// Turns one kind's states into [`Seen`].
trait Watched: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static {
    /// Whether the user is told that it cannot be watched.
    const NEEDED: bool = true;
    fn seen(self) -> Seen;
    fn gone(self) -> Option<Seen>;
    fn listed(namespace: &str, uids: HashSet<String>) -> Option<Seen>;
}

impl Watched for Job {
    fn seen(self) -> Seen {
        Seen::Job(Box::new(self))
    }
    fn gone(self) -> Option<Seen> {
        Some(Seen::JobGone(Box::new(self)))
    }
    fn listed(namespace: &str, uids: HashSet<String>) -> Option<Seen> {
        Some(Seen::JobsListed(namespace.to_owned(), uids))
    }
}

impl Watched for Pod {
    fn seen(self) -> Seen {
        Seen::Pod(Box::new(self))
    }
    fn gone(self) -> Option<Seen> {
        Some(Seen::PodGone(Box::new(self)))
    }
    /// A pod that vanished unseen is found missing when its follower asks for its output.
    fn listed(_: &str, _: HashSet<String>) -> Option<Seen> {
        None
    }
}

impl Watched for v1::Event {
    /// A cluster may let somebody run Jobs and not read Events.
    const NEEDED: bool = false;
    fn seen(self) -> Seen {
        Seen::Warning(Box::new(self))
    }
    fn gone(self) -> Option<Seen> {
        None
    }
    fn listed(_: &str, _: HashSet<String>) -> Option<Seen> {
        None
    }
}

async fn forward<K: Watched>(api: Api<K>, config: watcher::Config, namespace: String, to: mpsc::Sender<Seen>) {
    let mut events = watcher::watcher(api, config).backoff(Pauses(PAUSE.0)).into_stream().boxed();
    let mut listed = HashSet::new();
    loop {
        let seen = match events.try_next().await {
            Ok(None) => return,
            Ok(Some(Event::Init)) => {
                listed.clear();
                continue;
            }
            Ok(Some(Event::InitApply(object))) => {
                listed.extend(object.meta().uid.clone());
                Some(object.seen())
            }
            Ok(Some(Event::InitDone)) => K::listed(&namespace, std::mem::take(&mut listed)),
            Ok(Some(Event::Apply(object))) => Some(object.seen()),
            Ok(Some(Event::Delete(object))) => object.gone(),
            Err(error) => K::NEEDED.then(|| Seen::Trouble(error.to_string())),
        };
        if let Some(seen) = seen
            && to.send(seen).await.is_err()
        {
            return;
        }
    }
}

/// Pauses between tries to reach the server, doubling.
struct Pauses(Duration);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(PAUSE.1);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = PAUSE.0;
    }
}
