//! Devices such as GPUs: whole ones, each of one pod at a time, through restarts; what a client says that the node has.

use std::sync::Arc;

use expect_test::expect;
use jobdock::model::object::{Key, Object};
use jobdock::pod::devices::{DevicesFact, allocate, of_container, offered, parse, wanted};
use jobdock::pod::facts::{Action, NodeFacts};
use jobdock::pod::names;
use jobdock::runtime::fake::Fake;
use jobdock::runtime::reply::{self, VersionReply};
use jobdock::runtime::{DeviceSpec, Devices};
use jobdock::store::{Expected, Store, Write};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::json;

use super::pod_docker::with_house;
use super::pod_house::{House, NODE, phase_of, pod, tell};
use super::pod_plan::Case;
use super::support::image;

const GPU: &str = "nvidia.com/gpu";

fn devices(all: &[(&str, &[&str])]) -> Devices {
    all.iter().map(|(kind, ids)| ((*kind).to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())).collect()
}

fn node(all: &[(&str, &[&str])]) -> NodeFacts {
    NodeFacts { devices: devices(all), ..NodeFacts::default() }
}

#[test]
fn devices_are_named_by_resource_and_id() {
    assert_eq!(parse("nvidia.com/gpu=0,1"), Ok((GPU.to_owned(), vec!["0".to_owned(), "1".to_owned()])));
    for wrong in
        ["nvidia.com/gpu", "nvidia.com/gpu=", "gpu=0", "nvidia.com/gpu=0,0", "nvidia.com/gpu=0,", "/gpu=0", "a b/c=0"]
    {
        assert!(parse(wrong).is_err_and(|words| words.contains("nvidia.com/gpu=0,1")), "{wrong}");
    }
}

#[test]
fn of_what_the_engine_has_found_only_what_has_a_number_is_offered() {
    let found = |id: &str| json!({"Source": "cdi", "ID": id});
    let all =
        ["nvidia.com/gpu=10", "nvidia.com/gpu=2", "nvidia.com/gpu=all", "nvidia.com/gpu=GPU-1-2", "amd.com/gpu=0"];
    let info = json!({"DiscoveredDevices": all.map(found)});
    let info = serde_json::from_value(info).expect("read leniently");
    let found = reply::engine_seen(info, &VersionReply::default()).devices;
    assert_eq!(found, devices(&[("amd.com/gpu", &["0"]), (GPU, &["2", "10"])]));
    let told = devices(&[(GPU, &["2"])]);
    assert_eq!(offered(&told, &found), devices(&[("amd.com/gpu", &["0"]), (GPU, &["2"])]), "who is told knows better");
}

#[test]
fn each_pod_gets_devices_that_nobody_holds() {
    let offer = devices(&[(GPU, &["0", "1", "2"])]);
    let two = [(GPU.to_owned(), 2)].into();
    let held = [devices(&[(GPU, &["1"])]), devices(&[("amd.com/gpu", &["0"])])];
    assert_eq!(allocate(&two, &offer, held.iter()), Ok(devices(&[(GPU, &["0", "2"])])));
    let held = [devices(&[(GPU, &["1"])]), devices(&[(GPU, &["2"])])];
    let words = "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 2, \
                 Available: 1, which is unexpected";
    assert_eq!(allocate(&two, &offer, held.iter()), Err(words.to_owned()));
}

