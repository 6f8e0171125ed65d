//! Names and resolver settings of pods: the texts, and on an engine that is only memory, who gets them and when.

use std::sync::Arc;

use expect_test::expect;
use jobdock::model::object::{Key, Object};
use jobdock::pod::facts::NodeFacts;
use jobdock::pod::hosts::{self, Zone};
use jobdock::pod::{dns, links};
use jobdock::runtime::Runtime;
use jobdock::runtime::fake::Fake;
use jobdock::store::{Expected, Store, Write};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::pod_house::{House, from_yaml, pod};

fn node() -> NodeFacts {
    NodeFacts { ip: "192.0.2.9".to_owned(), gateway: "172.17.0.1".to_owned(), ..NodeFacts::default() }
}

fn with_spec(spec: &str) -> Pod {
    pod(&format!("{{metadata: {{name: p}}, spec: {{containers: [{{name: a}}]{spec}}}}}"))
}

fn spec_of(pod: &Pod) -> &k8s_openapi::api::core::v1::PodSpec {
    pod.spec.as_ref().expect("it has a spec")
}

#[test]
fn the_head_is_the_kubelets() {
    let pod = with_spec(
        ", hostname: h, subdomain: svc, hostAliases: [{ip: 192.0.2.1, hostnames: [one, two]}, {ip: 192.0.2.2, hostnames: [three]}]",
    );
    expect![[r#"
        # Kubernetes-managed hosts file.
        127.0.0.1	localhost
        ::1	localhost ip6-localhost ip6-loopback
        fe00::0	ip6-localnet
        fe00::0	ip6-mcastprefix
        fe00::1	ip6-allnodes
        fe00::2	ip6-allrouters
        10.0.0.1	h.svc.default.svc.cluster.local	h
        172.17.0.1	host.docker.internal

        # Entries added by HostAliases.
        192.0.2.1	one	two
        192.0.2.2	three
    "#]]
    .assert_eq(&hosts::head(&pod, spec_of(&pod), &node(), "10.0.0.1", None));
    let pod = with_spec(", hostNetwork: true");
    expect![[r#"
        # Kubernetes-managed hosts file (host network).
        127.0.0.1 localhost
    "#]]
    .assert_eq(&hosts::head(&pod, spec_of(&pod), &node(), "192.0.2.9", Some("127.0.0.1 localhost\n\n")));
}

#[test]
fn a_full_name_needs_a_subdomain_and_has_to_fit() {
    let long = "h".repeat(40);
    for (spec, name, unusable) in [
        ("", None, false),
        (", subdomain: s", Some("p.s.default.svc.cluster.local"), false),
        (", hostname: h, subdomain: s", Some("h.s.default.svc.cluster.local"), false),
        (", hostname: h, subdomain: s, hostnameOverride: o", None, false),
        (&format!(", hostname: {long}, subdomain: s, setHostnameAsFQDN: true"), Some(""), true),
        (&format!(", hostname: {long}, subdomain: s"), Some(""), false),
        (", subdomain: s, setHostnameAsFQDN: true", Some("p.s.default.svc.cluster.local"), false),
    ] {
        let pod = with_spec(spec);
        let full = hosts::full_name(&pod, spec_of(&pod));
        assert_eq!(full.is_some(), name.is_some(), "{spec}");
        assert!(name.is_none_or(|name| name.is_empty() || full.as_deref() == Some(name)), "{spec}: {full:?}");
        assert_eq!(hosts::unusable_name(&pod, spec_of(&pod)).is_some(), unusable, "{spec}");
    }
}

/// Lines for a namespace, from objects as YAML: `s NAMESPACE/NAME SPEC`, `e NAMESPACE/SERVICE ADDRESS HOST READY`.
fn lines(namespace: &str, objects: &[&str]) -> String {
    let (mut services, mut slices): (Vec<Service>, Vec<EndpointSlice>) = (Vec::new(), Vec::new());
    let mut endpoints: Vec<Endpoints> = Vec::new();
    for object in objects {
        let (what, rest) = object.split_once(' ').expect("a word");
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (of, name) = name.split_once('/').expect("a namespace");
        match what {
            "s" => {
                services.push(from_yaml(&format!("{{metadata: {{name: {name}, namespace: {of}}}, spec: {{{rest}}}}}")))
            }
            "e" => slices.push(from_yaml(&format!(
                "{{metadata: {{name: x, namespace: {of}, labels: {{kubernetes.io/service-name: {name}}}}}, \
                 addressType: IPv4, endpoints: [{{{rest}}}]}}"
            ))),
            _ => endpoints.push(from_yaml(&format!(
                "{{metadata: {{name: {name}, namespace: {of}}}, subsets: [{{addresses: [{{ip: {rest}}}]}}]}}"
            ))),
        }
    }
    Zone::of(&services, &slices, &endpoints, "172.17.0.1").lines(namespace)
}

#[test]
fn names_stand_in_every_form_that_they_can_be_asked_in() {
    let ready = "e default/ring addresses: [10.0.0.1], hostname: ring-0";
    let unready = "e default/ring addresses: [10.0.0.2], hostname: ring-1, conditions: {ready: false}";
    let objects = ["s default/ring clusterIP: None", ready, unready, "e default/gone addresses: [10.0.0.9]"];
    expect![[r#"

        # Entries added by Services.
        10.0.0.1	ring-0.ring.default.svc.cluster.local	ring-0.ring.default.svc	ring-0.ring.default	ring-0.ring
        10.0.0.1	ring.default.svc.cluster.local	ring.default.svc	ring.default	ring
    "#]]
    .assert_eq(&lines("default", &objects));
    expect![[r#"

        # Entries added by Services.
        10.0.0.1	ring-0.ring.default.svc.cluster.local	ring-0.ring.default.svc	ring-0.ring.default
        10.0.0.1	ring.default.svc.cluster.local	ring.default.svc	ring.default
    "#]]
    .assert_eq(&lines("other", &objects));
    assert_eq!(lines("default", &[]), "");
}

#[test]
fn aliases_are_followed_as_far_as_a_hosts_file_can() {
    let real = ["s a/db clusterIP: None", "e a/db addresses: [10.0.0.1], hostname: one"];
    for (target, address) in [
        ("db.a.svc.cluster.local", Some("10.0.0.1")),
        ("db.a.svc.cluster.local.", Some("10.0.0.1")),
        ("one.db.a.svc.cluster.local", Some("10.0.0.1")),
        ("host.docker.internal", Some("172.17.0.1")),
        ("192.0.2.7", Some("192.0.2.7")),
        ("x.b.svc.cluster.local", None),
        ("example.com", None),
    ] {
        let alias = format!("s b/x type: ExternalName, externalName: '{target}'");
        let lines = lines("c", &[real[0], real[1], &alias]);
        let found = lines.lines().find_map(|line| line.split_once("\tx.b.svc.cluster.local\t"));
        assert_eq!(found.map(|(address, _)| address), address, "{target}:\n{lines}");
    }
}

#[test]
fn endpoints_written_by_hand_have_names_too() {
    let text = lines("a", &["s a/out ports: [{port: 80}]", "h a/out 192.0.2.1"]);
    assert!(text.contains("192.0.2.1\tout.a.svc.cluster.local\tout.a.svc\tout.a\tout\n"), "{text}");
}

#[test]
fn resolver_settings_are_added_to_the_machines_or_replace_them() {
    let machine = "# a comment\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch home lan\noptions edns0 ndots:1\n";
    for (spec, servers, searches, options) in [
        ("", "", "", ""),
        (", dnsPolicy: Default", "", "", ""),
        (", dnsConfig: {searches: [a.b]}", "192.0.2.53", "home lan a.b", "edns0 ndots:1"),
        (", dnsConfig: {nameservers: [192.0.2.1, 192.0.2.53]}", "192.0.2.53 192.0.2.1", "home lan", "edns0 ndots:1"),
        (
            ", dnsConfig: {options: [{name: ndots, value: '3'}, {name: rotate}]}",
            "192.0.2.53",
            "home lan",
            "edns0 ndots:3 rotate",
        ),
        (", dnsPolicy: None, dnsConfig: {nameservers: [192.0.2.1]}", "192.0.2.1", ".", ""),
        (", dnsPolicy: None, dnsConfig: {nameservers: [192.0.2.1], searches: [x]}", "192.0.2.1", "x", ""),
    ] {
        let pod = with_spec(spec);
        let node = NodeFacts { resolv_conf: machine.to_owned(), ..node() };
        let settings = dns::settings(spec_of(&pod), &node);
        let told = [settings.servers, settings.searches, settings.options].map(|list| list.join(" "));
        assert_eq!(told, [servers, searches, options], "{spec}");
    }
}

#[test]
fn variables_tell_of_services_that_would_have_an_address() {
    let service = |text: &str| -> Service { from_yaml(text) };
    let services = [
        service(
            "{metadata: {name: my-db, namespace: default}, spec: {ports: [{name: sql, port: 80, targetPort: 5432}]}}",
        ),
        service("{metadata: {name: headless, namespace: default}, spec: {clusterIP: None, ports: [{port: 1}]}}"),
        service("{metadata: {name: alias, namespace: default}, spec: {type: ExternalName, externalName: a}}"),
    ];
    let told: Vec<String> =
        links::variables(&services).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    expect![[r#"
        MY_DB_SERVICE_HOST=my-db.default.svc.cluster.local
        MY_DB_SERVICE_PORT=5432
        MY_DB_SERVICE_PORT_SQL=5432
        MY_DB_PORT=tcp://my-db.default.svc.cluster.local:5432
        MY_DB_PORT_80_TCP=tcp://my-db.default.svc.cluster.local:5432
        MY_DB_PORT_80_TCP_PROTO=tcp
        MY_DB_PORT_80_TCP_PORT=5432
        MY_DB_PORT_80_TCP_ADDR=my-db.default.svc.cluster.local"#]]
    .assert_eq(&told.join("\n"));
}

fn house() -> House {
    House::open(Store::in_memory().expect("a store opens"), Arc::new(Fake::new()) as Arc<dyn Runtime>)
}

fn text(name: &str, more: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never{more}, containers: [{{name: main, image: 'busybox:1', \
         env: [{{name: FAKE_RUN_MS, value: '600000'}}]}}]}}}}"
    )
}

/// The pod's hosts file; none where the engine makes it.
fn file(house: &House, pod: &Object) -> Option<String> {
    std::fs::read_to_string(house.dir().join("mounts").join(pod.uid()).join("etc-hosts")).ok()
}

#[tokio::test]
async fn pods_have_a_hosts_file_of_ours_only_where_there_are_names() {
    let house = house();
    let plain = house.pod(&text("plain", "")).await;
    let named = house.pod(&text("named", ", subdomain: s")).await;
    for name in ["plain", "named"] {
        house.until_phase(name, "Running").await;
    }
    assert_eq!(file(&house, &plain), None);
    assert!(file(&house, &named).is_some_and(|text| text.contains("\tnamed.s.default.svc.cluster.local\tnamed\n")));
    // The Service of the API itself changes nothing.
    house.create::<Service>(from_yaml("{metadata: {name: kubernetes, namespace: default}, spec: {}}")).await;
    let lonely = house.pod(&text("lonely", "")).await;
    house.until_phase("lonely", "Running").await;
    assert_eq!(file(&house, &lonely), None);
    house.create::<Service>(from_yaml("{metadata: {name: db, namespace: default}, spec: {clusterIP: None}}")).await;
    let guest = house.pod(&text("guest", "")).await;
    house.until_phase("guest", "Running").await;
    assert!(file(&house, &guest).is_some());
}

#[tokio::test]
async fn names_come_and_go_in_running_pods_across_a_restart() {
    let mut house = house();
    house.create::<Service>(from_yaml("{metadata: {name: db, namespace: default}, spec: {clusterIP: None}}")).await;
    let reader = house.pod(&text("reader", "")).await;
    house.until_phase("reader", "Running").await;
    let slice: EndpointSlice = from_yaml(
        "{metadata: {name: db-x, namespace: default, labels: {kubernetes.io/service-name: db}}, addressType: IPv4, \
         endpoints: [{addresses: [10.9.8.7]}]}",
    );
    let line = "10.9.8.7\tdb.default.svc.cluster.local\tdb.default.svc\tdb.default\tdb\n";
    let has = |house: &House, wanted: bool| file(house, &reader).is_some_and(|text| text.contains(line) == wanted);
    house.create(slice).await;
    house.eventually("the name is there", || async { has(&house, true) }).await;
    house.end().await;
    let key = Key::of::<EndpointSlice>("default", "db-x");
    let gone = vec![Write::Delete { key, expected: Expected::Exists }];
    house.store.commit(gone).await.expect("it can be removed");
    house.begin();
    house.eventually("the name is gone", || async { has(&house, false) }).await;
    house.delete("reader", Some(0)).await;
    house.until_gone("reader").await;
    house.eventually("the file is gone", || async { file(&house, &reader).is_none() }).await;
}

#[tokio::test]
async fn a_name_that_is_too_long_is_told_and_nothing_is_started() {
    let house = house();
    let long = "h".repeat(40);
    house.pod(&text("long", &format!(", hostname: {long}, subdomain: s, setHostnameAsFQDN: true"))).await;
    let said = || {
        house.events("long").iter().any(|line| {
            line.starts_with("Warning FailedCreatePodSandBox Failed to create pod sandbox: failed to construct FQDN")
        })
    };
    house.eventually("it is told", || async { said() }).await;
    assert!(house.get("long").is_some_and(|pod| pod.status.is_some_and(|status| status.pod_ip.is_none())));
}
