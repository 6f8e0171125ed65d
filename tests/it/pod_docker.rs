//! The node agent on the real engine: what only a real process, kernel and file system can show.

use std::io::BufRead as _;
use std::sync::Arc;

use futures::StreamExt as _;
use jobdock::model::object::Object;
use jobdock::runtime::docker::Docker;
use jobdock::runtime::session::{self, Ran};
use jobdock::runtime::{Runtime, Seen};
use jobdock::store::Store;
use jobdock::store::logs::{Limits, LogKey, LogQuery};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};

use super::pod_house::{House, from_yaml, phase_of, tell};
use super::support::image;

/// A house on the real engine that takes its containers with it when the test is over, however it ends.
async fn house() -> (House, Arc<Docker>) {
    image::ensure().await.expect("the test image can be made");
    let store = Store::in_memory().expect("a store opens");
    let engine = Docker::connect(None, store.id()).await.expect("these tests need a Docker engine: start one");
    let engine = Arc::new(engine);
    (House::open(store, engine.clone() as Arc<dyn Runtime>), engine)
}

/// Runs a test and clears the engine of its containers and volumes even where it panics.
pub async fn with_house<F: Future<Output = ()> + Send>(
    test: impl FnOnce(Arc<tokio::sync::Mutex<House>>, Arc<Docker>) -> F,
) {
    let (house, engine) = house().await;
    let house = Arc::new(tokio::sync::Mutex::new(house));
    let outcome =
        futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(test(house.clone(), engine.clone()))).await;
    house.lock().await.kill().await;
    let mut containers = engine.containers().await.unwrap_or_default();
    // Podman removes none whose namespaces others share.
    containers.sort_by_key(|seen| seen.name.ends_with("sandbox"));
    for seen in containers {
        let _ = engine.remove(&seen.name).await;
    }
    // One that was being removed already goes in its own time, and holds its volumes until then.
    for _ in 0..100 {
        if engine.containers().await.is_ok_and(|left| left.is_empty()) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for volume in engine.volumes().await.unwrap_or_default() {
        let _ = engine.remove_volume(&volume.name).await;
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// A pod of one container `main` that runs a shell text.
fn shell(name: &str, script: &str, more: &str) -> String {
    format!(
        "metadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
         - name: main\n    image: {}\n    imagePullPolicy: Never\n    command: [sh, -c, {}]\n{more}",
        image::NAME,
        serde_json::to_string(script).expect("a text is JSON")
    )
}

pub fn first(pod: &Pod) -> String {
    tell(Some(pod)).lines().nth(1).unwrap_or_default().to_owned()
}

pub fn engine_name(pod: &Object, container: &str, attempt: u32) -> String {
    format!("jobdock-{}-{container}-{attempt}", pod.uid())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_are_told_as_they_were() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        let memory = "    resources: {limits: {memory: 16Mi}}\n";
        let hog = "dd if=/dev/zero of=/dev/null bs=64M count=1";
        for (name, script, more, phase, told) in [
            ("zero", "echo fine", "", "Succeeded", "main #0: Completed 0, last -"),
            ("three", "exit 3", "", "Failed", "main #0: Error 3, last -"),
            ("hog", hog, memory, "Failed", "main #0: OOMKilled 137, last -"),
        ] {
            house.pod(&shell(name, script, more)).await;
            let pod = house.until_phase(name, phase).await;
            // A shell whose child was killed for memory may end by itself with the child's code.
            assert_eq!(first(&pod), told, "{name}");
        }
        // SIGKILL from somebody else is not the OOM killer's.
        let object = house.pod(&shell("killed", "sleep 1000", "")).await;
        house.until_phase("killed", "Running").await;
        engine.kill(&engine_name(&object, "main", 0), "SIGKILL").await.expect("it can be killed");
        let pod = house.until_phase("killed", "Failed").await;
        assert_eq!(first(&pod), "main #0: Error 137, last -");
        house.pod(&shell("nothing", "", "").replace("[sh, -c, \"\"]", "[/no/such/program]")).await;
        let pod = house.until_phase("nothing", "Failed").await;
        assert!(first(&pod).starts_with("main #0: StartError 128 ("), "{}", first(&pod));
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_containers_hand_files_to_an_unprivileged_main_container() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let object = house
            .pod(&format!(
                "{{metadata: {{name: handover}}, spec: {{restartPolicy: Never, volumes: [{{name: work, emptyDir: {{}}}}, \
                 {{name: ram, emptyDir: {{medium: Memory, sizeLimit: 8Mi}}}}],
                 initContainers: [
                   {{name: one, image: {0}, imagePullPolicy: Never, command: [sh, -c, 'echo 1 > /work/a; echo r > /ram/r'], \
                     securityContext: {{runAsUser: 1000}}, \
                     volumeMounts: [{{name: work, mountPath: /work}}, {{name: ram, mountPath: /ram}}]}},
                   {{name: two, image: {0}, imagePullPolicy: Never, command: [sh, -c, 'echo 2 >> /work/a'], \
                     securityContext: {{runAsUser: 1000}}, volumeMounts: [{{name: work, mountPath: /work}}]}}],
                 containers: [{{name: main, image: {0}, imagePullPolicy: Never, \
                   command: [sh, -c, 'cat /in/a /ram/r; id -u; hostname; stat -c %a /in; echo x > /in/b || echo read-only'], \
                   securityContext: {{runAsUser: 1001}}, \
                   volumeMounts: [{{name: work, mountPath: /in, readOnly: true}}, {{name: ram, mountPath: /ram}}]}}]}}}}",
                image::NAME
            ))
            .await;
        let pod = house.until_over("handover").await;
        for init in ["one", "two"] {
            assert_eq!(house.log(&object, init, 0).await, "", "{}", tell(Some(&pod)));
        }
        let log = house.log(&object, "main", 0).await;
        let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("sh:")).collect();
        assert_eq!(lines, ["1", "2", "r", "1001", "handover", "777", "read-only"], "{log}");
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_of_a_pod_share_their_network() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let object = house
            .pod(&format!(
                "{{metadata: {{name: talk}}, spec: {{restartPolicy: Never, containers: [
                   {{name: server, image: {0}, imagePullPolicy: Never, \
                     command: [sh, -c, 'echo pong | nc -l -p 7777 -w 20']}},
                   {{name: client, image: {0}, imagePullPolicy: Never, command: [sh, -c, \
                     'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do nc -w 2 127.0.0.1 7777 </dev/null && exit 0; sleep 0.2; done; exit 1']}}\
                 ]}}}}",
                image::NAME
            ))
            .await;
        let pod = house.until_phase("talk", "Succeeded").await;
        assert_eq!(house.log(&object, "client", 0).await, "pong\n", "{}", tell(Some(&pod)));
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environment_and_files_come_from_config_maps_secrets_and_the_pod() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        house
            .create(from_yaml::<ConfigMap>(
                "{metadata: {name: settings, namespace: default}, data: {color: blue, size: big}}",
            ))
            .await;
        house
            .create(from_yaml::<Secret>("{metadata: {name: keys, namespace: default}, data: {token: czNjcjN0}}"))
            .await;
        let object = house
            .pod(&format!(
                "{{metadata: {{name: configured, labels: {{app: x}}}}, spec: {{restartPolicy: Never,
                 volumes: [
                   {{name: settings, configMap: {{name: settings, items: [{{key: color, path: a/color}}]}}}},
                   {{name: keys, secret: {{secretName: keys, defaultMode: 256}}}},
                   {{name: info, downwardAPI: {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]}}}}],
                 containers: [{{name: main, image: {0}, imagePullPolicy: Never,
                   env: [{{name: NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}},
                         {{name: IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}},
                         {{name: TOKEN, valueFrom: {{secretKeyRef: {{name: keys, key: token}}}}}},
                         {{name: GREETING, value: 'hello $(NAME) $(CFG_size) $$(NAME)'}}],
                   envFrom: [{{prefix: CFG_, configMapRef: {{name: settings}}}}],
                   volumeMounts: [{{name: settings, mountPath: /settings}}, {{name: keys, mountPath: /keys}},
                                  {{name: info, mountPath: /info}}, {{name: settings, mountPath: /one, subPath: a/color}}],
                   command: [sh, -c],
                   args: ['echo $GREETING $TOKEN $(CFG_color); cat /settings/a/color; echo; cat /keys/token; echo; \
                          cat /info/labels; echo; cat /one; echo; stat -L -c %a /keys/token; hostname -i | grep -qw $IP && echo ip']}}]}}}}",
                image::NAME
            ))
            .await;
        let pod = house.until(
            "configured", "over", |pod| matches!(phase_of(pod), "Succeeded" | "Failed")).await;
        assert_eq!(
            house.log(&object, "main", 0).await,
            "hello configured big $(NAME) s3cr3t blue\nblue\ns3cr3t\napp=\"x\"\nblue\n400\nip\n",
            "{}", tell(Some(&pod))
        );
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_come_from_the_file_or_else_from_the_log() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let fallback = "    terminationMessagePolicy: FallbackToLogsOnError\n";
        for (name, script, more, told) in [
            ("file", "printf bye > /dev/termination-log; exit 1", "", "main #0: Error 1 (bye), last -"),
            ("none", "echo lost; exit 1", "", "main #0: Error 1, last -"),
            ("log", "echo lost; exit 1", fallback, "main #0: Error 1 (lost\n), last -"),
            ("fine", "echo lost", fallback, "main #0: Completed 0, last -"),
            (
                "both",
                "printf bye > /dev/termination-log; echo lost; exit 1",
                fallback,
                "main #0: Error 1 (bye), last -",
            ),
        ] {
            house.pod(&shell(name, script, more)).await;
            let pod = house.until(name, "over", |pod| matches!(phase_of(pod), "Succeeded" | "Failed")).await;
            let text = tell(Some(&pod));
            assert!(text.contains(told), "{name}: {text}");
        }
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_gives_the_grace_and_no_more() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        // Process 1 without a handler ignores SIGTERM (D22): only the kill ends it.
        let object = house.pod(&shell("deaf", "sleep 1000", "")).await;
        let trap = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done";
        let polite = house.pod(&shell("polite", trap, "")).await;
        house.until_phase("deaf", "Running").await;
        house.until_phase("polite", "Running").await;
        house.delete("deaf", None).await;
        house.delete("polite", Some(30)).await;
        house.until_gone("polite").await;
        house.until_gone("deaf").await;
        assert!(object.uid() != polite.uid());
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_a_real_process() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        house.pod(&shell("late", "sleep 1000", "  activeDeadlineSeconds: 1\n")).await;
        let pod = house.until_phase("late", "Failed").await;
        assert!(tell(Some(&pod)).starts_with("Failed DeadlineExceeded"), "{}", tell(Some(&pod)));
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_die_and_are_born_and_every_line_is_kept_once() {
    with_house(|house, _| async move {
        let mut house = house.lock().await;
        let script = "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.05; done";
        let object = house.pod(&shell("talker", script, "")).await;
        house.until_phase("talker", "Running").await;
        for _ in 0..3 {
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            house.kill().await;
            house.begin();
        }
        house.until_phase("talker", "Succeeded").await;
        let expected: String = (0..40).map(|number| format!("line {number}\n")).collect();
        assert_eq!(house.log(&object, "main", 0).await, expected);
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_owns_any_more_is_removed_and_the_rest_is_not() {
    with_house(|house, engine| async move {
        let mut house = house.lock().await;
        let (other, other_engine) = self::house().await;
        let other_pod = other.pod(&shell("neighbour", "sleep 1000", "")).await;
        other.until_phase("neighbour", "Running").await;
        let volume = "    volumeMounts: [{name: d, mountPath: /d}]\n  volumes: [{name: d, emptyDir: {}}]\n";
        let object = house.pod(&shell("orphan", "sleep 1000", volume)).await;
        house.until_phase("orphan", "Running").await;
        house.end().await;
        house.delete("orphan", Some(0)).await;
        assert!(engine.inspect(&engine_name(&object, "main", 0)).await.expect("the engine answers").is_some());
        house.begin();
        house.until_empty().await;
        let seen = other_engine.inspect(&engine_name(&other_pod, "main", 0)).await.expect("the engine answers");
        assert!(seen.is_some_and(|seen| matches!(seen.state, Seen::Running { .. })));
        other.delete("neighbour", Some(0)).await;
        other.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_output_is_kept_whole() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; \
                      head -c 100000 /dev/zero | tr '\\0' x; echo";
        let object = house.pod(&shell("flood", script, "")).await;
        house.until_phase("flood", "Succeeded").await;
        let log = house.log(&object, "main", 0).await;
        assert_eq!(log.lines().count(), 5001);
        assert_eq!(log.lines().last().map(str::len), Some(100_000));
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_come_faster_than_they_are_copied_are_not_lost() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        // Some 28 MiB of the engine's log, written at once, before much of it is copied.
        let script = "yes $(head -c 280 /dev/zero | tr '\\0' x) | head -n 80000 | cat -n";
        let object = house.pod(&shell("burst", script, "")).await;
        house.until_phase("burst", "Succeeded").await;
        house.until_empty().await;
        let log = house.log(&object, "main", 0).await;
        let number = |line: &str| line.split_whitespace().next().and_then(|word| word.parse::<u32>().ok());
        let lost = (1..=80_000).zip(log.lines()).find(|(expected, line)| number(line) != Some(*expected));
        assert_eq!((lost, log.lines().count()), (None, 80_000));
    })
    .await;
}

/// Lines as long as the engine keeps in one piece, and how many are more than one of its files (100 MB each).
const PIECE: usize = 16_000;
const PIECES: usize = 7_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_through_several_files_of_the_engine_is_kept_whole_and_once() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        // In one part, for an unoptimised compressor takes longer than all the rest.
        house.store.logs().limit(Limits { part: u64::MAX, ..Limits::default() });
        let script = format!("yes $(head -c {PIECE} /dev/zero | tr '\\0' x) | head -n {PIECES} | cat -n");
        let object = house.pod(&shell("torrent", &script, "")).await;
        house.until_phase("torrent", "Succeeded").await;
        house.until_empty().await;
        let key = LogKey { pod_uid: object.uid().to_owned(), container: "main".to_owned(), attempt: 0 };
        let stream = house.store.logs().read(&key, LogQuery::default()).unwrap().expect("it is kept");
        let pieces: Vec<_> = stream.map(Result::unwrap).collect().await;
        let (log, mut line, mut lines) = (pieces.concat(), Vec::new(), 0);
        if engine.engine().await.expect("the engine tells").runtime_version.contains("podman") {
            // It keeps one file and holds nobody up: what it drops is told.
            assert!(!house.store.logs().gaps(&key).unwrap().is_empty());
            assert!(house.events("torrent").iter().any(|event| event.starts_with("Warning OutputLost ")));
            return;
        }
        let mut rest = &log[..];
        while rest.read_until(b'\n', &mut line).unwrap() > 0 {
            lines += 1;
            let number = String::from_utf8_lossy(&line[..20]).split_whitespace().next().map(str::to_owned);
            assert_eq!((number, line.len() > PIECE), (Some(lines.to_string()), true));
            line.clear();
        }
        assert_eq!(lines, PIECES);
        assert_eq!(house.store.logs().gaps(&key).unwrap(), []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_container_is_restarted_in_its_pod() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let volume = "    volumeMounts: [{name: d, mountPath: /d}]\n  volumes: [{name: d, emptyDir: {}}]\n";
        let script = "if [ -e /d/been ]; then echo again; exit 0; fi; touch /d/been; echo first; exit 1";
        let yaml = shell("retry", script, volume).replace("restartPolicy: Never", "restartPolicy: OnFailure");
        let object = house.pod(&yaml).await;
        let pod = house.until_phase("retry", "Succeeded").await;
        assert_eq!(first(&pod), "main #1: Completed 0, last Error 1");
        assert_eq!(house.log(&object, "main", 0).await, "first\n");
        assert_eq!(house.log(&object, "main", 1).await, "again\n");
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_settings_reach_the_process() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let script =
            "echo uid=$(id -u) gid=$(id -g) groups=$(id -G); grep -E 'NoNewPrivs|CapEff' /proc/self/status | tr '\\t' ' '; touch /x 2>/dev/null || echo sealed";
        let security = "    securityContext: {runAsUser: 7, runAsGroup: 8, readOnlyRootFilesystem: true, \
                        allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}\n  \
                        securityContext: {supplementalGroups: [9]}\n";
        let object = house.pod(&shell("sealed", script, security)).await;
        house.until_phase("sealed", "Succeeded").await;
        let log = house.log(&object, "main", 0).await;
        for part in ["uid=7 gid=8", "9", "CapEff: 0000000000000000", "NoNewPrivs: 1", "sealed"] {
            assert!(log.contains(part), "{part}\n{log}");
        }
        let root = "    securityContext: {runAsNonRoot: true}\n";
        house.pod(&shell("root", "true", root)).await;
        let told = "waiting CreateContainerConfigError (container has runAsNonRoot and image will run as root (pod: ";
        house.until("root", "refused", |pod| tell(Some(pod)).contains(told)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_somebody_renames_is_still_the_pods() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        let object = house.pod(&shell("named", "echo begun; until test -e /tmp/end; do sleep 0.1; done", "")).await;
        house.until_phase("named", "Running").await;
        let (old, new) = (engine_name(&object, "main", 0), format!("somebody-{}", object.uid()));
        let docker = bollard::Docker::connect_with_defaults().unwrap();
        let options = bollard::query_parameters::RenameContainerOptionsBuilder::new().name(&new).build();
        docker.rename_container(&old, options).await.unwrap();
        let touch = ["touch", "/tmp/end"].map(str::to_owned);
        let ran = session::run(&*engine, &new, &touch, std::time::Duration::from_secs(60), 100).await.unwrap();
        assert_eq!(ran, Ran::Exited { code: 0, output: Vec::new().into() });
        let pod = house.until_over("named").await;
        assert_eq!(phase_of(&pod), "Succeeded", "{}", tell(Some(&pod)));
        assert_eq!(first(&pod), "main #0: Completed 0, last -");
        assert_eq!(house.log(&object, "main", 0).await, "begun\n");
        house.until_empty().await;
    })
    .await;
}
