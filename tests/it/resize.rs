//! Resources of a running pod that change: granted or not, in effect in place or by a restart, told as it goes.

use std::sync::Arc;
use std::time::Duration;

use jobdock::model::event::Severity;
use jobdock::model::object::{Key, Object};
use jobdock::pod::names;
use jobdock::runtime::fake::{Call, Fake, Fault};
use jobdock::runtime::session::run;
use jobdock::runtime::{Limits, Runtime};
use jobdock::store::{Expected, Store, Write};
use k8s_openapi::api::core::v1::{Pod, PodCondition, ResourceRequirements};
use serde_json::{Value, json};

use super::pod_docker::with_house;
use super::pod_house::{House, phase_of};
use super::support::image;

/// A pod that runs on, of one container with these resources.
fn forever(name: &str, resources: &str, more: &str) -> String {
    format!(
        "{{metadata: {{name: {name}, generation: 1}}, spec: {{restartPolicy: OnFailure, containers: [{{name: main, image: \
         'busybox:1', env: [{{name: FAKE_RUN_MS, value: forever}}], resources: {resources}{more}}}]}}}}"
    )
}

/// Asks for other resources, as `pods/resize` stores them.
async fn resize(house: &House, name: &str, resources: Value) {
    let key = Key::of::<Pod>("default", name);
    loop {
        let object = house.store.get(&key).expect("the store reads").expect("the pod is there");
        let mut pod = object.typed::<Pod>().expect("it is a pod").clone();
        pod.metadata.generation = pod.metadata.generation.map(|generation| generation + 1);
        let container = &mut pod.spec.as_mut().expect("it has a spec").containers[0];
        container.resources = Some(serde_json::from_value(resources.clone()).expect("resources"));
        let expected = Expected::Revision(object.revision());
        if house.store.commit(vec![Write::Update { object: Object::new(pod), expected }]).await.is_ok() {
            return;
        }
    }
}

fn condition<'p>(pod: &'p Pod, kind: &str) -> Option<&'p PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

fn in_effect(pod: &Pod) -> Option<&ResourceRequirements> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.resources.as_ref()
}

fn cpu(pod: &Pod) -> String {
    let requests = in_effect(pod).and_then(|resources| resources.requests.as_ref());
    requests.and_then(|requests| requests.get("cpu")).map(|cpu| cpu.0.clone()).unwrap_or_default()
}

fn calm(pod: &Pod) -> bool {
    condition(pod, "PodResizePending").is_none() && condition(pod, "PodResizeInProgress").is_none()
}

async fn limits(fake: &Fake, uid: &str, attempt: u32) -> Limits {
    let name = names::container(uid, "main", attempt);
    fake.inspect(&name).await.expect("the engine answers").expect("it is there").limits
}

fn house() -> (House, Arc<Fake>) {
    let fake = Arc::new(Fake::new());
    (House::open(Store::in_memory().expect("a store opens"), fake.clone()), fake)
}

#[tokio::test]
async fn resources_change_in_a_running_container() {
    let (house, fake) = house();
    let small = "{requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 1, memory: 64Mi}}";
    let object = house.pod(&forever("p", small, "")).await;
    let pod = house.until_phase("p", "Running").await;
    let status = &pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0];
    assert_eq!(json!(status.allocated_resources), json!({"cpu": "100m", "memory": "64Mi"}));
    assert_eq!(json!(in_effect(&pod)), json!(pod.spec.as_ref().unwrap().containers[0].resources));
    let large = json!({"requests": {"cpu": "200m", "memory": "96Mi"}, "limits": {"cpu": "2", "memory": "96Mi"}});
    resize(&house, "p", large.clone()).await;
    let pod = house.until("p", "resized", |pod| cpu(pod) == "200m" && calm(pod)).await;
    assert_eq!(json!(in_effect(&pod)), large);
    assert_eq!(pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].restart_count, 0);
    let expected = Limits { cpu_nanos: 2_000_000_000, cpu_shares: 204, memory_bytes: 96 << 20, pids: 0 };
    assert_eq!(limits(&fake, object.uid(), 0).await, expected);
    let told = house.events("p");
    let started = "Normal ResizeStarted Pod resize started: {\"containers\":[{\"name\":\"main\",\"resources\":{";
    assert!(told.iter().any(|event| event.starts_with(started)), "{told:?}");
    assert!(told.contains(&"Normal ResizeCompleted Pod resize completed".to_owned()), "{told:?}");
    assert_eq!(fake.calls().get(&Call::Update), Some(&1));
    // A limit alone needs no room, and an agent that begins anew has nothing left to do.
    resize(&house, "p", json!({"requests": large["requests"], "limits": {"cpu": "3", "memory": "96Mi"}})).await;
    let three = |pod: &Pod| in_effect(pod).is_some_and(|all| all.limits.as_ref().unwrap()["cpu"].0 == "3") && calm(pod);
    house.until("p", "limited otherwise", three).await;
    assert_eq!(limits(&fake, object.uid(), 0).await.cpu_nanos, 3_000_000_000);
}

