//! What follows from a deletion: dependents, waiting owners, namespaces.

use std::time::Duration;

use jobdock::gc;
use jobdock::model::deletion::{self, Deletion, Propagation};
use jobdock::model::kind::KINDS;
use jobdock::model::object::{Key, Object};
use jobdock::store::{Expected, Store, Watch, Write};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, NamespaceSpec, Node, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A store with a collector at work on it.
struct Rig {
    store: Store,
    watch: Watch,
    _stop: DropGuard,
}

impl Rig {
    fn new() -> Self {
        Self::on(Store::in_memory().unwrap())
    }

    fn on(store: Store) -> Self {
        let stop = CancellationToken::new();
        let kinds: Vec<_> = KINDS.iter().collect();
        let watch = store.watch(&kinds, store.revision()).unwrap();
        tokio::spawn(gc::run(store.clone(), stop.clone()));
        Self { store, watch, _stop: stop.drop_guard() }
    }

    async fn create(&self, object: Object) -> Object {
        create(&self.store, object).await
    }

    async fn delete(&self, object: &Object, propagation: Propagation) {
        let object = self.store.get(&object.key()).unwrap().unwrap();
        let write = match deletion::delete(&object, None, propagation, jiff::Timestamp::now()) {
            Deletion::Remove => Write::Delete { key: object.key(), expected: Expected::Exists },
            Deletion::Mark(object) => Write::Update { object, expected: Expected::Exists },
            Deletion::Underway => return,
        };
        self.store.commit(vec![write]).await.unwrap();
    }

    fn get(&self, object: &Object) -> Option<Object> {
        self.store.get(&object.key()).unwrap()
    }

    /// Waits until the condition holds, looking after each change.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                self.watch.next().await.unwrap();
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), wait).await.is_err() {
            panic!("never came true: {what}");
        }
    }

    async fn until_gone(&mut self, object: &Object) {
        let key = object.key();
        self.until(&format!("{key} is gone"), |rig| rig.store.get(&key).unwrap().is_none()).await;
    }
}

async fn create(store: &Store, object: Object) -> Object {
    store.commit(vec![Write::Create(object)]).await.unwrap().objects.remove(0).unwrap()
}

fn meta(name: &str, owners: &[&Object]) -> ObjectMeta {
    let owners: Vec<_> = owners.iter().map(|owner| reference(owner, true)).collect();
    ObjectMeta {
        namespace: Some("default".to_owned()),
        name: Some(name.to_owned()),
        owner_references: (!owners.is_empty()).then_some(owners),
        ..ObjectMeta::default()
    }
}

fn reference(owner: &Object, block: bool) -> OwnerReference {
    OwnerReference {
        api_version: owner.kind().api_version(),
        kind: owner.kind().kind.to_owned(),
        name: owner.key().name,
        uid: owner.uid().to_owned(),
        block_owner_deletion: Some(block),
        controller: None,
    }
}

fn job(name: &str) -> Object {
    Object::new(Job { metadata: meta(name, &[]), ..Job::default() })
}

fn pod(name: &str, owners: &[&Object]) -> Object {
    Object::new(Pod { metadata: meta(name, owners), ..Pod::default() })
}

fn config(name: &str, owners: &[&Object]) -> Object {
    Object::new(ConfigMap { metadata: meta(name, owners), ..ConfigMap::default() })
}

fn held(object: Object) -> Object {
    object.with_meta(|meta| meta.finalizers = Some(vec!["test/held".to_owned()]))
}

async fn release(store: &Store, object: &Object) {
    let stored = store.get(&object.key()).unwrap().unwrap();
    let object = stored.with_meta(|meta| meta.finalizers = None);
    store.commit(vec![Write::Update { object, expected: Expected::Exists }]).await.unwrap();
}

#[tokio::test]
async fn dependents_of_dependents_follow_an_owner_that_is_gone() {
    let mut rig = Rig::new();
    let job = rig.create(job("j")).await;
    let pods = [rig.create(pod("a", &[&job])).await, rig.create(pod("b", &[&job])).await];
    let config = rig.create(config("c", &[&pods[0]])).await;
    let other = rig.create(pod("other", &[])).await;
    rig.delete(&job, Propagation::Background).await;
    for object in [&pods[0], &pods[1], &config] {
        rig.until_gone(object).await;
    }
    assert!(rig.get(&other).is_some());
}

#[tokio::test]
async fn a_dependent_with_another_owner_only_loses_the_one_that_is_gone() {
    let mut rig = Rig::new();
    let jobs = [rig.create(job("a")).await, rig.create(job("b")).await];
    let pod = rig.create(pod("p", &[&jobs[0], &jobs[1]])).await;
    rig.delete(&jobs[0], Propagation::Background).await;
    let owners = |rig: &Rig| rig.get(&pod).unwrap().meta().owner_references.clone().unwrap();
    rig.until("one owner is left", |rig| owners(rig).len() == 1).await;
    assert_eq!(owners(&rig)[0].uid, jobs[1].uid());
    rig.delete(&jobs[1], Propagation::Background).await;
    rig.until_gone(&pod).await;
}

