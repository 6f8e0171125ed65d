//! The node agent on an engine that is only memory: what it does about pods, what it tells of them, how it recovers.

use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use jobdock::runtime::Runtime;
use jobdock::runtime::fake::{Call, Fake, Fault};
use jobdock::store::{Query, Store};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};

use super::pod_house::{House, NODE, from_yaml, phase_of, pod, tell};
use jobdock::model::kind::Kind;
use jobdock::model::object::Key;
use jobdock::pod::names;

fn house() -> (House, Fake) {
    let engine = Fake::new();
    let store = Store::in_memory().expect("a store opens");
    (House::open(store, Arc::new(engine.clone())), engine)
}

/// A pod of one container `main` that does what the environment says.
fn simple(name: &str, policy: &str, env: &[(&str, &str)]) -> Pod {
    let env: Vec<String> = env.iter().map(|(name, value)| format!("{{name: {name}, value: '{value}'}}")).collect();
    pod(&format!(
        "{{metadata: {{name: {name}}}, spec: {{restartPolicy: {policy}, containers: [{{name: main, image: 'busybox:1', \
         env: [{}]}}]}}}}",
        env.join(", ")
    ))
}

fn check(actual: &str, expected: Expect) {
    expected.assert_eq(actual);
}

#[tokio::test]
async fn a_pod_is_bound_run_told_and_put_away() {
    let (house, engine) = house();
    let object = house.create(simple("hello", "Never", &[("FAKE_LOG", "hi"), ("FAKE_RUN_MS", "50")])).await;
    let pod = house.until_phase("hello", "Succeeded").await;
    check(
        &tell(Some(&pod)),
        expect![[r#"
            Succeeded - -
            main #0: Completed 0, last -
            PodReadyToStartContainers=False
            Initialized=True PodCompleted
            Ready=False PodCompleted
            ContainersReady=False PodCompleted
            PodScheduled=True"#]],
    );
    assert_eq!(house.log(&object, "main", 0).await, "hi\n");
    house.until_empty().await;
    check(
        &house.events("hello").join("\n"),
        expect![[r#"
            Normal Created Created container: main
            Normal Pulled Container image "busybox:1" already present on machine
            Normal Scheduled Successfully assigned default/hello to node
            Normal Started Started container main"#]],
    );
    let status = pod.status.expect("it has a status");
    assert_eq!(pod.spec.and_then(|spec| spec.node_name).as_deref(), Some(NODE));
    assert!(status.start_time.is_some() && status.host_ip.is_some() && status.pod_ip.is_some());
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    let container = &status.container_statuses.expect("it is told")[0];
    assert!(container.container_id.as_deref().is_some_and(|id| id.starts_with("docker://")));
    assert!(!container.image_id.is_empty());
    let calls = engine.calls();
    // Nothing in line that is not needed: one look after the start, one after the death, one by the log's end.
    assert!(calls[&Call::Inspect] <= 4, "{calls:?}");
    assert_eq!((calls[&Call::Create], calls[&Call::Start], calls[&Call::Image]), (1, 1, 1), "{calls:?}");
}

#[tokio::test]
async fn exit_codes_decide_the_phase() {
    let (house, _engine) = house();
    for (name, env, phase, told) in [
        ("zero", vec![("FAKE_EXIT", "0")], "Succeeded", "main #0: Completed 0, last -"),
        ("three", vec![("FAKE_EXIT", "3")], "Failed", "main #0: Error 3, last -"),
        ("oom", vec![("FAKE_OOM", "1")], "Failed", "main #0: OOMKilled 137, last -"),
        ("killed", vec![("FAKE_EXIT", "137")], "Failed", "main #0: Error 137, last -"),
        (
            "nostart",
            vec![("FAKE_START_ERROR", "no such file")],
            "Failed",
            "main #0: StartError 128 (no such file), last -",
        ),
    ] {
        house.create(simple(name, "Never", &env)).await;
        let pod = house.until_phase(name, phase).await;
        assert_eq!(tell(Some(&pod)).lines().nth(1), Some(told), "{name}");
    }
    house.until_empty().await;
}

#[tokio::test]
async fn on_failure_restarts_with_a_back_off() {
    let (house, _engine) = house();
    house.create(simple("again", "OnFailure", &[("FAKE_EXIT", "1")])).await;
    let waiting = |pod: &Pod| tell(Some(pod)).contains("CrashLoopBackOff");
    let pod = house.until("again", "waiting for its restart", waiting).await;
    let text = tell(Some(&pod));
    let lines: Vec<&str> = text.lines().take(2).collect();
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    assert_eq!(
        lines.join("\n").replace(&uid, "UID"),
        "Running - -\nmain #1: waiting CrashLoopBackOff (back-off 10s restarting failed container=main \
         pod=again_default(UID)), last Error 1"
    );
    let events = house.events("again").join("\n").replace(&uid, "UID");
    assert!(events.contains("Warning BackOff Back-off restarting failed container main in pod again_default(UID)"));
}

#[tokio::test]
async fn init_containers_run_in_order_and_a_failed_one_fails_the_pod() {
    let (house, engine) = house();
    house
        .pod(
            "{metadata: {name: steps}, spec: {restartPolicy: Never,
              initContainers: [
                {name: one, image: 'busybox:1', command: [sh, -c, 'echo one']},
                {name: two, image: 'busybox:1', command: [sh, -c, 'exit 4']}],
              containers: [{name: main, image: 'busybox:1'}]}}",
        )
        .await;
    let pod = house.until_phase("steps", "Failed").await;
    check(
        &tell(Some(&pod)),
        expect![[r#"
            Failed - -
            one #0 ready: Completed 0, last -
            two #0: Error 4, last -
            main #0: waiting PodInitializing, last -
            PodReadyToStartContainers=False
            Initialized=False ContainersNotInitialized (containers with incomplete status: [two])
            Ready=False PodFailed
            ContainersReady=False PodFailed
            PodScheduled=True"#]],
    );
    house.until_empty().await;
    assert_eq!(engine.calls()[&Call::Create], 2);
}

#[tokio::test]
async fn several_containers_share_a_sandbox_and_all_must_end() {
    let (house, engine) = house();
    house
        .pod(
            "{metadata: {name: pair}, spec: {restartPolicy: Never, containers: [
                {name: quick, image: 'busybox:1'},
                {name: slow, image: 'busybox:1', env: [{name: FAKE_RUN_MS, value: forever}]}]}}",
        )
        .await;
    let pod = house
        .until("pair", "half done", |pod| {
            let text = tell(Some(pod));
            text.contains("quick #0: Completed 0") && text.contains("slow #0 ready started: running")
        })
        .await;
    assert_eq!(phase_of(&pod), "Running");
    assert!(tell(Some(&pod)).contains("Ready=False ContainersNotReady (containers with unready status: [quick])"));
    let slow = engine.containers().await.expect("the fake lists").into_iter().find(|seen| seen.name.contains("-slow-"));
    engine.finish(&slow.expect("it runs").name, 0);
    house.until_phase("pair", "Succeeded").await;
    house.until_empty().await;
}

#[tokio::test]
async fn a_sidecar_starts_first_and_is_stopped_when_the_main_container_is_done() {
    let (house, _engine) = house();
    house
        .pod(
            "{metadata: {name: side}, spec: {restartPolicy: Never,
              initContainers: [{name: helper, image: 'busybox:1', restartPolicy: Always,
                                env: [{name: FAKE_RUN_MS, value: forever}, {name: FAKE_TERM_EXIT, value: '0'}]}],
              containers: [{name: main, image: 'busybox:1', env: [{name: FAKE_RUN_MS, value: '50'}]}]}}",
        )
        .await;
    let pod = house.until_phase("side", "Succeeded").await;
    let text = tell(Some(&pod));
    assert!(text.contains("helper #0: Completed 0") && text.contains("main #0: Completed 0"), "{text}");
    house.until_empty().await;
}

