//! Owns what the agent's tests share: a store, a scheduler and an agent on some engine, pods from YAML, and waiting for what is told
//! of them. Never asserts anything by itself, except that what is waited for comes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jobdock::model::deletion::{self, Deletion, Propagation};
use jobdock::model::kind::Kind;
use jobdock::model::object::{Key, Object, Resource};
use jobdock::pod::core::Credentials;
use jobdock::pod::image_gc::Policy;
use jobdock::pod::pressure::{self, Threshold};
use jobdock::pod::{Agent, node, run};
use jobdock::runtime::{Devices, Runtime};
use jobdock::store::logs::{LogKey, LogQuery};
use jobdock::store::{Expected, Owner, Query, Store, Write};
use jobdock::token::Signer;
use k8s_openapi::api::core::v1::{Event, Pod};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest that anything is waited for; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// The node's name in tests.
pub const NODE: &str = "node";

/// A store with an agent at work in it.
pub struct House {
    pub store: Store,
    engine: Arc<dyn Runtime>,
    dir: TempDir,
    agent: Option<(JoinHandle<()>, CancellationToken)>,
    thresholds: Vec<Threshold>,
    image_gc: Policy,
    signer: Option<Signer>,
    devices: Devices,
    /// What the machine calls itself.
    machine: String,
}

impl House {
    /// With an agent at work.
    pub fn open(store: Store, engine: Arc<dyn Runtime>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let (thresholds, image_gc, devices) = Default::default();
        let machine = NODE.to_owned();
        let mut house = Self { store, engine, dir, agent: None, thresholds, image_gc, signer: None, devices, machine };
        house.begin();
        house
    }

    /// A new agent that finds the node short of something by these thresholds.
    pub async fn squeeze(&mut self, thresholds: &str) {
        self.end().await;
        self.thresholds = pressure::thresholds(thresholds).expect("thresholds can be read");
        self.begin();
    }

    /// The daemon ends, the machine gets another name, the daemon begins again, told a name for its node or not.
    pub async fn rename(&mut self, machine: &str, asked: Option<&str>) {
        self.end().await;
        self.machine = machine.to_owned();
        self.begin_as(asked);
    }

    /// A new agent that removes pulled images by this policy.
    pub async fn collect(&mut self, policy: Policy) {
        self.end().await;
        self.image_gc = policy;
        self.begin();
    }

    /// A new agent that offers these devices.
    pub async fn offer(&mut self, devices: &[(&str, &[&str])]) {
        self.end().await;
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        self.devices = devices.iter().map(|(kind, all)| ((*kind).to_owned(), ids(all))).collect();
        self.begin();
    }

    /// A new agent that gives pods tokens of this signer.
    pub async fn sign(&mut self, signer: Signer) {
        self.end().await;
        self.signer = Some(signer);
        self.begin();
    }

    /// A new agent, as after a restart of the daemon.
    pub fn begin(&mut self) {
        self.begin_as(None);
    }

    fn begin_as(&mut self, asked: Option<&str>) {
        let node_name = node::name(&self.store, asked, &self.machine).expect("the store reads");
        let stop = CancellationToken::new();
        let agent = Agent {
            store: self.store.clone(),
            runtime: Arc::clone(&self.engine),
            data_dir: self.dir.path().to_owned(),
            thresholds: self.thresholds.clone(),
            image_gc: self.image_gc,
            pids_limit: None,
            devices: self.devices.clone(),
            node_name: node_name.clone(),
            credentials: Credentials { signer: self.signer.clone(), ..Credentials::default() },
        };
        let (store, token) = (self.store.clone(), stop.clone());
        let both = async move {
            let scheduler = jobdock::scheduler::run(store, node_name, token.clone());
            tokio::join!(run(agent, token), scheduler);
        };
        self.agent = Some((tokio::spawn(both), stop));
    }

