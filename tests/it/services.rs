//! Which addresses stand behind a Service, as facts in and objects out, and the controller that keeps them.

use std::time::Duration;

use expect_test::{Expect, expect};
use jobdock::model::kind::Kind;
use jobdock::model::object::{Key, Object};
use jobdock::model::service::warning;
use jobdock::service::plan::{PodSeen, ServiceFacts, plan};
use jobdock::store::{Expected, Query, Store, Write};
use k8s_openapi::api::core::v1::{Endpoints, Event, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::pod_house::from_yaml;

fn service(spec: &str) -> Service {
    from_yaml(&format!("{{metadata: {{name: db, namespace: default, uid: u}}, spec: {{{spec}}}}}"))
}

/// A running pod with this number, and more of its spec and status.
fn pod(number: u32, spec: &str, ready: bool) -> Pod {
    from_yaml(&format!(
        "{{metadata: {{name: p-{number}, namespace: default, uid: u{number}, labels: {{app: db}}}}, \
         spec: {{nodeName: n, containers: [{{name: a, ports: [{{name: web, containerPort: 8{number}}}]}}]{spec}}}, \
         status: {{phase: Running, podIP: 10.0.0.{number}, conditions: [{{type: Ready, status: '{}'}}]}}}}",
        if ready { "True" } else { "False" }
    ))
}

/// What is written for a Service and pods, where nothing is there yet.
fn written(service: &Service, pods: &[Pod]) -> Vec<Value> {
    let seen: Vec<PodSeen> = pods.iter().filter_map(PodSeen::of).collect();
    let facts = ServiceFacts { service, pods: seen.iter().collect(), endpoints: None, slices: Vec::new() };
    let objects = plan(&facts).into_iter().map(|write| match write {
        Write::Create(object) => object.to_value(),
        other => panic!("not a create: {other:?}"),
    });
    objects.collect()
}

/// Slices in short: ports, then each endpoint with its conditions and its host name.
fn slices(spec: &str, pods: &[Pod]) -> String {
    let mut out = Vec::new();
    for slice in &written(&service(spec), pods)[1..] {
        let ports = slice["ports"].as_array().into_iter().flatten();
        let ports: Vec<String> =
            ports.map(|port| format!("{}={}/{}", port["name"], port["port"], port["protocol"])).collect();
        out.push(format!("ports [{}]", ports.join(" ").replace('"', "")));
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let is = |name: &str| if endpoint["conditions"][name] == true { format!(" {name}") } else { String::new() };
            let host = endpoint["hostname"].as_str().map(|host| format!(" {host}")).unwrap_or_default();
            let address = endpoint["addresses"][0].as_str().unwrap_or_default();
            out.push(format!("{address}{}{}{}{host}", is("ready"), is("serving"), is("terminating")));
        }
    }
    out.join("; ")
}

#[test]
fn slices_tell_who_is_there_and_how() {
    let named = ", hostname: h, subdomain: db";
    let going = |mut pod: Pod| {
        pod.metadata.deletion_timestamp = from_yaml("'2026-01-01T00:00:00Z'");
        pod
    };
    let over = |mut pod: Pod| {
        pod.status.as_mut().expect("it has a status").phase = Some("Succeeded".to_owned());
        pod
    };
    let unplaced = |mut pod: Pod| {
        pod.status.as_mut().expect("it has a status").pod_ip = None;
        pod
    };
    for (spec, pods, told) in [
        ("clusterIP: None", vec![], "ports []"),
        ("clusterIP: None", vec![pod(1, "", true)], "ports []; 10.0.0.1 ready serving"),
        ("clusterIP: None", vec![pod(1, "", false)], "ports []; 10.0.0.1"),
        ("clusterIP: None, publishNotReadyAddresses: true", vec![pod(1, "", false)], "ports []; 10.0.0.1 ready"),
        ("clusterIP: None", vec![going(pod(1, "", true))], "ports []; 10.0.0.1 serving terminating"),
        ("clusterIP: None", vec![over(pod(1, "", true)), unplaced(pod(2, "", true))], "ports []"),
        ("clusterIP: None", vec![pod(1, named, true)], "ports []; 10.0.0.1 ready serving h"),
        ("clusterIP: None", vec![pod(1, ", hostname: h, subdomain: other", true)], "ports []; 10.0.0.1 ready serving"),
        ("ports: [{port: 80}]", vec![pod(1, "", true)], "ports [=80/TCP]; 10.0.0.1 ready serving"),
        (
            "ports: [{name: a, port: 80, targetPort: 90}]",
            vec![pod(1, "", true)],
            "ports [a=90/TCP]; 10.0.0.1 ready serving",
        ),
        (
            "ports: [{name: a, port: 80, targetPort: web}]",
            vec![pod(1, "", true), pod(2, "", true)],
            "ports [a=81/TCP]; 10.0.0.1 ready serving; ports [a=82/TCP]; 10.0.0.2 ready serving",
        ),
        ("ports: [{name: a, port: 80, targetPort: none}]", vec![pod(1, "", true)], "ports []; 10.0.0.1 ready serving"),
    ] {
        assert_eq!(slices(spec, &pods), told, "{spec}");
    }
}