#[tokio::test]
async fn a_deleted_pod_is_asked_then_killed_then_told_then_gone() {
    let (house, engine) = house();
    let mut stubborn = simple("stubborn", "Never", &[("FAKE_RUN_MS", "forever"), ("FAKE_TERM", "ignore")]);
    stubborn.metadata.finalizers = Some(vec!["test/hold".to_owned()]);
    house.create(stubborn).await;
    house.until_phase("stubborn", "Running").await;
    house.delete("stubborn", Some(1)).await;
    let pod = house.until_phase("stubborn", "Failed").await;
    assert!(tell(Some(&pod)).contains("main #0: Error 137"), "{}", tell(Some(&pod)));
    assert!(house.events("stubborn").contains(&"Normal Killing Stopping container main".to_owned()));
    assert_eq!(engine.calls()[&Call::Kill], 2);
    let marked = |pod: &Pod| pod.metadata.deletion_grace_period_seconds == Some(0);
    house.until("stubborn", "let go", marked).await;
    house.until_empty().await;
}

#[tokio::test]
async fn a_deleted_pod_that_ends_well_has_succeeded() {
    let (house, _engine) = house();
    let mut polite = simple("polite", "Never", &[("FAKE_RUN_MS", "forever"), ("FAKE_TERM_EXIT", "0")]);
    polite.metadata.finalizers = Some(vec!["test/hold".to_owned()]);
    house.create(polite).await;
    house.until_phase("polite", "Running").await;
    house.delete("polite", None).await;
    house.until_phase("polite", "Succeeded").await;
}