    /// Ends the agent in order; containers run on.
    pub async fn end(&mut self) {
        if let Some((task, stop)) = self.agent.take() {
            stop.cancel();
            task.await.expect("the agent ends in order");
        }
    }

    /// Ends the agent in the middle of whatever it does.
    pub async fn kill(&mut self) {
        if let Some((task, stop)) = self.agent.take() {
            task.abort();
            let _ = task.await;
            stop.cancel();
        }
    }

    /// Where the agent keeps pods' files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stores an object.
    pub async fn create<T: Resource>(&self, value: T) -> Object {
        let done = self.store.commit(vec![Write::Create(Object::new(value))]).await.expect("it can be stored");
        done.objects[0].clone().expect("a create answers with the object")
    }

    /// Replaces an object.
    pub async fn replace<T: Resource>(&self, key: Key, value: T) {
        let stored = self.store.get(&key).expect("the store reads").expect("it is there");
        let uid = stored.meta().uid.clone();
        let object = Object::new(value).with_meta(|meta| meta.uid = uid.clone());
        let write = Write::Update { object, expected: Expected::Exists };
        self.store.commit(vec![write]).await.expect("it can be stored");
    }

    /// Stores a pod from YAML; `default` is its namespace.
    pub async fn pod(&self, yaml: &str) -> Object {
        self.create(pod(yaml)).await
    }

    /// The pod as it stands.
    pub fn get(&self, name: &str) -> Option<Pod> {
        let object = self.store.get(&Key::of::<Pod>("default", name)).expect("the store reads");
        object.map(|object| object.typed::<Pod>().expect("it is a pod").clone())
    }