#[tokio::test]
async fn in_foreground_the_owner_goes_after_the_dependents_that_block_it() {
    let mut rig = Rig::new();
    let job = rig.create(job("j")).await;
    let pod = rig.create(held(pod("p", &[&job]))).await;
    let config = rig.create(config("c", &[&job])).await;
    rig.delete(&job, Propagation::Foreground).await;
    rig.until_gone(&config).await;
    rig.until("the pod is marked", |rig| rig.get(&pod).unwrap().meta().deletion_timestamp.is_some()).await;
    assert!(rig.get(&job).is_some(), "it waits for the pod");
    release(&rig.store, &pod).await;
    rig.until_gone(&job).await;
}

#[tokio::test]
async fn in_foreground_a_dependent_that_does_not_block_is_not_waited_for() {
    let mut rig = Rig::new();
    let job = rig.create(job("j")).await;
    let loose = held(pod("p", &[])).with_meta(|meta| meta.owner_references = Some(vec![reference(&job, false)]));
    let pod = rig.create(loose).await;
    rig.delete(&job, Propagation::Foreground).await;
    rig.until_gone(&job).await;
    assert!(rig.get(&pod).unwrap().meta().deletion_timestamp.is_some());
}

#[tokio::test]
async fn orphans_lose_their_owner_and_stay() {
    let mut rig = Rig::new();
    let job = rig.create(job("j")).await;
    let pod = rig.create(pod("p", &[&job])).await;
    rig.delete(&job, Propagation::Orphan).await;
    rig.until_gone(&job).await;
    let pod = rig.get(&pod).unwrap();
    assert_eq!((&pod.meta().owner_references, &pod.meta().deletion_timestamp), (&None, &None));
}

#[tokio::test]
async fn what_was_left_over_a_restart_is_found() {
    let store = Store::in_memory().unwrap();
    let job = create(&store, job("j")).await;
    let pod = create(&store, pod("p", &[&job])).await;
    store.commit(vec![Write::Delete { key: job.key(), expected: Expected::Exists }]).await.unwrap();
    let mut rig = Rig::on(store);
    rig.until_gone(&pod).await;
}

#[tokio::test]
async fn who_is_created_for_an_owner_that_is_gone_follows_it() {
    let mut rig = Rig::new();
    let job = rig.create(job("j")).await;
    rig.delete(&job, Propagation::Background).await;
    let pod = rig.create(pod("p", &[&job])).await;
    rig.until_gone(&pod).await;
}

#[tokio::test]
async fn an_owner_of_a_kind_that_is_not_served_is_left_alone() {
    let mut rig = Rig::new();
    let foreign = OwnerReference {
        api_version: "argoproj.io/v1alpha1".to_owned(),
        kind: "Workflow".to_owned(),
        name: "w".to_owned(),
        uid: "unknown".to_owned(),
        ..OwnerReference::default()
    };
    let owned = pod("p", &[]).with_meta(|meta| meta.owner_references = Some(vec![foreign.clone()]));
    let pod = rig.create(owned).await;
    let job = rig.create(job("j")).await;
    let other = rig.create(config("c", &[&job])).await;
    rig.delete(&job, Propagation::Background).await;
    rig.until_gone(&other).await;
    assert!(rig.get(&pod).is_some());
}

/// What a namespace says of itself: status, reason and message of each condition.
fn remaining(rig: &Rig, namespace: &Object) -> Option<Vec<String>> {
    let stored = rig.get(namespace)?;
    let conditions = stored.typed::<Namespace>()?.status.clone()?.conditions?;
    let told = conditions
        .into_iter()
        .map(|it| format!("{} {} {}", it.status, it.reason.unwrap_or_default(), it.message.unwrap_or_default()));
    Some(told.collect())
}

#[tokio::test]
async fn a_deleted_namespace_is_emptied_and_then_goes() {
    let mut rig = Rig::new();
    let namespace = Object::new(Namespace {
        metadata: ObjectMeta { name: Some("default".to_owned()), ..ObjectMeta::default() },
        spec: Some(NamespaceSpec { finalizers: Some(vec!["kubernetes".to_owned()]) }),
        status: None,
    });
    let namespace = rig.create(namespace).await;
    let (job, config) = (rig.create(job("j")).await, rig.create(config("c", &[])).await);
    let pod = rig.create(held(pod("p", &[]))).await;
    let elsewhere = config.with_meta(|meta| meta.namespace = Some("elsewhere".to_owned()));
    let elsewhere = rig.create(elsewhere.with_meta(|meta| meta.uid = None)).await;
    rig.delete(&namespace, Propagation::Background).await;
    for object in [&job, &config] {
        rig.until_gone(object).await;
    }
    let stored = rig.get(&namespace).expect("it waits for the pod");
    assert_eq!(stored.typed::<Namespace>().unwrap().status.as_ref().unwrap().phase.as_deref(), Some("Terminating"));
    rig.until("its conditions tell of the pod", |rig| remaining(rig, &namespace).is_some()).await;
    assert_eq!(
        remaining(&rig, &namespace).unwrap(),
        [
            "False ResourcesDiscovered All resources successfully discovered",
            "False ParsedGroupVersions All legacy kube types successfully parsed",
            "False ContentDeleted All content successfully deleted, may be waiting on finalization",
            "True SomeResourcesRemain Some resources are remaining: pods. has 1 resource instances",
            "True SomeFinalizersRemain Some content in the namespace has finalizers remaining: test/held in 1 resource \
             instances",
        ]
    );
    release(&rig.store, &pod).await;
    rig.until_gone(&pod).await;
    rig.until_gone(&namespace).await;
    assert!(rig.get(&elsewhere).is_some());
    assert!(rig.store.get(&Key::of::<Namespace>("", "default")).unwrap().is_none());
}