#[tokio::test]
async fn a_deleted_pod_without_finalizers_leaves_nothing() {
    let (house, _engine) = house();
    let object = house.create(simple("brief", "Never", &[("FAKE_RUN_MS", "forever")])).await;
    house.until_phase("brief", "Running").await;
    house.delete("brief", None).await;
    house.until_gone("brief").await;
    house.until_empty().await;
    let files = house.dir().join("mounts").join(object.uid());
    house.eventually("its files are gone", || async { !files.exists() }).await;
}

#[tokio::test]
async fn a_pod_that_is_removed_at_once_takes_its_containers_with_it() {
    let (house, _engine) = house();
    house.create(simple("forced", "Never", &[("FAKE_RUN_MS", "forever"), ("FAKE_TERM", "ignore")])).await;
    house.until_phase("forced", "Running").await;
    house.delete("forced", Some(0)).await;
    house.until_gone("forced").await;
    house.until_empty().await;
}

#[tokio::test]
async fn a_deadline_ends_the_pod_with_upstreams_words() {
    let (house, _engine) = house();
    let mut late = simple("late", "Never", &[("FAKE_RUN_MS", "forever"), ("FAKE_TERM_EXIT", "0")]);
    late.spec.as_mut().expect("it has a spec").active_deadline_seconds = Some(1);
    house.create(late).await;
    let pod = house.until_phase("late", "Failed").await;
    assert_eq!(
        tell(Some(&pod)).lines().next(),
        Some("Failed DeadlineExceeded Pod was active on the node longer than the specified deadline")
    );
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_told_and_tried_again() {
    let (house, engine) = house();
    engine.forget_image("busybox:1");
    engine.fail_next(Call::Pull, Fault::Fail("manifest unknown".to_owned()));
    house.create(simple("noimage", "Never", &[])).await;
    let told = |reason: &'static str| move |pod: &Pod| tell(Some(pod)).contains(reason);
    house.until("noimage", "told of", told("waiting ErrImagePull (manifest unknown)")).await;
    house.until("noimage", "held back", told("waiting ImagePullBackOff (Back-off pulling image \"busybox:1\"")).await;
    house.until_phase("noimage", "Succeeded").await;
    let events = house.events("noimage").join("\n");
    for line in [
        "Normal Pulling Pulling image \"busybox:1\"",
        "Warning Failed Failed to pull image \"busybox:1\": manifest unknown",
        "Warning Failed Error: ErrImagePull",
        "Normal BackOff Back-off pulling image \"busybox:1\"",
        "Warning Failed Error: ImagePullBackOff",
        "Normal Pulled Successfully pulled image \"busybox:1\" in",
    ] {
        assert!(events.contains(line), "{line}\n{events}");
    }
}

#[tokio::test]
async fn images_are_judged_by_name_and_policy() {
    let (house, engine) = house();
    engine.forget_image("busybox:1");
    for (name, edit, told) in [
        (
            "never",
            "Never",
            "waiting ErrImageNeverPull (Container image \"busybox:1\" is not present with pull policy of Never)",
        ),
        (
            "invalid",
            "",
            "waiting InvalidImageName (Failed to apply default image tag \"Bad Name\": couldn't parse image name",
        ),
    ] {
        let mut made = simple(name, "Never", &[]);
        let container = &mut made.spec.as_mut().expect("it has a spec").containers[0];
        if edit.is_empty() {
            container.image = Some("Bad Name".to_owned());
        } else {
            container.image_pull_policy = Some(edit.to_owned());
        }
        house.create(made).await;
        house.until(name, told, |pod| tell(Some(pod)).contains(told)).await;
    }
}

#[tokio::test]
async fn a_missing_config_map_is_told_and_its_coming_starts_the_pod() {
    let (house, engine) = house();
    let source = "{metadata: {name: wants}, spec: {restartPolicy: Never, containers: [{name: main, image: 'busybox:1',
          env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: a}}}]}]}}";
    house.pod(source).await;
    let told = |text: &'static str| move |pod: &Pod| tell(Some(pod)).contains(text);
    house.until("wants", "told", told("waiting CreateContainerConfigError (configmap \"settings\" not found)")).await;
    assert_eq!(engine.calls().get(&Call::Pull), None);
    house.create(from_yaml::<ConfigMap>("{metadata: {name: settings, namespace: default}, data: {b: x}}")).await;
    house.until("wants", "told", told("(couldn't find key a in ConfigMap default/settings)")).await;
    let key = Key::of::<ConfigMap>("default", "settings");
    let map = from_yaml::<ConfigMap>("{metadata: {name: settings, namespace: default}, data: {a: x}}");
    house.replace(key, map).await;
    house.until_phase("wants", "Succeeded").await;
    assert!(house.events("wants").contains(&"Warning Failed Error: configmap \"settings\" not found".to_owned()));
}