#[test]
fn a_slice_holds_a_hundred_endpoints() {
    let pods: Vec<Pod> = (1..=201).map(|number| pod(number, "", true)).collect();
    let sizes = written(&service("clusterIP: None"), &pods)[1..]
        .iter()
        .map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len))
        .collect::<Vec<_>>();
    assert_eq!(sizes, [100, 100, 1]);
}

fn check(actual: &Value, expected: Expect) {
    expected.assert_eq(&serde_json::to_string_pretty(actual).expect("JSON"));
}

#[test]
fn endpoints_and_slices_are_labelled_as_upstream_labels_them() {
    let written = written(&service("ports: [{name: a, port: 80}]"), &[pod(1, "", true), pod(2, "", false)]);
    let mut short = json!({ "endpoints": written[0], "slice": written[1]["metadata"] });
    short["endpoints"]["metadata"].as_object_mut().expect("a map").remove("namespace");
    check(
        &short,
        expect![[r#"
            {
              "endpoints": {
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": {
                  "labels": {
                    "endpoints.kubernetes.io/managed-by": "endpoint-controller",
                    "service.kubernetes.io/headless": ""
                  },
                  "name": "db"
                },
                "subsets": [
                  {
                    "addresses": [
                      {
                        "ip": "10.0.0.1",
                        "nodeName": "n",
                        "targetRef": {
                          "kind": "Pod",
                          "name": "p-1",
                          "namespace": "default",
                          "uid": "u1"
                        }
                      }
                    ],
                    "notReadyAddresses": [
                      {
                        "ip": "10.0.0.2",
                        "nodeName": "n",
                        "targetRef": {
                          "kind": "Pod",
                          "name": "p-2",
                          "namespace": "default",
                          "uid": "u2"
                        }
                      }
                    ],
                    "ports": [
                      {
                        "name": "a",
                        "port": 80,
                        "protocol": "TCP"
                      }
                    ]
                  }
                ]
              },
              "slice": {
                "generateName": "db-",
                "labels": {
                  "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                  "kubernetes.io/service-name": "db",
                  "service.kubernetes.io/headless": ""
                },
                "namespace": "default",
                "ownerReferences": [
                  {
                    "apiVersion": "v1",
                    "blockOwnerDeletion": true,
                    "controller": true,
                    "kind": "Service",
                    "name": "db",
                    "uid": "u"
                  }
                ]
              }
            }"#]],
    );
}

#[test]
fn who_expects_a_balancer_is_told_what_there_is_instead() {
    for (spec, told) in [
        ("clusterIP: None, ports: [{port: 80, targetPort: 90}]", None),
        ("type: ExternalName, externalName: a.b.svc.cluster.local", None),
        ("type: ExternalName, externalName: example.com", Some("another name for example.com: use example.com itself")),
        ("ports: [{port: 80}]", Some("gives the addresses of the ready pods")),
        ("ports: [{port: 80, targetPort: 8080}]", Some("ready pods; connect to 8080 rather than 80")),
        ("ports: [{port: 80, targetPort: web}]", Some("ready pods; connect to the pod's port web rather than 80")),
        ("type: NodePort, ports: [{port: 80}]", Some("opens no port of the machine: use hostPort in the pod")),
    ] {
        let text = warning(&service(spec));
        match told {
            Some(end) => assert!(text.as_deref().is_some_and(|text| text.ends_with(end)), "{spec}: {text:?}"),
            None => assert_eq!(text, None, "{spec}"),
        }
    }
}

#[test]
fn a_service_keeps_the_address_that_an_update_does_not_name() {
    let update = |new: &str, old: &str| {
        let [new, old] = [new, old].map(|spec| Object::new(service(spec)));
        let spec = (new.kind().ops.prepare_update)(&new, &old).to_value()["spec"].clone();
        format!("{} {}", spec["clusterIP"], spec["clusterIPs"])
    };
    let headless = "clusterIP: None, clusterIPs: [None]";
    for (new, old, told) in [
        ("type: ClusterIP", headless, r#""None" ["None"]"#),
        ("clusterIPs: [None]", headless, r#""None" ["None"]"#),
        (headless, headless, r#""None" ["None"]"#),
        ("clusterIP: 10.0.0.1, clusterIPs: [None]", headless, r#""10.0.0.1" ["10.0.0.1"]"#),
        ("clusterIP: 10.0.0.1", "type: ClusterIP", r#""10.0.0.1" ["10.0.0.1"]"#),
        ("type: ExternalName", headless, "null null"),
        ("type: ClusterIP", "type: ExternalName", "null null"),
    ] {
        assert_eq!(update(new, old), told, "{new} after {old}");
    }
}

/// A store with the controller at work in it.
struct Works {
    store: Store,
    stop: CancellationToken,
}

impl Works {
    fn open() -> Self {
        let (store, stop) = (Store::in_memory().expect("a store opens"), CancellationToken::new());
        tokio::spawn(jobdock::service::run(store.clone(), stop.clone()));
        Self { store, stop }
    }

    async fn create(&self, object: Object) {
        self.store.commit(vec![Write::Create(object)]).await.expect("it can be stored");
    }

    async fn delete(&self, key: Key) {
        self.store.commit(vec![Write::Delete { key, expected: Expected::Exists }]).await.expect("it can be removed");
    }

    /// Addresses in the Endpoints and in the slices of `db`; none where there are no Endpoints.
    fn addresses(&self) -> Option<(Vec<String>, Vec<String>)> {
        let object = self.store.get(&Key::of::<Endpoints>("default", "db")).expect("the store reads")?;
        let endpoints = object.typed::<Endpoints>().expect("they are Endpoints").clone();
        let all = endpoints.subsets.into_iter().flatten().flat_map(|subset| subset.addresses.into_iter().flatten());
        let page = self.store.list(&Query::all(Kind::of::<EndpointSlice>())).expect("the store reads");
        let slices = page.objects.iter().filter_map(|object| object.typed::<EndpointSlice>());
        let endpoints = slices.flat_map(|slice| slice.endpoints.iter().flatten());
        let addresses = endpoints.flat_map(|endpoint| endpoint.addresses.clone());
        Some((all.map(|address| address.ip).collect(), addresses.collect()))
    }

    async fn until(&self, wanted: Option<&[&str]>) {
        let wanted = wanted.map(|list| {
            let list: Vec<String> = list.iter().map(|address| (*address).to_owned()).collect();
            (list.clone(), list)
        });
        for _ in 0..2000 {
            if self.addresses() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never {wanted:?}, but {:?}", self.addresses());
    }
}

impl Drop for Works {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn endpoints_follow_pods_and_services() {
    let works = Works::open();
    works.create(Object::new(pod(1, "", true))).await;
    works.create(Object::new(service("selector: {app: db}, ports: [{port: 80}]"))).await;
    works.until(Some(&["10.0.0.1"])).await;
    works.create(Object::new(pod(2, "", true))).await;
    works.until(Some(&["10.0.0.1", "10.0.0.2"])).await;
    works.delete(Key::of::<Pod>("default", "p-1")).await;
    works.until(Some(&["10.0.0.2"])).await;
    let page = works.store.list(&Query::all(Kind::of::<Event>())).expect("the store reads");
    let events = page.objects.iter().filter_map(|object| object.typed::<Event>());
    assert_eq!(events.filter(|event| event.reason.as_deref() == Some("NotBalanced")).count(), 1);
    works.delete(Key::of::<Service>("default", "db")).await;
    works.until(None).await;
}

#[tokio::test]
async fn what_somebody_else_keeps_is_left_alone() {
    let works = Works::open();
    let by_hand = "{metadata: {name: db, namespace: default}, subsets: [{addresses: [{ip: 192.0.2.1}]}]}";
    works.create(Object::new(from_yaml::<Endpoints>(by_hand))).await;
    works.create(Object::new(service("ports: [{port: 80}]"))).await;
    // A Service that is kept comes after, so when it is done the other has been looked at.
    let mut other = service("selector: {app: db}, ports: [{port: 80}]");
    other.metadata.name = Some("zz".to_owned());
    other.metadata.uid = None;
    works.create(Object::new(other)).await;
    for _ in 0..2000 {
        if works.store.get(&Key::of::<Endpoints>("default", "zz")).expect("the store reads").is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(works.addresses(), Some((vec!["192.0.2.1".to_owned()], Vec::new())));
}