#[tokio::test]
async fn what_the_node_can_never_give_is_infeasible() {
    let (house, fake) = house();
    house.pod(&forever("p", "{requests: {cpu: 1}}", "")).await;
    house.until_phase("p", "Running").await;
    resize(&house, "p", json!({"requests": {"cpu": "100"}})).await;
    let pod = house.until("p", "refused", |pod| condition(pod, "PodResizePending").is_some()).await;
    let pending = condition(&pod, "PodResizePending").unwrap();
    assert_eq!(pending.reason.as_deref(), Some("Infeasible"));
    let words = "Node didn't have enough capacity: cpu, requested: 100000, capacity: 64000";
    assert_eq!((pending.message.as_deref(), pending.observed_generation), (Some(words), Some(2)));
    assert_eq!((cpu(&pod).as_str(), fake.calls().get(&Call::Update)), ("1", None));
    // What cannot be had is not kept free: another pod that fills the rest is let in.
    house.pod(&forever("rest", "{requests: {cpu: 63}}", "")).await;
    house.until_phase("rest", "Running").await;
    resize(&house, "p", json!({"requests": {"cpu": "1"}})).await;
    house.until("p", "at peace", calm).await;
}

#[tokio::test]
async fn a_resize_waits_until_there_is_room() {
    let (house, _fake) = house();
    for name in ["p", "other"] {
        house.pod(&forever(name, "{requests: {cpu: 30}}", "")).await;
        house.until_phase(name, "Running").await;
    }
    resize(&house, "p", json!({"requests": {"cpu": "40"}})).await;
    let pod = house.until("p", "deferred", |pod| condition(pod, "PodResizePending").is_some()).await;
    let pending = condition(&pod, "PodResizePending").unwrap();
    assert_eq!(pending.reason.as_deref(), Some("Deferred"));
    let words = "Node didn't have enough resource: cpu, requested: 40000, used: 30000, capacity: 64000";
    assert_eq!((pending.message.as_deref(), cpu(&pod).as_str()), (Some(words), "30"));
    let warned = format!("{} ResizeDeferred Pod resize Deferred: ", Severity::Warning.text());
    assert_eq!(house.events("p").iter().filter(|event| event.starts_with(&warned)).count(), 1);
    // The room that it waits for is kept.
    house.pod(&forever("late", "{requests: {cpu: 2}}", "")).await;
    house.until("late", "kept out", |pod| format!("{:?}", pod.status).contains("Insufficient cpu")).await;
    house.delete("other", Some(0)).await;
    house.until("p", "granted", |pod| cpu(pod) == "40" && calm(pod)).await;
    house.until_phase("late", "Running").await;
}