#[tokio::test]
async fn a_volume_that_cannot_be_had_is_told_by_name() {
    let (house, _engine) = house();
    for (name, volume, told) in [
        (
            "missing",
            "secret: {secretName: keys}",
            "MountVolume.SetUp failed for volume \"data\" : secret \"keys\" not found",
        ),
        (
            "nfs",
            "nfs: {server: a, path: /b}",
            "MountVolume.SetUp failed for volume \"data\" : volumes of type nfs are not supported by jobdock; supported \
             are emptyDir, hostPath, configMap, secret, downwardAPI, projected, persistentVolumeClaim, ephemeral, image",
        ),
    ] {
        house
            .pod(&format!(
                "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never, volumes: [{{name: data, {volume}}}], containers: \
                 [{{name: main, image: 'busybox:1', volumeMounts: [{{name: data, mountPath: /data}}]}}]}}}}"
            ))
            .await;
        let line = format!("Warning FailedMount {told}");
        house.eventually(&line, || async { house.events(name).contains(&line) }).await;
        let pod = house.get(name).expect("it is there");
        assert!(tell(Some(&pod)).contains("main #0: waiting ContainerCreating"), "{}", tell(Some(&pod)));
    }
    house.create(from_yaml::<Secret>("{metadata: {name: keys, namespace: default}, data: {k: eA==}}")).await;
    house.until_phase("missing", "Succeeded").await;
}

#[tokio::test]
async fn fields_that_are_not_honoured_are_named() {
    let (house, _engine) = house();
    house
        .pod(
            "{metadata: {name: device}, spec: {restartPolicy: Never, containers: [{name: main, image: 'busybox:1',
              securityContext: {windowsOptions: {hostProcess: false}}}]}}",
        )
        .await;
    house.until_phase("device", "Succeeded").await;
    let line = "Warning FieldNotHonoured spec.containers[0].securityContext.windowsOptions is not honoured by jobdock yet: the pod runs \
                without it";
    assert!(house.events("device").contains(&line.to_owned()), "{:?}", house.events("device"));
}

