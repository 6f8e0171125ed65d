//! Owns the tests of the Job controller on a real store: a Job is created, the test plays the node, and waits for what a
//! client would see. Never starts a container.

use std::time::Duration;

use jiff::Timestamp;
use jobdock::job::backoff::Delays;
use jobdock::job::controller;
use jobdock::job::facts::Options;
use jobdock::model::deletion::{self, Deletion, Propagation};
use jobdock::model::kind::Kind;
use jobdock::model::object::{Key, Object};
use jobdock::store::{Expected, Owner, Query, Store, Write};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Longest that a condition is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

struct House {
    store: Store,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl House {
    fn open() -> Self {
        Self::start(Store::in_memory().expect("a store"))
    }

    fn start(store: Store) -> Self {
        let stop = CancellationToken::new();
        let delays = Delays { base: jiff::SignedDuration::from_millis(1), ..Delays::default() };
        let options = Options { delays, ..Options::default() };
        let running = tokio::spawn(controller::run(store.clone(), options, stop.clone()));
        Self { store, stop, running }
    }

    /// Stops the controller; the store goes on.
    async fn stop(self) -> Store {
        self.stop.cancel();
        self.running.await.expect("the controller ends");
        self.store
    }

    async fn create(&self, name: &str, spec: Value) {
        create(&self.store, name, spec).await;
    }

    fn status(&self, name: &str) -> JobStatus {
        let job = self.store.get(&Key::of::<Job>("n", name)).expect("readable").expect("the Job is there");
        job.typed::<Job>().expect("a Job").status.clone().unwrap_or_default()
    }

    fn pods(&self) -> Vec<Object> {
        pods(&self.store)
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(in_time.is_ok(), "waited in vain: {what}; pods {:?}", self.pods());
    }

    async fn until_condition(&self, name: &str, kind: &str) -> JobStatus {
        self.until(kind, |house| condition(&house.status(name), kind)).await;
        self.status(name)
    }

    /// Ends every pod that has not ended, with this code for the pod.
    async fn end_pods(&self, code: impl Fn(&Pod) -> i32) {
        for pod in self.pods() {
            let typed: &Pod = pod.typed().expect("a pod");
            if !ended(typed) {
                write_status(&self.store, &pod, code(typed)).await;
            }
        }
    }

    fn events(&self) -> Vec<String> {
        let events = list(&self.store, Kind::of::<Event>());
        let text = |event: &Object| {
            let event: &Event = event.typed().expect("an event");
            format!("{} {}", event.reason.as_deref().unwrap_or(""), event.message.as_deref().unwrap_or(""))
        };
        events.iter().map(text).collect()
    }
}

async fn create(store: &Store, name: &str, spec: Value) {
    let uid = format!("uid-{name}");
    let labels = json!({"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name});
    let mut job = json!({
        "metadata": {"name": name, "namespace": "n", "uid": uid},
        "spec": {
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
            },
        },
    });
    for (key, value) in spec.as_object().expect("a spec") {
        job["spec"][key] = value.clone();
    }
    let job: Job = serde_json::from_value(job).expect("a Job");
    store.commit(vec![Write::Create(Object::new(job))]).await.expect("created");
}

fn list(store: &Store, kind: &'static Kind) -> Vec<Object> {
    let query =
        Query { kind, namespace: None, owner: Owner::Any, with_finalizers: false, limit: None, after: None, at: None };
    store.list(&query).expect("readable").objects
}

fn pods(store: &Store) -> Vec<Object> {
    list(store, Kind::of::<Pod>())
}

fn condition(status: &JobStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

fn index(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref().expect("annotations");
    annotations["batch.kubernetes.io/job-completion-index"].parse().expect("a number")
}

/// Plays the node: the pod has ended with this code. A pod that somebody changed or took away meanwhile is left alone.
async fn write_status(store: &Store, pod: &Object, code: i32) {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let mut ended = pod.to_value();
    ended["status"] = json!({
        "phase": phase,
        "containerStatuses": [{
            "name": "main", "image": "busybox", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": Timestamp::now()}},
        }],
    });
    let object = Object::from_value(pod.kind(), ended).expect("a pod");
    let _gone = store.commit(vec![Write::Update { object, expected: Expected::Revision(pod.revision()) }]).await;
}

async fn edit(store: &Store, key: &Key, change: impl Fn(&mut Value)) {
    loop {
        let object = store.get(key).expect("readable").expect("there");
        let mut value = object.to_value();
        change(&mut value);
        let changed = Object::from_value(key.kind, value).expect("still decodes");
        let write = Write::Update { object: changed, expected: Expected::Revision(object.revision()) };
        if store.commit(vec![write]).await.is_ok() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_three_pods_completes_and_says_so() {
    let house = House::open();
    house.create("three", json!({"completions": 3, "parallelism": 2})).await;
    house.until("two pods", |house| house.pods().len() == 2).await;
    let pod = house.pods().remove(0);
    assert!(pod.meta().name.as_deref().is_some_and(|name| name.starts_with("three-") && name.len() == 11), "{pod:?}");
    house.end_pods(|_| 0).await;
    house.until("the third pod", |house| house.pods().len() == 3).await;
    house.end_pods(|_| 0).await;
    let status = house.until_condition("three", "Complete").await;
    assert_eq!((status.succeeded, status.failed, status.active), (Some(3), None, None));
    assert!(status.start_time.is_some() && status.completion_time.is_some());
    assert!(house.pods().iter().all(|pod| pod.meta().finalizers.is_none()), "finalizers are gone");
    let events = house.events();
    assert!(events.iter().any(|event| event == "Completed Job completed"), "{events:?}");
    assert_eq!(events.iter().filter(|event| event.starts_with("SuccessfulCreate Created pod: three-")).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_while_no_controller_runs_is_found_at_the_start() {
    let house = House::open();
    house.create("late", json!({"activeDeadlineSeconds": 600})).await;
    house.until("the pod", |house| house.pods().len() == 1).await;
    let store = house.stop().await;
    edit(&store, &Key::of::<Job>("n", "late"), |job| {
        job["status"]["startTime"] = json!("2026-01-01T00:00:00Z");
    })
    .await;
    let house = House::start(store);
    let status = house.until_condition("late", "FailureTarget").await;
    let reasons: Vec<_> = status.conditions.iter().flatten().filter_map(|it| it.reason.clone()).collect();
    assert!(reasons.iter().all(|reason| reason == "DeadlineExceeded"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_index_is_retried_and_the_job_completes() {
    let house = House::open();
    house.create("idx", json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"})).await;
    house.until("three pods", |house| house.pods().len() == 3).await;
    house.end_pods(|pod| i32::from(index(pod) == 1)).await;
    house.until("the retry", |house| house.pods().len() == 4).await;
    house.end_pods(|_| 0).await;
    let status = house.until_condition("idx", "Complete").await;
    assert_eq!((status.completed_indexes.as_deref(), status.failed), (Some("0-2"), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fail_job_rule_ends_the_job_and_deletes_who_still_runs() {
    let house = House::open();
    let rule = json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}});
    house.create("policy", json!({"completions": 2, "parallelism": 2, "podFailurePolicy": {"rules": [rule]}})).await;
    house.until("two pods", |house| house.pods().len() == 2).await;
    let pod = house.pods().remove(0);
    write_status(&house.store, &pod, 42).await;
    let status = house.until_condition("policy", "Failed").await;
    let failed = status.conditions.iter().flatten().find(|condition| condition.type_ == "Failed").expect("Failed");
    assert_eq!(failed.reason.as_deref(), Some("PodFailurePolicy"));
    assert_eq!(status.failed, Some(2));
    house.until("the other pod is gone", |house| house.pods().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_job_has_no_pods_and_goes_on_when_resumed() {
    let house = House::open();
    house.create("rest", json!({"suspend": true})).await;
    house.until_condition("rest", "Suspended").await;
    assert!(house.pods().is_empty() && house.status("rest").start_time.is_none());
    edit(&house.store, &Key::of::<Job>("n", "rest"), |job| job["spec"]["suspend"] = json!(false)).await;
    house.until("a pod", |house| house.pods().len() == 1).await;
    assert!(house.status("rest").start_time.is_some());
    edit(&house.store, &Key::of::<Job>("n", "rest"), |job| job["spec"]["suspend"] = json!(true)).await;
    house.until("no pod", |house| house.pods().is_empty()).await;
    assert!(house.events().iter().any(|event| event == "Resumed Job resumed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_the_controller_was_down_is_counted_after_its_start() {
    let house = House::open();
    house.create("down", json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed"})).await;
    house.until("two pods", |house| house.pods().len() == 2).await;
    let store = house.stop().await;
    for pod in pods(&store) {
        write_status(&store, &pod, 0).await;
    }
    let house = House::start(store);
    let status = house.until_condition("down", "Complete").await;
    assert_eq!(status.succeeded, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_a_job_that_is_gone_lose_their_finalizer() {
    let house = House::open();
    house.create("gone", json!({})).await;
    house.until("a pod", |house| house.pods().len() == 1).await;
    let delete = Write::Delete { key: Key::of::<Job>("n", "gone"), expected: Expected::Exists };
    house.store.commit(vec![delete]).await.expect("deleted");
    house.until("no finalizer", |house| house.pods().iter().all(|pod| pod.meta().finalizers.is_none())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_taken_from_its_job_is_taken_back() {
    let house = House::open();
    house.create("mine", json!({})).await;
    house.until("a pod", |house| house.pods().len() == 1).await;
    let key = house.pods()[0].key();
    edit(&house.store, &key, |pod| pod["metadata"]["ownerReferences"] = json!([])).await;
    house
        .until("the owner is back", |house| {
            house
                .pods()
                .iter()
                .any(|pod| pod.key() == key && pod.meta().owner_references.is_some() && pod.meta().finalizers.is_some())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_labels_no_longer_fit_is_let_go_and_replaced() {
    let house = House::open();
    house.create("strict", json!({})).await;
    house.until("a pod", |house| house.pods().len() == 1).await;
    let key = house.pods()[0].key();
    edit(&house.store, &key, |pod| pod["metadata"]["labels"] = json!({"mine": "no more"})).await;
    house
        .until("it is let go and there is another", |house| {
            let pods = house.pods();
            let free = pods.iter().find(|pod| pod.key() == key);
            pods.len() == 2
                && free.is_some_and(|pod| pod.meta().owner_references.is_none() && pod.meta().finalizers.is_none())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_active_pod_stripped_of_its_finalizer_still_counts_as_active() {
    let house = House::open();
    house.create("bare", json!({})).await;
    house.until("a pod", |house| house.pods().len() == 1).await;
    let key = house.pods()[0].key();
    edit(&house.store, &key, |pod| pod["metadata"]["finalizers"] = json!([])).await;
    edit(&house.store, &Key::of::<Job>("n", "bare"), |job| job["spec"]["parallelism"] = json!(2)).await;
    edit(&house.store, &Key::of::<Job>("n", "bare"), |job| job["spec"]["completions"] = json!(2)).await;
    house.until("one more pod", |house| house.pods().len() == 2 && house.status("bare").active == Some(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_else_manages_is_left_alone() {
    let house = House::open();
    house.create("theirs", json!({"managedBy": "example.com/other"})).await;
    house.create("ours", json!({})).await;
    house.until("our pod", |house| house.pods().len() == 1).await;
    assert_eq!(house.status("theirs"), JobStatus::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_failing_waits_for_pods_that_terminate() {
    let house = House::open();
    house.create("slow", json!({"backoffLimit": 0, "completions": 2, "parallelism": 2})).await;
    house.until("two pods", |house| house.pods().len() == 2).await;
    let [first, second]: [Object; 2] = house.pods().try_into().expect("two");
    edit(&house.store, &second.key(), |pod| {
        pod["spec"]["nodeName"] = json!("here");
        pod["spec"]["terminationGracePeriodSeconds"] = json!(30);
        pod["status"] = json!({"phase": "Running"});
    })
    .await;
    write_status(&house.store, &first, 1).await;
    let status = house.until_condition("slow", "FailureTarget").await;
    assert!(!condition(&status, "Failed"));
    house.until("it terminates", |house| house.status("slow").terminating == Some(1)).await;
    let key = second.key();
    edit(&house.store, &key, |pod| pod["status"] = json!({"phase": "Failed"})).await;
    let status = house.until_condition("slow", "Failed").await;
    assert_eq!((status.failed, status.terminating), (Some(2), Some(0)));
    let pod = house.store.get(&key).expect("readable").expect("the node has not removed it");
    let asked = deletion::delete(&pod, Some(0), Propagation::Background, Timestamp::now());
    assert!(matches!(asked, Deletion::Remove), "nothing of the Job holds it");
}

/// The pods of the Job `j`, with one field more.
fn template(field: &str, value: Value) -> Value {
    json!({
        "metadata": {"labels": {"batch.kubernetes.io/controller-uid": "uid-j", "batch.kubernetes.io/job-name": "j"}},
        "spec": {"restartPolicy": "Never", field: value, "containers": [{"name": "main", "image": "busybox"}]},
    })
}

#[tokio::test]
async fn a_job_whose_pods_are_refused_says_why_and_makes_them_once_they_may_be() {
    let house = House::open();
    let template = template("serviceAccountName", json!("robot"));
    house.create("j", json!({"parallelism": 2, "completions": 2, "template": template})).await;
    let said = |house: &House| {
        let events = house.store.list(&Query::all(Kind::of::<Event>())).expect("readable").objects;
        let failed = |event: &Event| event.reason.as_deref() == Some("FailedCreate");
        let event = events.iter().filter_map(|object| object.typed::<Event>()).find(|event| failed(event));
        event.and_then(|event| event.message.clone())
    };
    house.until("the Job says why", |house| said(house).is_some()).await;
    let why = "error looking up service account n/robot: serviceaccount \"robot\" not found";
    assert_eq!(said(&house), Some(format!("Error creating: pods \"j-\" is forbidden: {why}")));
    assert_eq!((house.pods().len(), house.status("j").active), (0, None));
    let mut account = k8s_openapi::api::core::v1::ServiceAccount::default();
    account.metadata.namespace = Some("n".to_owned());
    account.metadata.name = Some("robot".to_owned());
    house.store.commit(vec![Write::Create(Object::new(account))]).await.expect("the account is made");
    house.until("the pods are made", |house| house.pods().len() == 2).await;
    house.until("they are counted", |house| house.status("j").active == Some(2)).await;
}

#[tokio::test]
async fn pods_have_the_priority_of_the_class_that_the_template_names_once_it_is_there() {
    let house = House::open();
    house.create("j", json!({"template": template("priorityClassName", json!("high"))})).await;
    let refused = "FailedCreate Error creating: pods \"j-\" is forbidden: no PriorityClass with name high was found";
    house.until("told why there is no pod", |house| house.events().iter().any(|line| line == refused)).await;
    assert!(house.pods().is_empty());
    let class: PriorityClass =
        serde_json::from_value(json!({"metadata": {"name": "high"}, "value": 7})).expect("a class");
    house.store.commit(vec![Write::Create(Object::new(class))]).await.expect("it can be stored");
    house.until("a pod", |house| !house.pods().is_empty()).await;
    let pods = house.pods();
    let spec = pods[0].typed::<Pod>().and_then(|pod| pod.spec.as_ref()).expect("a spec");
    assert_eq!(spec.priority, Some(7));
}

#[tokio::test]
async fn pods_that_name_a_runtime_class_that_is_not_there_are_refused() {
    let house = House::open();
    house.create("j", json!({"template": template("runtimeClassName", json!("gvisor"))})).await;
    let refused =
        "FailedCreate Error creating: pods \"j-\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found";
    house.until("told why there is no pod", |house| house.events().iter().any(|line| line == refused)).await;
    assert!(house.pods().is_empty());
}

#[tokio::test]
async fn pods_that_break_the_security_standard_of_their_namespace_are_made_once_it_is_lifted() {
    let house = House::open();
    let mut namespace = k8s_openapi::api::core::v1::Namespace::default();
    namespace.metadata.name = Some("n".to_owned());
    let enforce = ("pod-security.kubernetes.io/enforce".to_owned(), "baseline".to_owned());
    namespace.metadata.labels = Some([enforce].into());
    let made = house.store.commit(vec![Write::Create(Object::new(namespace))]).await.expect("it is made");
    house.create("j", json!({"template": template("hostNetwork", json!(true))})).await;
    let refused = "FailedCreate Error creating: pods \"j-\" is forbidden: violates PodSecurity \"baseline:latest\": \
                   host namespaces (hostNetwork=true)";
    house.until("told why there is no pod", |house| house.events().iter().any(|line| line == refused)).await;
    assert!(house.pods().is_empty());
    let namespace = made.objects[0].as_ref().expect("the namespace");
    let expected = Expected::Revision(namespace.revision());
    let object = namespace.with_meta(|meta| meta.labels = None);
    house.store.commit(vec![Write::Update { object, expected }]).await.expect("its labels go");
    house.until("a pod", |house| !house.pods().is_empty()).await;
}
