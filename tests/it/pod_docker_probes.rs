//! Probes and hooks on the real engine: addresses that must be reached, commands that really run, signals in order.

use std::time::Duration;

use jobdock::runtime::session::{self, Ran};
use k8s_openapi::api::core::v1::Pod;

use super::pod_docker::{engine_name, first, with_house};
use super::pod_house::{phase_of, tell};
use super::support::image;

/// Time for a short command in a container.
const LIMIT: Duration = Duration::from_secs(30);

fn ready(pod: &Pod) -> bool {
    tell(Some(pod)).contains("\nReady=True")
}

/// A web server on a port, which ends well at SIGTERM.
fn server(port: u16) -> String {
    let script = format!(
        "trap 'exit 0' TERM; touch /tmp/fine; mkdir /tmp/www; echo hi > /tmp/www/index.html; httpd -f -p {port} -h /tmp/www & \
         wait"
    );
    format!(
        "image: {}, imagePullPolicy: Never, command: [sh, -c, {}]",
        image::NAME,
        serde_json::to_string(&script).expect("a text is JSON")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_reach_a_container_and_one_that_is_sick_is_started_anew() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        let object = house
            .pod(&format!(
                "{{metadata: {{name: web}}, spec: {{restartPolicy: OnFailure, containers: [{{name: main, {}, \
                 ports: [{{name: http, containerPort: 8080}}], \
                 startupProbe: {{periodSeconds: 1, tcpSocket: {{port: http}}}}, \
                 readinessProbe: {{periodSeconds: 1, httpGet: {{port: http, path: /index.html}}}}, \
                 livenessProbe: {{periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 5, \
                   exec: {{command: [cat, /tmp/fine]}}}}}}]}}}}",
                server(8080)
            ))
            .await;
        let pod = house.until("web", "ready", ready).await;
        assert_eq!(first(&pod), "main #0 ready started: running, last -");
        let name = engine_name(&object, "main", 0);
        let remove = ["rm", "/tmp/fine"].map(str::to_owned);
        let ran = session::run(engine.as_ref(), &name, &remove, LIMIT, 100).await.expect("a command runs");
        assert!(matches!(ran, Ran::Exited { code: 0, .. }), "{ran:?}");
        let pod = house.until("web", "restarted", |pod| first(pod).starts_with("main #1 ready")).await;
        assert_eq!(first(&pod), "main #1 ready started: running, last Completed 0");
        let events = house.events("web").join("\n");
        assert!(events.contains("Unhealthy Liveness probe failed: cat: can't open '/tmp/fine'"), "{events}");
        house.delete("web", Some(1)).await;
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_reach_a_shared_network_and_the_hosts() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        drop(listener);
        for (name, spec, port) in [("shared", "", 8080), ("host", "hostNetwork: true, ", port)] {
            house
                .pod(&format!(
                    "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never, {spec}containers: [{{name: main, {}, \
                     readinessProbe: {{periodSeconds: 1, httpGet: {{port: {port}}}}}}}, {{name: other, image: {}, \
                     imagePullPolicy: Never, command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']}}]}}}}",
                    server(port),
                    image::NAME
                ))
                .await;
        }
        for name in ["shared", "host"] {
            house.until(name, "ready", ready).await;
            house.delete(name, Some(1)).await;
        }
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_run_in_the_container_around_its_life() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let script = "while ! test -f /tmp/hooked; do sleep 0.1; done; echo hooked; trap 'echo term; exit 0' TERM; \
                      touch /tmp/said; sleep 1000 & wait";
        let object = house
            .pod(&format!(
                "{{metadata: {{name: hooks, finalizers: [test/hold]}}, spec: {{restartPolicy: Never, containers: [{{name: \
                 main, image: {}, imagePullPolicy: Never, command: [sh, -c, {}], lifecycle: {{postStart: {{exec: \
                 {{command: [touch, /tmp/hooked]}}}}, preStop: {{exec: {{command: [sh, -c, \
                 'while ! test -f /tmp/said; do sleep 0.1; done; echo pre > /proc/1/fd/1; sleep 0.5']}}}}}}}}]}}}}",
                image::NAME,
                serde_json::to_string(script).expect("a text is JSON")
            ))
            .await;
        house.until_phase("hooks", "Running").await;
        house.delete("hooks", Some(20)).await;
        let pod = house.until("hooks", "over", |pod| phase_of(pod) == "Succeeded").await;
        assert_eq!(house.log(&object, "main", 0).await, "hooked\npre\nterm\n", "{}", tell(Some(&pod)));
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seccomp_profile_of_this_machine_is_applied() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let profiles = house.dir().join("seccomp/own");
        std::fs::create_dir_all(&profiles).expect("a directory can be made");
        let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
        std::fs::write(profiles.join("no-mkdir.json"), profile).expect("a file can be written");
        for (name, file) in [("held", "own/no-mkdir.json"), ("none", "own/none.json")] {
            house
                .pod(&format!(
                    "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never, containers: [{{name: main, image: {}, \
                     imagePullPolicy: Never, command: [sh, -c, 'touch /tmp/a && ! mkdir /tmp/b'], securityContext: \
                     {{seccompProfile: {{type: Localhost, localhostProfile: {file}}}}}}}]}}}}",
                    image::NAME
                ))
                .await;
        }
        let pod = house.until_over("held").await;
        assert_eq!(first(&pod), "main #0: Completed 0, last -");
        let refused = |pod: &Pod| first(pod).contains("CreateContainerError (cannot load seccomp profile");
        house.until("none", "refused", refused).await;
        house.delete("none", Some(0)).await;
        house.until_empty().await;
    })
    .await;
}