#[tokio::test]
async fn a_new_agent_adopts_what_runs_and_copies_each_line_once() {
    let (mut house, engine) = house();
    let object = house
        .pod(
            "{metadata: {name: long}, spec: {restartPolicy: Never, containers: [{name: main, image: 'busybox:1',
              command: [sh, -c, 'echo a; sleep 0.5; echo b; sleep 0.5; echo c']}]}}",
        )
        .await;
    house.until_phase("long", "Running").await;
    house.end().await;
    house.begin();
    house.until_phase("long", "Succeeded").await;
    assert_eq!(house.log(&object, "main", 0).await, "a\nb\nc\n");
    assert_eq!(engine.calls()[&Call::Create], 1);
    house.until_empty().await;
}

#[tokio::test]
async fn what_ended_without_an_agent_is_told_by_the_next() {
    let (mut house, engine) = house();
    let object =
        house.create(simple("alone", "Never", &[("FAKE_RUN_MS", "300"), ("FAKE_LOG", "x"), ("FAKE_EXIT", "7")])).await;
    house.until_phase("alone", "Running").await;
    house.kill().await;
    let name = format!("jobdock-{}-main-0", object.uid());
    house
        .eventually("it ends", || async {
            let seen = engine.inspect(&name).await.expect("the fake answers").expect("it is there");
            matches!(seen.state, jobdock::runtime::Seen::Exited { .. })
        })
        .await;
    house.begin();
    let pod = house.until_phase("alone", "Failed").await;
    assert!(tell(Some(&pod)).contains("main #0: Error 7"), "{}", tell(Some(&pod)));
    assert_eq!(house.log(&object, "main", 0).await, "x\n");
    house.until_empty().await;
}

#[tokio::test]
async fn a_lost_reply_is_found_again_by_name() {
    for call in [Call::Create, Call::Start, Call::Inspect, Call::Remove] {
        let (house, engine) = house();
        engine.fail_next(call, Fault::LoseReply);
        house.create(simple("lost", "Never", &[("FAKE_RUN_MS", "20")])).await;
        house.until_phase("lost", "Succeeded").await;
        house.until_empty().await;
    }
}

#[tokio::test]
async fn a_container_that_somebody_removed_has_failed() {
    let (house, engine) = house();
    let object = house.create(simple("stolen", "Never", &[("FAKE_RUN_MS", "forever")])).await;
    house.until_phase("stolen", "Running").await;
    engine.remove(&format!("jobdock-{}-main-0", object.uid())).await.expect("it can be removed");
    let pod = house.until_phase("stolen", "Failed").await;
    assert_eq!(
        tell(Some(&pod)).lines().nth(1),
        Some(
            "main #0: ContainerStatusUnknown 137 (The container could not be located when the pod was terminated), last -"
        )
    );
}

