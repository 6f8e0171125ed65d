//! Probes and hooks of pods on an engine that is only memory. HTTP probes ask a server of the test's own; commands are
//! read by the fake's shell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use jobdock::runtime::Runtime;
use jobdock::runtime::fake::{Call, Fake};
use jobdock::store::Store;
use k8s_openapi::api::core::v1::Pod;

use super::pod_house::{House, tell};

fn house() -> (House, Fake) {
    let engine = Fake::new();
    let store = Store::in_memory().expect("a store opens");
    (House::open(store, Arc::new(engine.clone())), engine)
}

/// A pod of one container that runs until it is told to stop, with these fields besides.
fn pod(name: &str, policy: &str, fields: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{restartPolicy: {policy}, terminationGracePeriodSeconds: 5, containers: \
         [{{name: main, image: 'busybox:1', env: [{{name: FAKE_RUN_MS, value: forever}}, {{name: FAKE_TERM_EXIT, \
         value: '0'}}], {fields}}}]}}}}"
    )
}

/// A server whose answer can be changed.
async fn server() -> (u16, Arc<AtomicU16>) {
    let code = Arc::new(AtomicU16::new(503));
    let of_server = Arc::clone(&code);
    let answer = move || {
        let code = of_server.load(Ordering::SeqCst);
        async move { StatusCode::from_u16(code).expect("a code") }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    let app = Router::new().route("/", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (port, code)
}

fn first(pod: &Pod) -> String {
    tell(Some(pod)).lines().nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn readiness_comes_and_goes_with_the_answer() {
    let (house, _engine) = house();
    let (port, code) = server().await;
    let probe = format!(
        "readinessProbe: {{periodSeconds: 1, failureThreshold: 1, httpGet: {{host: 127.0.0.1, port: {port}}}}}"
    );
    house.pod(&pod("web", "Never", &probe)).await;
    let words = "Warning Unhealthy Readiness probe failed: HTTP probe failed with statuscode: 503".to_owned();
    house.eventually("its failure is told", async || house.events("web").contains(&words)).await;
    let running = house.get("web").expect("it is there");
    assert_eq!(first(&running), "main #0 started: running, last -");
    code.store(200, Ordering::SeqCst);
    let ready = |pod: &Pod| tell(Some(pod)).contains("\nReady=True");
    house.until("web", "ready", ready).await;
    code.store(500, Ordering::SeqCst);
    house.until("web", "unready again", |pod| !ready(pod)).await;
    assert_eq!(first(&house.get("web").expect("it is there")), "main #0 started: running, last -");
}

#[tokio::test]
async fn a_container_whose_liveness_fails_is_started_again_though_it_ends_well() {
    let (house, _engine) = house();
    let probe =
        "livenessProbe: {periodSeconds: 1, failureThreshold: 1, exec: {command: [sh, -c, 'echo sick; exit 1']}}";
    house.pod(&pod("live", "OnFailure", probe)).await;
    let pod = house.until("live", "restarted", |pod| first(pod).starts_with("main #1")).await;
    assert_eq!(first(&pod), "main #1 ready started: running, last Completed 0");
    let events = house.events("live");
    for event in [
        "Warning Unhealthy Liveness probe failed: sick\n",
        "Normal Killing Container main failed liveness probe, will be restarted",
    ] {
        assert!(events.contains(&event.to_owned()), "{event}: {events:#?}");
    }
}

#[tokio::test]
async fn a_startup_probe_that_never_succeeds_ends_a_container_that_is_not_restarted() {
    let (house, _engine) = house();
    let probes = "startupProbe: {periodSeconds: 1, failureThreshold: 1, exec: {command: ['false']}}, \
                  livenessProbe: {exec: {command: ['false']}}";
    house.pod(&pod("late", "Never", probes)).await;
    let pod = house.until_over("late").await;
    assert_eq!(first(&pod), "main #0: Completed 0, last -");
    let events = house.events("late").join("\n");
    assert!(events.contains("Normal Killing Container main failed startup probe\n"), "{events}");
    assert!(!events.contains("Liveness"), "{events}");
    house.until_empty().await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_has_failed() {
    let (house, _engine) = house();
    let probe = "readinessProbe: {timeoutSeconds: 1, exec: {command: [sleep, '100']}}";
    house.pod(&pod("slow", "Never", probe)).await;
    let words =
        "Warning Unhealthy Readiness probe failed: command timed out: \"sleep 100\" timed out after 1s".to_owned();
    house.eventually("it is told", async || house.events("slow").contains(&words)).await;
}

#[tokio::test]
async fn a_probe_that_cannot_be_made_counts_for_nothing() {
    let (house, _engine) = house();
    let probe = "livenessProbe: {periodSeconds: 1, failureThreshold: 1, tcpSocket: {port: nowhere}}";
    house.pod(&pod("odd", "Never", probe)).await;
    let words = "Warning Unhealthy Liveness probe errored and resulted in unknown state: strconv.Atoi: parsing \
                 \"nowhere\": invalid syntax"
        .to_owned();
    house.eventually("it is told", async || house.events("odd").contains(&words)).await;
    assert_eq!(first(&house.get("odd").expect("it is there")), "main #0 ready started: running, last -");
}

#[tokio::test]
async fn a_failed_post_start_hook_ends_the_container() {
    let (house, _engine) = house();
    let hook = "lifecycle: {postStart: {exec: {command: [sh, -c, 'exit 3']}}}";
    house.pod(&pod("hooked", "Never", hook)).await;
    house.until_over("hooked").await;
    let events = house.events("hooked");
    for event in ["Warning FailedPostStartHook PostStartHook failed", "Normal Killing FailedPostStartHook"] {
        assert!(events.contains(&event.to_owned()), "{event}: {events:#?}");
    }
    house.until_empty().await;
}

#[tokio::test]
async fn a_post_start_hook_runs_once_whoever_watches() {
    let (mut house, engine) = house();
    let hook = "lifecycle: {postStart: {exec: {command: ['true']}}}";
    house.pod(&pod("once", "Never", hook)).await;
    house.until_phase("once", "Running").await;
    house.kill().await;
    house.begin();
    house.delete("once", Some(1)).await;
    house.until_empty().await;
    assert_eq!(engine.calls()[&Call::Exec], 1);
}

#[tokio::test]
async fn pre_stop_runs_before_the_signal_and_its_failure_is_told() {
    let (house, engine) = house();
    let hook = "lifecycle: {preStop: {exec: {command: [sh, -c, 'sleep 1; exit 4']}}}";
    house.pod(&pod("bye", "Never", hook)).await;
    house.until_phase("bye", "Running").await;
    house.delete("bye", None).await;
    house.eventually("the hook runs", async || engine.calls().contains_key(&Call::Exec)).await;
    assert!(!engine.calls().contains_key(&Call::Kill), "the signal waits for the hook");
    house.until_gone("bye").await;
    let events = house.events("bye");
    for event in ["Warning FailedPreStopHook PreStopHook failed", "Normal Killing Stopping container main"] {
        assert!(events.contains(&event.to_owned()), "{event}: {events:#?}");
    }
    assert!(engine.containers().await.expect("the fake lists").is_empty());
}

#[tokio::test]
async fn a_pod_begins_anew_in_its_place() {
    let (house, engine) = house();
    house
        .pod(
            "{metadata: {name: anew}, spec: {restartPolicy: Never, initContainers: [{name: init, image: 'busybox:1'}], \
             containers: [{name: other, image: 'busybox:1', env: [{name: FAKE_RUN_MS, value: forever}]}, {name: main, \
             image: 'busybox:1', env: [{name: FAKE_RUN_MS, value: forever}], restartPolicy: Never, restartPolicyRules: \
             [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]}]}}",
        )
        .await;
    let started = |attempt: u32| {
        move |pod: &Pod| {
            let text = tell(Some(pod));
            text.contains(&format!("init #{attempt} ready"))
                && text.contains(&format!("main #{attempt} ready"))
                && text.contains(&format!("other #{attempt} ready"))
        }
    };
    let pod = house.until("anew", "started", started(0)).await;
    let uid = pod.metadata.uid.unwrap_or_default();
    engine.finish(&format!("jobdock-{uid}-main-0"), 42);
    let pod = house.until("anew", "started anew", started(1)).await;
    let text = tell(Some(&pod));
    assert!(text.contains("main #1 ready started: running, last Error 42"), "{text}");
    assert!(text.contains("other #1 ready started: running, last Error 137"), "{text}");
    assert!(text.contains("AllContainersRestarting=False"), "{text}");
    for container in ["main", "other"] {
        engine.finish(&format!("jobdock-{uid}-{container}-1"), 0);
    }
    house.until_phase("anew", "Succeeded").await;
    house.until_empty().await;
}