#[test]
fn init_containers_use_the_devices_of_those_after_them() {
    let limits = |count: u32| format!("resources: {{limits: {{nvidia.com/gpu: {count}}}}}");
    let spec = pod(&format!(
        "{{metadata: {{name: p}}, spec: {{initContainers: [{{name: i, {}}}, {{name: s, restartPolicy: Always, {}}}, \
         {{name: j, {}}}], containers: [{{name: a, {}}}, {{name: none}}, {{name: b, {}}}]}}}}",
        limits(2),
        limits(1),
        limits(2),
        limits(1),
        limits(1),
    ))
    .spec
    .expect("it has a spec");
    let node = node(&[(GPU, &["0", "1", "2", "3"]), ("amd.com/gpu", &["0"])]);
    assert_eq!(wanted(&spec, &node), [(GPU.to_owned(), 3)].into());
    let own = devices(&[(GPU, &["1", "2", "3"])]);
    let seen = |name: &str| {
        let all = spec.init_containers.iter().flatten().chain(&spec.containers);
        let container = all.into_iter().find(|one| one.name == name).expect("it is there");
        let found = of_container(&spec, container, &own, &node);
        found.iter().map(|device| device.ids.join(",")).collect::<Vec<_>>().join(";")
    };
    let told: Vec<String> = ["i", "s", "j", "a", "none", "b"].map(|name| format!("{name} {}", seen(name))).into();
    assert_eq!(told, ["i 1,2", "s 1", "j 2,3", "a 2", "none ", "b 3"]);
}

#[test]
fn what_the_engine_has_found_is_asked_for_by_its_interface() {
    let spec = pod("{metadata: {name: p}, spec: {containers: [{name: a, resources: {limits: {nvidia.com/gpu: 1, \
                    amd.com/gpu: 1}}}]}}");
    let spec = spec.spec.expect("it has a spec");
    let own = devices(&[(GPU, &["0"]), ("amd.com/gpu", &["0"])]);
    let cdi = |node: &NodeFacts| {
        let given = of_container(&spec, &spec.containers[0], &own, node);
        given.into_iter().map(|device| (device.kind, device.cdi)).collect::<Vec<_>>()
    };
    assert_eq!(cdi(&NodeFacts::default()), [("amd.com/gpu".to_owned(), true), (GPU.to_owned(), false)]);
    let found = NodeFacts { found_devices: devices(&[(GPU, &["0"])]), ..NodeFacts::default() };
    assert_eq!(cdi(&found), [("amd.com/gpu".to_owned(), true), (GPU.to_owned(), true)]);
}

fn wants(name: &str, count: u32) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never, containers: [{{name: main, image: 'busybox:1', env: \
         [{{name: FAKE_RUN_MS, value: forever}}], resources: {{requests: {{nvidia.com/gpu: {count}}}, limits: {{nvidia.com/gpu: {count}}}}}}}]}}}}"
    )
}

fn holds(house: &House, pod: &Object) -> Devices {
    let kept = house.store.fact(pod.uid(), "devices").expect("the store reads");
    kept.map(|bytes| serde_json::from_slice(&bytes).expect("devices")).unwrap_or_default()
}

#[tokio::test]
async fn a_device_is_of_one_pod_at_a_time_and_stays_its_own_through_a_restart() {
    let fake = Arc::new(Fake::new());
    let mut house = House::open(Store::in_memory().expect("a store opens"), fake.clone());
    house.offer(&[(GPU, &["0", "1"])]).await;
    let first = house.pod(&wants("first", 1)).await;
    house.until_phase("first", "Running").await;
    house.kill().await;
    house.begin();
    let second = house.pod(&wants("second", 1)).await;
    house.until_phase("second", "Running").await;
    assert_eq!(holds(&house, &first), devices(&[(GPU, &["0"])]));
    assert_eq!(holds(&house, &second), devices(&[(GPU, &["1"])]));
    let third = house.pod(&wants("third", 1)).await;
    house.until("third", "kept out", |pod| format!("{:?}", pod.status).contains("Insufficient nvidia.com/gpu")).await;
    fake.finish(&names::container(first.uid(), "main", 0), 0);
    house.until_phase("third", "Running").await;
    assert_eq!(holds(&house, &third), devices(&[(GPU, &["0"])]), "the first has given it back");
}

#[test]
fn a_pod_has_its_devices_before_its_first_container() {
    let spec = "{restartPolicy: Never, containers: [{name: main, image: a, resources: {limits: {nvidia.com/gpu: 1}}}]}";
    let fresh = || Case::fresh(spec).with(|facts| facts.node.devices = devices(&[(GPU, &["0"])]));
    fresh().check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        assign {"nvidia.com/gpu": 1}"#]]);
    let own = DevicesFact::Assigned(devices(&[(GPU, &["0"])]));
    let plan = fresh().with(|facts| facts.devices = own).plan();
    let Some(Action::Start { create: Some(made), .. }) = plan.actions.first() else { panic!("{plan:?}") };
    assert_eq!(made.devices, [DeviceSpec { kind: GPU.to_owned(), ids: vec!["0".to_owned()], cdi: false }]);
    // One that has begun without runs on without.
    assert!(!fresh().told().running("main", 0).decide().contains("assign"));
}