#[tokio::test]
async fn many_dependents_go_too() {
    let mut rig = Rig::new();
    let job = rig.create(job("j")).await;
    let pods = (0..500).map(|i| Write::Create(pod(&format!("p{i}"), &[&job])));
    rig.store.commit(pods.collect()).await.unwrap();
    rig.delete(&job, Propagation::Foreground).await;
    rig.until_gone(&job).await;
    assert!(rig.store.dependents(job.uid()).unwrap().is_empty());
}

fn bound(name: &str, node: &str, phase: &str) -> Object {
    let spec = PodSpec { node_name: Some(node.to_owned()), ..PodSpec::default() };
    let status = PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() };
    Object::new(Pod { metadata: meta(name, &[]), spec: Some(spec), status: Some(status) })
}

fn node(name: &str) -> Object {
    Object::new(Node { metadata: ObjectMeta { namespace: None, ..meta(name, &[]) }, ..Node::default() })
}

impl Rig {
    /// Lets time pass, second by second, until the condition holds or this many have passed; says how many it took.
    async fn pass(&self, seconds: u64, holds: impl Fn(&Self) -> bool) -> u64 {
        for second in 0..seconds {
            if holds(self) {
                return second;
            }
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::time::resume();
            // Its turn for whoever was woken; the store's thread knows no tokio time.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seconds
    }

    fn phase(&self, object: &Object) -> Option<String> {
        let object = self.get(object)?;
        object.typed::<Pod>().and_then(|pod| pod.status.as_ref()?.phase.clone())
    }
}

#[tokio::test]
async fn a_pod_whose_node_is_not_there_fails_and_goes() {
    let mut rig = Rig::new();
    let pod = rig.create(held(bound("lost", "elsewhere", "Running"))).await;
    let took = rig.pass(120, |rig| rig.phase(&pod).as_deref() == Some("Failed")).await;
    assert!((40..120).contains(&took), "{took}");
    let failed = rig.get(&pod).unwrap();
    assert_eq!(failed.meta().deletion_grace_period_seconds, Some(0));
    let status = failed.typed::<Pod>().and_then(|pod| pod.status.clone()).unwrap();
    let condition = &status.conditions.unwrap()[0];
    let said = [Some(condition.type_.as_str()), condition.reason.as_deref(), condition.message.as_deref()];
    assert_eq!(said, [Some("DisruptionTarget"), Some("DeletionByPodGC"), Some("PodGC: node no longer exists")]);
    release(&rig.store, &pod).await;
    rig.until_gone(&pod).await;
}

#[tokio::test]
async fn pods_of_a_node_that_goes_follow_it_but_for_those_that_have_ended() {
    let rig = Rig::new();
    let here = rig.create(node("here")).await;
    let there = rig.create(node("there")).await;
    let running = rig.create(bound("running", "here", "Running")).await;
    let ended = rig.create(bound("ended", "here", "Succeeded")).await;
    let safe = rig.create(bound("safe", "there", "Running")).await;
    let deleted = rig.create(bound("deleted", "here", "Running")).await;
    rig.delete(&deleted, Propagation::Background).await;
    assert_eq!(rig.pass(60, |rig| rig.get(&deleted).is_none()).await, 60, "its node is there and may see to it");
    rig.delete(&here, Propagation::Background).await;
    let took = rig.pass(120, |rig| rig.get(&deleted).is_none() && rig.get(&running).is_none()).await;
    assert!((40..120).contains(&took), "{took}");
    assert!(rig.get(&ended).is_some() && rig.get(&safe).is_some());
    rig.delete(&there, Propagation::Background).await;
    rig.pass(20, |_| false).await;
    let again = rig.create(node("there")).await;
    rig.pass(60, |_| false).await;
    assert_eq!(rig.phase(&safe).as_deref(), Some("Running"), "{} came back in time", again.key());
}

#[tokio::test]
async fn a_pod_deleted_before_any_node_had_it_fails_where_no_agent_tells_so() {
    let mut rig = Rig::new();
    let pod = rig.create(held(pod("waiting", &[]))).await;
    rig.delete(&pod, Propagation::Background).await;
    let took = rig.pass(120, |rig| rig.phase(&pod).as_deref() == Some("Failed")).await;
    assert!((20..120).contains(&took), "{took}");
    release(&rig.store, &pod).await;
    rig.until_gone(&pod).await;
}
