//! Quality of service as the kernel knows it: who gets the processor first, who is killed first when memory runs out.

use std::time::Duration;

use jobdock::pod::facts::NodeFacts;
use jobdock::pod::{names, oom};
use jobdock::runtime::Runtime as _;
use jobdock::runtime::session::run;

use super::pod_docker::with_house;
use super::pod_house::pod;
use super::support::image;

fn node() -> NodeFacts {
    NodeFacts { memory_capacity: 4 << 30, least_oom_score: -1000, ..NodeFacts::default() }
}

/// The adjustment of each container of a pod, on a machine of 4 GiB.
fn scores(spec: &str, node: &NodeFacts) -> String {
    let spec = pod(&format!("{{metadata: {{name: p}}, spec: {spec}}}")).spec.expect("it has a spec");
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let told = containers.map(|one| oom::score(&spec, one, node).map_or("-".to_owned(), |score| score.to_string()));
    told.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_kernel_kills_first_what_has_asked_for_least() {
    for (spec, expected) in [
        ("{containers: [{name: a}]}", "1000"),
        ("{containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]}", "-997"),
        ("{priorityClassName: system-node-critical, containers: [{name: a}]}", "-997"),
        ("{priorityClassName: system-cluster-critical, containers: [{name: a}]}", "1000"),
        ("{containers: [{name: a, resources: {requests: {memory: 1Gi}}}, {name: b}]}", "750 999"),
        ("{containers: [{name: a, resources: {requests: {memory: 4Gi}}}]}", "3"),
        ("{containers: [{name: a, resources: {requests: {memory: 1Ki}}}]}", "999"),
        // A sidecar goes no sooner than the least of those that it serves.
        (
            "{initContainers: [{name: s, restartPolicy: Always}, {name: i}], containers: \
             [{name: a, resources: {requests: {memory: 1Gi}}}, {name: b, resources: {requests: {memory: 2Gi}}}]}",
            "750 999 750 500",
        ),
        // What the pod has asked for and no container has is shared out.
        (
            "{resources: {requests: {memory: 3Gi}}, containers: [{name: a, resources: {requests: {memory: 1Gi}}}, \
             {name: b}]}",
            "500 750",
        ),
    ] {
        assert_eq!(scores(spec, &node()), expected, "{spec}");
    }
}

#[test]
fn an_engine_is_not_asked_to_spare_whom_it_cannot() {
    let guaranteed = "{containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]}";
    let unprivileged = NodeFacts { least_oom_score: 0, ..node() };
    assert_eq!(scores(guaranteed, &unprivileged), "-");
    assert_eq!(scores("{containers: [{name: a}]}", &unprivileged), "1000");
    assert_eq!((oom::sandbox_score(&unprivileged), oom::sandbox_score(&node())), (None, Some(-998)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_tells_the_kernel_what_a_pod_has_asked_for() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        // An engine inside a container may not spare anybody.
        let least = engine.engine().await.expect("the engine answers").least_oom_score;
        for (name, resources, shares, score) in [
            ("best-effort", "{}", "2", 1000),
            ("guaranteed", "{limits: {cpu: 250m, memory: 32Mi}}", "256", (-997).max(least)),
            ("burstable", "{requests: {cpu: 100m, memory: 1Ki}}", "102", 999),
        ] {
            let yaml = format!(
                "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 0, \
                 containers: [{{name: main, image: '{}', imagePullPolicy: Never, command: [sleep, '1000'], resources: \
                 {resources}}}]}}}}",
                image::NAME
            );
            let object = house.pod(&yaml).await;
            house.until_phase(name, "Running").await;
            // Version 2 of cgroups has weights in the place of shares, by a formula of the engine's own.
            let script = "cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || echo weight $(cat /sys/fs/cgroup/cpu.weight); \
                          cat /proc/1/oom_score_adj";
            let command = ["sh", "-c", script].map(str::to_owned).to_vec();
            let container = names::container(object.uid(), "main", 0);
            let outcome = run(engine.as_ref(), &container, &command, Duration::from_secs(60), 1 << 10).await;
            let told = format!("{outcome:?}");
            assert!(told.contains(&format!("\\n{score}\\n")), "{name}: {told}");
            assert!(told.contains("weight") || told.contains(&format!("\"{shares}\\n")), "{name}: {told}");
        }
    })
    .await;
}
