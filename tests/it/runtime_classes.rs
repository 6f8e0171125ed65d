//! RuntimeClasses: what they make of the pods that name them, and which of the engine's runtimes runs those.

use std::sync::Arc;

use bollard::Docker;
use jobdock::pod::facts::{Action, RuntimeFact};
use jobdock::pod::names;
use jobdock::runtime::fake::Fake;
use jobdock::store::Store;
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::{Value, json};

use super::api::face::Face;
use super::pod_docker::with_house;
use super::pod_house::{House, from_yaml, tell};
use super::pod_plan::Case;
use super::support::image;

const CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn class(name: &str, handler: &str, more: Value) -> Value {
    let mut class = json!({"metadata": {"name": name}, "handler": handler});
    for (field, value) in more.as_object().expect("fields") {
        class[field] = value.clone();
    }
    class
}

fn pod(name: &str, class: &str, more: Value) -> Value {
    let mut spec =
        json!({"restartPolicy": "Never", "runtimeClassName": class, "containers": [{"name": "a", "image": "i"}]});
    for (field, value) in more.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_class_is_held_to_its_rules() {
    let face = Face::new().await;
    let refused = async |class: Value, why: &str| {
        let name = class["metadata"]["name"].as_str().expect("a name").to_owned();
        let words = format!("RuntimeClass.node.k8s.io \"{name}\" is invalid: {why}");
        face.post(CLASSES, class).await.fails(422, "Invalid", &words);
    };
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
                 end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    refused(class("c", "No_Name", json!({})), &format!("handler: Invalid value: \"No_Name\": {label}")).await;
    let twice = json!([{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Exists"}]);
    let why = "scheduling.tolerations[1]: Duplicate value: core.Toleration{Key:\"a\", Operator:\"Exists\", Value:\"\", \
               Effect:\"\", TolerationSeconds:(*int64)(nil)}";
    refused(class("c", "runc", json!({"scheduling": {"tolerations": twice}})), why).await;
    face.post(CLASSES, class("c", "runc", json!({}))).await.is(201);
    let why = "RuntimeClass.node.k8s.io \"c\" is invalid: handler: Invalid value: \"other\": field is immutable";
    face.patch(&format!("{CLASSES}/c"), "merge-patch", json!({"handler": "other"})).await.fails(422, "Invalid", why);
}

#[tokio::test]
async fn a_pod_is_what_its_class_makes_of_it() {
    let face = Face::new().await;
    let scheduling = json!({
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}, {"key": "other", "operator": "Equal", "value": "x"}],
    });
    let more = json!({"overhead": {"podFixed": {"cpu": "100m", "memory": "16Mi"}}, "scheduling": scheduling});
    face.post(CLASSES, class("heavy", "runc", more)).await.is(201);
    let own =
        json!({"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "gpu", "operator": "Equal", "value": "a"}]});
    let made = face.post(PODS, pod("p", "heavy", own)).await.is(201);
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "100m", "memory": "16Mi"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"disk": "ssd", "gpu": "yes"}));
    let tolerated: Vec<&str> = made["spec"]["tolerations"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["key"].as_str().filter(|key| !key.starts_with("node.kubernetes.io")))
        .collect();
    assert_eq!(tolerated, ["gpu", "other"], "one that the class's includes is left out");
    let forbidden = async |pod: Value, why: &str| {
        let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
        face.post(PODS, pod).await.fails(403, "Forbidden", &format!("pods \"{name}\" is forbidden: {why}"));
    };
    forbidden(pod("q", "absent", json!({})), "pod rejected: RuntimeClass \"absent\" not found").await;
    let why = "conflict: runtimeClass.scheduling.nodeSelector[gpu] = yes; pod.spec.nodeSelector[gpu] = no";
    forbidden(pod("q", "heavy", json!({"nodeSelector": {"gpu": "no"}})), why).await;
    let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
    forbidden(pod("q", "heavy", json!({"overhead": {"cpu": "1"}})), why).await;
    face.post(CLASSES, class("light", "runc", json!({}))).await.is(201);
    let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
    forbidden(pod("q", "light", json!({"overhead": {"cpu": "1"}})), why).await;
}

#[test]
fn the_handler_is_the_engines_runtime_and_none_is_waited_for() {
    const ONE: &str = "{restartPolicy: Never, runtimeClassName: c, containers: [{name: main, image: a}]}";
    let of = |fact: RuntimeFact| {
        Case::fresh(ONE).with(|facts| {
            facts.node.runtimes = ["runc".to_owned()].into();
            facts.node.runtime = fact;
        })
    };
    let plan = of(RuntimeFact::Handler("runc".to_owned())).plan();
    let Some(Action::Start { create: Some(made), .. }) = plan.actions.first() else { panic!("{plan:?}") };
    assert_eq!(made.runtime.as_deref(), Some("runc"));
    for (fact, words) in [
        (RuntimeFact::Handler("runsc".to_owned()), "no runtime for \"runsc\" is configured"),
        (RuntimeFact::NoClass("c".to_owned()), "runtimeclass.node.k8s.io \"c\" not found"),
    ] {
        let waiting = of(fact.clone());
        let text = format!("Failed to create pod sandbox: {words}");
        let told = format!(
            "Pending - -\nmain #0: waiting ContainerCreating ({text}), last -\nevent FailedCreatePodSandBox {text}\nwake +10"
        );
        assert_eq!(waiting.decide(), told);
        assert!(!waiting.told().decide().contains("event"), "it is told once");
        // Whatever runs already goes on.
        assert!(of(fact).running("main", 0).decide().starts_with("Running"));
    }
}

#[tokio::test]
async fn a_pod_of_a_class_that_the_engine_cannot_run_says_so() {
    let house = House::open(Store::in_memory().expect("a store opens"), Arc::new(Fake::new()));
    for (name, handler) in [("known", "fake"), ("unknown", "gvisor")] {
        let class: RuntimeClass = from_yaml(&format!("{{metadata: {{name: {name}}}, handler: {handler}}}"));
        house.create(class).await;
        let spec = "{restartPolicy: Never, runtimeClassName: $0, containers: [{name: main, image: 'busybox:1'}]}";
        house.pod(&format!("{{metadata: {{name: {name}}}, spec: {}}}", spec.replace("$0", name))).await;
    }
    house.until_phase("known", "Succeeded").await;
    let words = "Failed to create pod sandbox: no runtime for \"gvisor\" is configured";
    let pod = house.until("unknown", "told of it", |pod| tell(Some(pod)).contains(words)).await;
    assert!(tell(Some(&pod)).starts_with("Pending"), "{}", tell(Some(&pod)));
    assert!(house.events("unknown").contains(&format!("Warning FailedCreatePodSandBox {words}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_runs_a_pod_by_the_runtime_of_its_class() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        house.create(from_yaml::<RuntimeClass>("{metadata: {name: plain}, handler: runc}")).await;
        let object = house
            .pod(&format!(
                "{{metadata: {{name: p}}, spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 0, runtimeClassName: \
                 plain, containers: [{{name: main, image: '{}', imagePullPolicy: Never, command: [sleep, '1000']}}]}}}}",
                image::NAME
            ))
            .await;
        house.until_phase("p", "Running").await;
        let docker = Docker::connect_with_defaults().expect("the engine is there");
        let seen = docker.inspect_container(&names::container(object.uid(), "main", 0), None).await.expect("it is there");
        assert_eq!(seen.host_config.and_then(|config| config.runtime).as_deref(), Some("runc"));
    })
    .await;
}