#[tokio::test]
async fn a_pod_for_which_no_device_is_free_is_rejected() {
    let mut house = House::open(Store::in_memory().expect("a store opens"), Arc::new(Fake::new()));
    house.offer(&[(GPU, &["0", "1"])]).await;
    let first = house.pod(&wants("first", 1)).await;
    house.until_phase("first", "Running").await;
    house.end().await;
    // It holds more than the scheduler knows of.
    let value = serde_json::to_vec(&devices(&[(GPU, &["0", "1"])])).expect("JSON").into();
    let write = Write::Remember { uid: first.uid().to_owned(), name: "devices", value };
    house.store.commit(vec![write]).await.expect("it can be stored");
    house.begin();
    house.pod(&wants("second", 1)).await;
    let told = tell(Some(&house.until_over("second").await));
    let words = "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 1, \
                 Available: 0, which is unexpected";
    assert!(told.starts_with(&format!("Failed UnexpectedAdmissionError Pod was rejected: {words}")), "{told}");
    assert!(house.events("second").contains(&format!("Warning UnexpectedAdmissionError {words}")));
}

fn stored(house: &House) -> Option<(Object, Node)> {
    let object = house.store.get(&Key::of::<Node>("", NODE)).expect("the store reads")?;
    let node = object.typed::<Node>().expect("it is a node").clone();
    Some((object, node))
}

/// What the node has and offers of a resource.
fn told(house: &House, resource: &str) -> [Option<String>; 2] {
    let status = stored(house).and_then(|(_, node)| node.status).unwrap_or_default();
    [status.capacity, status.allocatable].map(|all| all?.get(resource).map(|count| count.0.clone()))
}

#[tokio::test]
async fn what_a_client_says_that_the_node_has_stays_and_devices_that_are_gone_are_none() {
    let mut house = House::open(Store::in_memory().expect("a store opens"), Arc::new(Fake::new()));
    house.offer(&[(GPU, &["0", "1"])]).await;
    house
        .eventually("the devices are offered", || async { told(&house, GPU) == ["2", "2"].map(|n| Some(n.into())) })
        .await;
    loop {
        let (object, mut node) = stored(&house).expect("the node is there");
        let capacity = node.status.get_or_insert_default().capacity.get_or_insert_default();
        capacity.insert("example.com/dongle".to_owned(), Quantity("4".to_owned()));
        let write = Write::Update { object: Object::new(node), expected: Expected::Revision(object.revision()) };
        if house.store.commit(vec![write]).await.is_ok() {
            break;
        }
    }
    house.offer(&[]).await;
    let both = |count: &str| [Some(count.to_owned()), Some(count.to_owned())];
    house.eventually("the dongles are offered", || async { told(&house, "example.com/dongle") == both("4") }).await;
    house.eventually("no device is", || async { told(&house, GPU) == both("0") }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_without_a_driver_for_the_device_says_so() {
    with_house(|house, _| async move {
        let mut house = house.lock().await;
        house.offer(&[(GPU, &["0"])]).await;
        let yaml = wants("p", 1).replace("'busybox:1'", &format!("'{}', imagePullPolicy: Never", image::NAME));
        house.pod(&yaml).await;
        let pod = house
            .until("p", "told of the refusal", |pod: &Pod| {
                phase_of(pod) == "Failed" || tell(Some(pod)).contains("Error")
            })
            .await;
        assert!(tell(Some(&pod)).contains("could not select device driver"), "{}", tell(Some(&pod)));
        let events = house.events("p").join("\n");
        assert!(
            events.contains("Warning Failed Error: ") && events.contains("could not select device driver"),
            "{events}"
        );
    })
    .await;
}
