//! What an engine does not enforce: read from its own words, told of each pod that asks for it, and left out of what is
//! asked of the engine.

use std::sync::Arc;

use jobdock::pod::bounds::limits;
use jobdock::pod::facts::NodeFacts;
use jobdock::pod::node;
use jobdock::pod::unenforced::unenforced;
use jobdock::pod::unsupported;
use jobdock::runtime::fake::Fake;
use jobdock::runtime::reply::{self, VersionReply};
use jobdock::runtime::{EngineSeen, Limits};
use jobdock::store::Store;
use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Value, json};

use super::pod_house::{House, pod};

/// What an engine answers to `GET /info`, with `changes` in it.
fn engine(changes: Value) -> EngineSeen {
    let mut info = json!({
        "OSType": "linux", "OperatingSystem": "Debian", "CgroupDriver": "systemd", "CgroupVersion": "2",
        "MemoryLimit": true, "SwapLimit": true, "CpuCfsQuota": true, "CPUShares": true, "PidsLimit": true,
        "SecurityOptions": ["name=seccomp,profile=default"], "Warnings": null,
    });
    for (key, value) in changes.as_object().expect("an object") {
        info[key] = value.clone();
    }
    reply::engine_seen(serde_json::from_value(info).expect("read leniently"), &VersionReply::default())
}

fn on(engine: &EngineSeen) -> NodeFacts {
    let mut facts = node::facts("node", engine, std::path::Path::new("/pods"));
    // The machine of the test may have no swap, which would hide what the engine says.
    facts.enforcement = engine.enforcement.clone();
    facts
}

fn spec(yaml: &str) -> PodSpec {
    pod(&format!("{{metadata: {{name: p}}, spec: {yaml}}}")).spec.expect("it has a spec")
}

const GREEDY: &str = "{hostNetwork: true, containers: [{name: a, image: i, resources: {limits: {cpu: 1, memory: 64Mi}, \
                      requests: {cpu: 500m, memory: 64Mi}}}]}";

#[test]
fn each_kind_of_engine_says_what_it_cannot_enforce() {
    let rootless = ["name=seccomp,profile=default", "name=rootless"];
    for (name, changes, expected) in [
        ("cgroup v2", json!({}), vec![]),
        ("cgroup v1", json!({"CgroupVersion": "1", "CgroupDriver": "cgroupfs"}), vec![]),
        (
            "cgroup v1 without swap accounting",
            json!({"CgroupVersion": "1", "SwapLimit": false, "Warnings": ["WARNING: No swap limit support"]}),
            vec![
                "limits[memory]: swap beyond it is not bounded, for the engine's kernel does not offer it (cgroup v1)",
            ],
        ),
        (
            "an engine that only warns",
            json!({"CpuCfsQuota": null, "Warnings": ["WARNING: No cpu cfs quota support", "WARNING: bridge-nf"]}),
            vec!["limits[cpu]: processor time is not bounded, for the engine's kernel does not offer it (cgroup v2)"],
        ),
        (
            "rootless with memory and pids delegated",
            json!({"SecurityOptions": rootless, "CpuCfsQuota": false, "CPUShares": false}),
            vec![
                "spec.hostNetwork: the network is that of the rootless engine, not the machine's",
                "limits[cpu]: processor time is not bounded, for the rootless engine was not given that controller \
                 (cgroup v2 delegation)",
                "requests[cpu]: it is scheduled by it and has no share of a busy processor, for the rootless engine was \
                 not given that controller (cgroup v2 delegation)",
            ],
        ),
        (
            "rootless without delegation",
            json!({"SecurityOptions": rootless, "CgroupVersion": "1", "CgroupDriver": "none"}),
            vec![
                "spec.hostNetwork: the network is that of the rootless engine, not the machine's",
                "limits[cpu]: processor time is not bounded, for the rootless engine has no cgroups (it needs cgroup v2 \
                 and systemd)",
                "limits[memory]: memory is not bounded, for the rootless engine has no cgroups (it needs cgroup v2 and \
                 systemd)",
                "requests[cpu]: it is scheduled by it and has no share of a busy processor, for the rootless engine has \
                 no cgroups (it needs cgroup v2 and systemd)",
            ],
        ),
        (
            "Docker Desktop",
            json!({"OperatingSystem": "Docker Desktop", "CgroupDriver": "cgroupfs"}),
            vec!["spec.hostNetwork: the network is that of the engine's virtual machine, not this machine's"],
        ),
    ] {
        let told = unenforced(&spec(GREEDY), &on(&engine(changes)));
        let told: Vec<String> = told.iter().map(|one| format!("{}: {}", one.field, one.why)).collect();
        let short: Vec<&str> =
            told.iter().map(|line| line.strip_prefix("spec.containers[0].resources.").unwrap_or(line)).collect();
        assert_eq!(short, expected, "{name}");
        let plain = spec("{containers: [{name: a, image: i}]}");
        assert_eq!(unenforced(&plain, &on(&engine(json!({"CgroupDriver": "none"})))), [], "{name}");
    }
}