    /// Waits until the pod is as `holds` wants it.
    pub async fn until(&self, name: &str, what: &str, holds: impl Fn(&Pod) -> bool) -> Pod {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let pod = self.get(name);
            if let Some(pod) = pod.as_ref().filter(|pod| holds(pod)) {
                return pod.clone();
            }
            if tokio::time::Instant::now() > deadline {
                panic!("{name} never was {what}; it is {}\n{}", tell(pod.as_ref()), self.events(name).join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the pod is over, whichever way.
    pub async fn until_over(&self, name: &str) -> Pod {
        self.until(name, "over", |pod| matches!(phase_of(pod), "Succeeded" | "Failed")).await
    }

    /// Waits until the pod's phase is this.
    pub async fn until_phase(&self, name: &str, phase: &str) -> Pod {
        self.until(name, phase, |pod| phase_of(pod) == phase).await
    }

    /// Waits until something holds.
    pub async fn eventually<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds().await {
            assert!(tokio::time::Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the pod is gone.
    pub async fn until_gone(&self, name: &str) {
        self.eventually(&format!("{name} is gone"), || async { self.get(name).is_none() }).await;
    }

    /// Waits until the engine has nothing of this store any more.
    pub async fn until_empty(&self) {
        self.eventually("nothing is left in the engine", || async {
            let containers = self.engine.containers().await.unwrap_or_default();
            let volumes = self.engine.volumes().await.unwrap_or_default();
            containers.is_empty() && volumes.is_empty()
        })
        .await;
    }

    /// Deletes the pod as a client does.
    pub async fn delete(&self, name: &str, grace: Option<i64>) {
        let key = Key::of::<Pod>("default", name);
        loop {
            let object = self.store.get(&key).expect("the store reads").expect("the pod is there");
            let expected = Expected::Revision(object.revision());
            let write = match deletion::delete(&object, grace, Propagation::Background, Timestamp::now()) {
                Deletion::Remove => Write::Delete { key: key.clone(), expected },
                Deletion::Mark(object) => Write::Update { object, expected },
                Deletion::Underway => return,
            };
            if self.store.commit(vec![write]).await.is_ok() {
                return;
            }
        }
    }

    /// The pod's Events, `Normal Started Started container main`, in the order of their names' times.
    pub fn events(&self, pod: &str) -> Vec<String> {
        let page = self.store.list(&Query {
            kind: Kind::of::<Event>(),
            namespace: Some("default"),
            owner: Owner::Any,
            with_finalizers: false,
            limit: None,
            after: None,
            at: None,
        });
        let objects = page.expect("the store reads").objects;
        let events = objects.iter().filter_map(|object| object.typed::<Event>());
        let mut lines: Vec<String> = events
            .filter(|event| event.involved_object.name.as_deref() == Some(pod))
            .map(|event| {
                let text = |value: &Option<String>| value.clone().unwrap_or_default();
                format!("{} {} {}", text(&event.type_), text(&event.reason), text(&event.message))
            })
            .collect();
        lines.sort();
        lines
    }

    /// What the store keeps of a run's output, once it is complete.
    pub async fn log(&self, pod: &Object, container: &str, attempt: u32) -> String {
        let key = LogKey { pod_uid: pod.uid().to_owned(), container: container.to_owned(), attempt };
        self.eventually("the log is complete", || async { self.store.logs().finished(&key) }).await;
        self.said(pod, container, attempt).await
    }

    /// What a pod that ends by itself, and well, has printed.
    pub async fn printed(&self, yaml: &str, name: &str) -> String {
        let object = self.pod(yaml).await;
        let pod = self.until_over(name).await;
        let log = self.log(&object, "main", 0).await;
        assert!(tell(Some(&pod)).starts_with("Succeeded"), "{}\n{log}\n{:?}", tell(Some(&pod)), self.events(name));
        log
    }

    /// What is kept so far of what a run has said.
    pub async fn said(&self, pod: &Object, container: &str, attempt: u32) -> String {
        let key = LogKey { pod_uid: pod.uid().to_owned(), container: container.to_owned(), attempt };
        let kept = self.store.logs().read(&key, LogQuery::default()).expect("it can be read");
        let Some(stream) = kept else { return String::new() };
        let parts: Vec<_> = futures::StreamExt::collect(stream).await;
        parts.into_iter().map(|part| String::from_utf8_lossy(&part.expect("it can be read")).into_owned()).collect()
    }
}

/// A pod from YAML.
pub fn pod(yaml: &str) -> Pod {
    let mut pod: Pod = from_yaml(yaml);
    pod.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    pod
}

/// Any value from YAML.
pub fn from_yaml<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// The pod's phase.
pub fn phase_of(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// What is told of a pod, one line per thing.
pub fn tell(pod: Option<&Pod>) -> String {
    let Some(status) = pod.and_then(|pod| pod.status.as_ref()) else { return "not told of".to_owned() };
    let mut lines = vec![format!(
        "{} {} {}",
        status.phase.as_deref().unwrap_or("-"),
        status.reason.as_deref().unwrap_or("-"),
        status.message.as_deref().unwrap_or("-")
    )];
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    for container in all {
        let state = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
            let Some(state) = state else { return "-".to_owned() };
            if let Some(waiting) = &state.waiting {
                let message = waiting.message.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
                return format!("waiting {}{message}", waiting.reason.as_deref().unwrap_or("-"));
            }
            if let Some(end) = &state.terminated {
                let message = end.message.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
                return format!("{} {}{message}", end.reason.as_deref().unwrap_or("-"), end.exit_code);
            }
            if state.running.is_some() { "running".to_owned() } else { "-".to_owned() }
        };
        lines.push(format!(
            "{} #{}{}{}: {}, last {}",
            container.name,
            container.restart_count,
            if container.ready { " ready" } else { "" },
            if container.started == Some(true) { " started" } else { "" },
            state(&container.state),
            state(&container.last_state)
        ));
    }
    for condition in status.conditions.iter().flatten() {
        let reason = condition.reason.as_deref().map(|text| format!(" {text}")).unwrap_or_default();
        let message = condition.message.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
        lines.push(format!("{}={}{reason}{message}", condition.type_, condition.status));
    }
    lines.join("\n")
}