#[tokio::test]
async fn an_exit_found_after_an_engine_restart_proves_nothing() {
    let (house, engine) = house();
    house.create(simple("shaken", "Never", &[("FAKE_RUN_MS", "forever")])).await;
    house.until_phase("shaken", "Running").await;
    engine.restart(0);
    let pod = house.until_phase("shaken", "Failed").await;
    let text = tell(Some(&pod));
    for line in [
        "Failed Terminated Pod was terminated in response to imminent node shutdown.",
        "main #0: ContainerStatusUnknown 137",
        "DisruptionTarget=True TerminationByKubelet (Pod was terminated in response to imminent node shutdown.)",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn an_outage_is_seen_whatever_the_engines_clock_shows() {
    for hours in [-5, 5] {
        let engine = Fake::at(Timestamp::now() + SignedDuration::from_hours(hours));
        let store = Store::in_memory().expect("a store opens");
        let house = House::open(store, Arc::new(engine.clone()));
        house.create(simple("shaken", "Never", &[("FAKE_RUN_MS", "forever")])).await;
        house.until_phase("shaken", "Running").await;
        engine.restart(0);
        let pod = house.until_phase("shaken", "Failed").await;
        assert!(tell(Some(&pod)).contains("DisruptionTarget=True TerminationByKubelet"), "{}", tell(Some(&pod)));
    }
}

#[tokio::test]
async fn a_lost_death_is_found_by_the_look_at_everything() {
    let (house, engine) = house();
    let object = house.create(simple("silent", "Never", &[("FAKE_RUN_MS", "forever")])).await;
    house.until_phase("silent", "Running").await;
    engine.drop_hints(true);
    engine.finish(&format!("jobdock-{}-main-0", object.uid()), 0);
    engine.drop_hints(false);
    engine.resync();
    house.until_phase("silent", "Succeeded").await;
}

#[tokio::test]
async fn orphans_of_this_store_go_and_foreign_containers_stay() {
    let (mut house, engine) = house();
    engine.add_foreign("someone-elses");
    house.create(simple("parent", "Never", &[("FAKE_RUN_MS", "forever")])).await;
    house.until_phase("parent", "Running").await;
    house.end().await;
    house.delete("parent", Some(0)).await;
    house.begin();
    house.until_empty().await;
}

#[tokio::test]
async fn pods_of_others_and_gated_pods_are_left_alone() {
    let (house, engine) = house();
    let mut elsewhere = simple("elsewhere", "Never", &[]);
    elsewhere.spec.as_mut().expect("it has a spec").node_name = Some("other".to_owned());
    house.create(elsewhere).await;
    let mut custom = simple("custom", "Never", &[]);
    custom.spec.as_mut().expect("it has a spec").scheduler_name = Some("other".to_owned());
    house.create(custom).await;
    house
        .pod(
            "{metadata: {name: gated}, spec: {restartPolicy: Never, schedulingGates: [{name: a}],
              containers: [{name: main, image: 'busybox:1'}]}}",
        )
        .await;
    house.create(simple("mine", "Never", &[])).await;
    house.until_phase("mine", "Succeeded").await;
    for name in ["elsewhere", "custom", "gated"] {
        assert_eq!(house.get(name).and_then(|pod| pod.status), None, "{name}");
    }
    assert_eq!(engine.calls()[&Call::Create], 1);
}

#[tokio::test]
async fn the_node_is_registered_with_its_heartbeat() {
    let (house, _engine) = house();
    house.create(simple("any", "Never", &[])).await;
    house.until_phase("any", "Succeeded").await;
    let node = house.store.get(&Key::of::<Node>("", NODE)).expect("the store reads").expect("it is there");
    let node = node.typed::<Node>().expect("it is a node").clone();
    let status = node.status.expect("it has a status");
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
    assert_eq!(ready.map(|ready| ready.status.as_str()), Some("True"));
    assert_eq!(
        status.capacity.and_then(|capacity| capacity.get("cpu").cloned()).map(|cpu| cpu.0).as_deref(),
        Some("64")
    );
    let labels = node.metadata.labels.expect("it has labels");
    assert_eq!(labels.get("kubernetes.io/hostname").map(String::as_str), Some(NODE));
    let lease = house.store.get(&Key::of::<Lease>("kube-node-lease", NODE)).expect("the store reads");
    assert!(lease.is_some());
}

fn nodes(house: &House) -> Vec<String> {
    let page = house.store.list(&Query::all(Kind::of::<Node>())).expect("the store reads");
    page.objects.iter().map(|object| object.key().name).collect()
}

#[tokio::test]
async fn a_machine_that_is_renamed_keeps_its_node_and_its_pods() {
    let (mut house, engine) = house();
    house.create(simple("long", "Never", &[("FAKE_RUN_MS", "forever")])).await;
    house.until_phase("long", "Running").await;
    house.rename("elsewhere", None).await;
    let pod = house.get("long").expect("it is there");
    engine.finish(&names::container(pod.metadata.uid.as_deref().unwrap_or_default(), "main", 0), 0);
    house.until_phase("long", "Succeeded").await;
    assert_eq!(nodes(&house), [NODE]);
    house.create(simple("new", "Never", &[])).await;
    let pod = house.until_phase("new", "Succeeded").await;
    assert_eq!(pod.spec.and_then(|spec| spec.node_name).as_deref(), Some(NODE));
}