#[tokio::test]
async fn a_container_that_wants_it_is_restarted_for_other_resources() {
    let (house, fake) = house();
    let policy = ", resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]";
    let small = "{requests: {memory: 64Mi}, limits: {memory: 64Mi}}";
    let object = house.pod(&forever("p", small, policy)).await;
    house.until_phase("p", "Running").await;
    resize(&house, "p", json!({"requests": {"memory": "128Mi"}, "limits": {"memory": "128Mi"}})).await;
    let restarted = |pod: &Pod| {
        let status = &pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0];
        status.restart_count == 1 && status.state.as_ref().is_some_and(|state| state.running.is_some()) && calm(pod)
    };
    house.until("p", "restarted", restarted).await;
    assert_eq!(limits(&fake, object.uid(), 1).await.memory_bytes, 128 << 20);
    let told = house.events("p");
    assert!(told.iter().any(|event| event == "Normal Killing Container main resize requires restart"), "{told:?}");
    assert_eq!(fake.calls().get(&Call::Update), None);
}

#[tokio::test]
async fn what_the_engine_refuses_is_told() {
    let (house, fake) = house();
    house.pod(&forever("p", "{requests: {memory: 64Mi}, limits: {memory: 64Mi}}", "")).await;
    house.until_phase("p", "Running").await;
    fake.fail_next(Call::Update, Fault::Refuse("the container uses more than that".to_owned()));
    resize(&house, "p", json!({"requests": {"memory": "32Mi"}, "limits": {"memory": "32Mi"}})).await;
    let failed = |pod: &Pod| condition(pod, "PodResizeInProgress").is_some_and(|found| found.reason.is_some());
    let pod = house.until("p", "told of the error", failed).await;
    let found = condition(&pod, "PodResizeInProgress").unwrap();
    let told = (found.reason.as_deref(), found.message.as_deref());
    assert_eq!(told, (Some("Error"), Some("the container uses more than that")));
    assert_eq!(json!(in_effect(&pod).unwrap().limits), json!({"memory": "64Mi"}), "what holds is told");
    house.until("p", "resized at the next try", calm).await;
    assert_eq!(phase_of(&house.get("p").unwrap()), "Running");
}

#[tokio::test]
async fn a_restart_while_a_resize_waits_has_the_resources_that_were_granted() {
    let (house, fake) = house();
    let object = house.pod(&forever("p", "{requests: {cpu: 1}, limits: {cpu: 2}}", "")).await;
    house.until_phase("p", "Running").await;
    resize(&house, "p", json!({"requests": {"cpu": "100"}, "limits": {"cpu": "100"}})).await;
    house.until("p", "refused", |pod| condition(pod, "PodResizePending").is_some()).await;
    fake.finish(&names::container(object.uid(), "main", 0), 1);
    let again = |pod: &Pod| {
        let status = &pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0];
        status.restart_count == 1 && status.state.as_ref().is_some_and(|state| state.running.is_some())
    };
    let pod = house.until("p", "running again", again).await;
    assert_eq!((limits(&fake, object.uid(), 1).await.cpu_nanos, cpu(&pod).as_str()), (2_000_000_000, "1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_holds_a_running_container_to_its_new_limits() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        let yaml = format!(
            "{{metadata: {{name: p, generation: 1}}, spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 0, \
             containers: [{{name: main, image: '{}', imagePullPolicy: Never, command: [sleep, '1000'], resources: \
             {{requests: {{cpu: 10m, memory: 32Mi}}, limits: {{cpu: 100m, memory: 32Mi}}}}}}]}}}}",
            image::NAME
        );
        let object = house.pod(&yaml).await;
        house.until_phase("p", "Running").await;
        let larger = json!({"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"cpu": "200m", "memory": "48Mi"}});
        resize(&house, "p", larger).await;
        let pod = house.until("p", "resized", |pod| cpu(pod) == "20m" && calm(pod)).await;
        assert_eq!(pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].restart_count, 0);
        let name = names::container(object.uid(), "main", 0);
        let seen = engine.inspect(&name).await.unwrap().unwrap().limits;
        assert_eq!((seen.cpu_nanos, seen.memory_bytes), (200_000_000, 48 << 20));
        // The kernel's own word, in either version of cgroups.
        let script = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let outcome = run(engine.as_ref(), &name, &command, Duration::from_secs(60), 1 << 10).await;
        assert!(format!("{outcome:?}").contains("50331648"), "{outcome:?}");
    })
    .await;
}