#[test]
fn isolation_that_the_engine_was_not_set_up_for_is_named() {
    let spec = spec(
        "{hostUsers: false, securityContext: {fsGroup: 1, fsGroupChangePolicy: Always, seLinuxOptions: {level: s0}}, \
         volumes: [{name: c, persistentVolumeClaim: {claimName: c}}], containers: [{name: a, image: i}, {name: b, image: i, \
         securityContext: {seLinuxOptions: {type: t}}}]}",
    );
    let all = "spec.hostUsers spec.securityContext.seLinuxOptions spec.securityContext.fsGroupChangePolicy \
               spec.containers[1].securityContext.seLinuxOptions";
    for (options, expected) in [
        (json!(["name=seccomp,profile=default"]), all),
        (json!(["name=selinux", "name=userns"]), "spec.securityContext.fsGroupChangePolicy"),
        (json!(["name=selinux", "name=rootless"]), "spec.securityContext.fsGroupChangePolicy"),
    ] {
        let told = unenforced(&spec, &on(&engine(json!({"SecurityOptions": options}))));
        let fields: Vec<&str> = told.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields.join(" "), expected, "{options}");
    }
}

#[test]
fn an_engine_says_whether_it_has_app_armor() {
    assert!(!engine(json!({})).app_armor);
    assert!(engine(json!({"SecurityOptions": ["name=apparmor", "name=seccomp,profile=default"]})).app_armor);
}

#[test]
fn the_engine_is_not_asked_for_what_it_lacks() {
    let spec = spec(GREEDY);
    let on = |changes: Value| NodeFacts { pids_limit: Some(100), ..on(&engine(changes)) };
    let all = Limits { cpu_nanos: 1_000_000_000, cpu_shares: 512, memory_bytes: 64 << 20, pids: 100 };
    for (changes, expected) in [
        (json!({}), all),
        (json!({"CpuCfsQuota": false}), Limits { cpu_nanos: 0, ..all }),
        (json!({"CPUShares": false, "PidsLimit": false}), Limits { cpu_shares: 0, pids: 0, ..all }),
        (json!({"CgroupDriver": "none"}), Limits::default()),
    ] {
        assert_eq!(limits(&spec, &spec.containers[0], &on(changes.clone())), expected, "{changes}");
    }
}

#[test]
fn a_container_without_limits_of_its_own_has_its_pods() {
    let node = on(&engine(json!({})));
    for (pod, container, expected) in [
        ("{cpu: 2, memory: 1Gi}", "{}", "2000000000 2048 1073741824"),
        ("{cpu: 2, memory: 1Gi}", "{limits: {cpu: 1}, requests: {cpu: 1}}", "1000000000 1024 1073741824"),
        ("{memory: 1Gi}", "{requests: {cpu: 250m}}", "0 256 1073741824"),
    ] {
        let spec = spec(&format!(
            "{{resources: {{limits: {pod}}}, containers: [{{name: a, image: i, resources: {container}}}]}}"
        ));
        let found = limits(&spec, &spec.containers[0], &node);
        let shown = format!("{} {} {}", found.cpu_nanos, found.cpu_shares, found.memory_bytes);
        assert_eq!(shown, expected, "{pod} {container}");
    }
}

#[test]
fn a_pods_limit_is_told_to_be_each_containers_where_their_sum_could_exceed_it() {
    let node = on(&engine(json!({})));
    let told =
        |yaml: &str| -> Vec<String> { unenforced(&spec(yaml), &node).into_iter().map(|one| one.field).collect() };
    let two = |first: &str, second: &str| {
        format!(
            "{{resources: {{limits: {{memory: 1Gi}}}}, containers: [{{name: a, image: i, resources: {first}}}, \
             {{name: b, image: i, resources: {second}}}]}}"
        )
    };
    assert_eq!(told(&two("{}", "{}")), ["spec.resources.limits[memory]"]);
    assert_eq!(told(&two("{limits: {memory: 512Mi}}", "{limits: {memory: 512Mi}}")), [""; 0]);
    assert_eq!(told("{resources: {limits: {memory: 1Gi}}, containers: [{name: a, image: i}]}"), [""; 0]);
    let init = "{resources: {limits: {cpu: 1}}, initContainers: [{name: s, image: i, restartPolicy: Always}], \
                containers: [{name: a, image: i}]}";
    assert_eq!(told(init), ["spec.resources.limits[cpu]"]);
}

#[test]
fn huge_pages_are_counted_and_not_bounded() {
    let spec = spec(
        "{containers: [{name: a, image: i, resources: {limits: {hugepages-2Mi: 4Mi, memory: 1Mi}, requests: \
         {hugepages-2Mi: 4Mi}}}]}",
    );
    let told = unenforced(&spec, &on(&engine(json!({}))));
    let told: Vec<String> = told.iter().map(|one| format!("{}: {}", one.field, one.why)).collect();
    assert_eq!(told, ["spec.containers[0].resources.limits[hugepages-2Mi]: the engine cannot bound huge pages"]);
    assert!(unsupported::ignored(&spec, &NodeFacts::default()).is_empty(), "told once");
}

#[tokio::test]
async fn what_is_not_enforced_is_an_event_of_the_pod() {
    let house = House::open(Store::in_memory().unwrap(), Arc::new(Fake::new()));
    let two = "{metadata: {name: two}, spec: {restartPolicy: Never, resources: {limits: {memory: 1Gi}}, containers: \
               [{name: a, image: 'busybox:1'}, {name: b, image: 'busybox:1'}]}}";
    house.pod(two).await;
    house.until_phase("two", "Succeeded").await;
    let told = house.events("two");
    let words = "Warning FieldNotHonoured spec.resources.limits[memory] is not fully honoured: each container is held";
    assert_eq!(told.iter().filter(|event| event.starts_with(words)).count(), 1, "{told:?}");
}