#[tokio::test]
async fn a_status_says_which_generation_of_the_pod_it_is_about() {
    let (house, _engine) = house();
    let mut pod = simple("counted", "Never", &[]);
    pod.metadata.generation = Some(3);
    house.create(pod).await;
    let status = house.until_phase("counted", "Succeeded").await.status.expect("it has a status");
    assert_eq!(status.observed_generation, Some(3));
    for condition in status.conditions.expect("it has conditions") {
        assert_eq!(condition.observed_generation, Some(3), "{}", condition.type_);
    }
}

#[tokio::test]
async fn a_node_that_is_given_another_name_leaves_none_of_the_former_name() {
    let (mut house, _engine) = house();
    house.create(simple("before", "Never", &[])).await;
    house.until_phase("before", "Succeeded").await;
    house.rename(NODE, Some("other")).await;
    house.create(simple("after", "Never", &[])).await;
    let pod = house.until_phase("after", "Succeeded").await;
    assert_eq!(pod.spec.and_then(|spec| spec.node_name).as_deref(), Some("other"));
    assert_eq!(nodes(&house), ["other"]);
    let lease = |name: &str| house.store.get(&Key::of::<Lease>("kube-node-lease", name)).expect("the store reads");
    assert!(lease(NODE).is_none() && lease("other").is_some());
    // From now on that is its name, whatever the machine's is.
    house.rename(NODE, None).await;
    house.create(simple("later", "Never", &[])).await;
    house.until_phase("later", "Succeeded").await;
    assert_eq!(nodes(&house), ["other"]);
}

#[tokio::test]
async fn many_pods_run_at_once() {
    let (house, _engine) = house();
    for number in 0..100 {
        house.create(simple(&format!("n{number}"), "Never", &[("FAKE_RUN_MS", "30"), ("FAKE_LOG", "x")])).await;
    }
    for number in 0..100 {
        house.until_phase(&format!("n{number}"), "Succeeded").await;
    }
    house.until_empty().await;
}

#[tokio::test]
async fn agents_that_die_at_any_moment_run_every_pod_once() {
    let (mut house, engine) = house();
    let mut objects = Vec::new();
    for number in 0..30 {
        let (code, run) = (number % 3, 20 + 15 * number);
        let env =
            [("FAKE_EXIT", code.to_string()), ("FAKE_RUN_MS", run.to_string()), ("FAKE_LOG", format!("n{number}"))];
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        objects.push(house.create(simple(&format!("k{number}"), "Never", &env)).await);
    }
    for life in 0..20_u64 {
        tokio::time::sleep(std::time::Duration::from_millis(life * 7 % 40)).await;
        house.kill().await;
        house.begin();
    }
    for (number, object) in objects.iter().enumerate() {
        let name = format!("k{number}");
        let pod = house.until(&name, "over", |pod| matches!(phase_of(pod), "Succeeded" | "Failed")).await;
        let code = number % 3;
        let reason = if code == 0 { "Completed" } else { "Error" };
        assert!(tell(Some(&pod)).contains(&format!("main #0: {reason} {code}, last -")), "{}", tell(Some(&pod)));
        assert_eq!(house.log(object, "main", 0).await, format!("n{number}\n"));
    }
    house.until_empty().await;
    assert_eq!(engine.calls().get(&Call::Pull), None, "nothing was fetched");
}

#[tokio::test]
async fn logs_of_pods_that_went_while_no_agent_ran_go_too() {
    let (mut house, _engine) = house();
    let object = house.create(simple("past", "Never", &[("FAKE_LOG", "x")])).await;
    house.until_phase("past", "Succeeded").await;
    house.log(&object, "main", 0).await;
    house.end().await;
    house.delete("past", Some(0)).await;
    house.begin();
    house
        .eventually("its logs are gone", || async { house.store.logs().pods().is_ok_and(|pods| pods.is_empty()) })
        .await;
}
