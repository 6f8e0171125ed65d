//! `jobdock run` on the real engine, where it matters that a container is really gone, killed, or never there.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::cli::{Place, job, until};
use crate::support::daemon::Daemon;
use crate::support::image;

/// Names of the containers of a namespace's pods; each test has a namespace of its own.
fn containers(namespace: &str) -> Vec<String> {
    listed(namespace, &["--all"])
}

/// How many of them run.
fn running(namespace: &str) -> usize {
    listed(namespace, &[]).len()
}

fn listed(namespace: &str, which: &[&str]) -> Vec<String> {
    let filter = format!("label=io.jobdock.pod.namespace={namespace}");
    let arguments = ["ps", "--filter", &filter, "--format", "{{.Names}}"];
    let output = Command::new("docker").args(arguments).args(which).output();
    let output = output.expect("these tests need the docker command");
    assert!(output.status.success(), "these tests need a Docker engine: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A namespace that no other run of the tests uses.
fn namespace(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

/// A Job that runs on the tests' image.
fn manifest(name: &str, spec: &str, script: &str) -> String {
    let image = format!("image: {}\n          imagePullPolicy: IfNotPresent", image::NAME);
    job(name, spec, script).replace("image: busybox:1.36", &image)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_leaves_no_container_behind() {
    image::ensure().await.unwrap();
    let (place, namespace) = (Place::docker(), namespace("interrupt"));
    let script = "trap 'echo goodbye; exit 0' TERM\necho up\nwhile true; do sleep 0.1; done";
    place.file("job.yaml", &manifest("long", "completions: 2\nparallelism: 2", script));
    let running = place.start(&["run", "-n", &namespace, "job.yaml"]);
    running.says("| up");
    running.signal(Signal::SIGINT);
    let ended = running.end();
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(ended.stdout.contains("| goodbye"), "the pods were asked to end: {ended:?}");
    assert_eq!(containers(&namespace), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_kills_pods_that_do_not_listen() {
    image::ensure().await.unwrap();
    let (place, namespace) = (Place::docker(), namespace("kill"));
    let text = manifest("deaf", "", "trap '' TERM\necho up\nwhile true; do sleep 0.1; done");
    let patient = "      terminationGracePeriodSeconds: 3600\n      restartPolicy";
    place.file("job.yaml", &text.replace("      restartPolicy", patient));
    let running = place.start(&["run", "-n", &namespace, "job.yaml"]);
    running.says("| up");
    running.signal(Signal::SIGINT);
    running.says("interrupt again to kill them");
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal(Signal::SIGINT);
    assert_eq!(running.end().code, 130);
    assert_eq!(containers(&namespace), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_container_is_ignored_where_the_policy_says_so() {
    image::ensure().await.unwrap();
    let (place, namespace) = (Place::docker(), namespace("ignore"));
    let marks = place.path().join("marks");
    std::fs::create_dir(&marks).unwrap();
    let policy = "backoffLimit: 0\npodFailurePolicy:\n  rules:\n    - {action: Ignore, onExitCodes: {operator: In, values: [137]}}";
    let script = "[ -e /marks/second ] && { echo done; exit 0; }\ntouch /marks/second\necho up\nsleep 600";
    let mount = format!("volumes: [{{name: marks, hostPath: {{path: {}}}}}]", marks.display());
    let text = manifest("ignored", policy, script)
        .replace("      restartPolicy", &format!("      {mount}\n      restartPolicy"))
        .replace(
            "          command:",
            "          volumeMounts: [{name: marks, mountPath: /marks}]\n          command:",
        );
    place.file("job.yaml", &text);
    let running = place.start(&["run", "-n", &namespace, "job.yaml"]);
    running.says("| up");
    let killed = Command::new("docker").arg("kill").args(containers(&namespace)).output().unwrap();
    assert!(killed.status.success(), "{killed:?}");
    let ended = running.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("| done"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_is_taken_up_by_the_next() {
    image::ensure().await.unwrap();
    let (place, namespace) = (Place::docker(), namespace("adopt"));
    place.file("first.yaml", &manifest("first", "", "echo up\nsleep 3\necho first is done"));
    place.file("second.yaml", &manifest("second", "", "sleep 6"));
    let first = place.start(&["run", "-n", &namespace, "first.yaml"]);
    first.says("| up");
    let before = containers(&namespace);
    first.signal(Signal::SIGKILL);
    first.end();
    assert_eq!(containers(&namespace), before, "the container runs on");
    let second = place.jobdock(&["run", "-n", &namespace, "second.yaml"]);
    assert_eq!(second.code, 0, "{second:?}");
    let again = place.jobdock(&["run", "-n", &namespace, "first.yaml"]);
    assert!(again.stderr.contains("has run already and is Complete"), "{again:?}");
    until("its container to be put away", || containers(&namespace).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_leaves_containers_running_unless_it_is_told_to_stop_them() {
    image::ensure().await.unwrap();
    for (flag, left) in [(None, 1), (Some("--stop-pods-on-exit"), 0)] {
        let (place, namespace) = (Place::docker(), namespace(&format!("exit{left}")));
        let flags: Vec<&str> = ["--backoff-base", "100ms"].into_iter().chain(flag).collect();
        let mut daemon = Daemon::start(&place.data(), &flags).unwrap();
        daemon.kubeconfig().unwrap();
        let text = manifest("long", "", "trap 'exit 0' TERM\nwhile true; do sleep 0.1; done");
        // A signal before the trap is set is ignored, and would cost the whole grace period.
        let hasty = "      terminationGracePeriodSeconds: 1\n      restartPolicy";
        place.file("job.yaml", &text.replace("      restartPolicy", hasty));
        assert_eq!(place.jobdock(&["run", "-d", "-n", &namespace, "job.yaml"]).code, 0);
        until("the container to run", || running(&namespace) == 1);
        daemon.stop().unwrap();
        assert_eq!(containers(&namespace).len(), left);
        daemon.restart().unwrap();
        until("the Job to have a container again", || running(&namespace) == 1);
        assert_eq!(place.jobdock(&["run", "--replace", "--timeout", "100ms", "-n", &namespace, "job.yaml"]).code, 124);
        assert_eq!(containers(&namespace), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_can_never_start_do_not_hang_a_build() {
    image::ensure().await.unwrap();
    let place = Place::docker();
    let namespace = namespace("never");
    place.file("image.yaml", &job("image", "", "true").replace("busybox:1.36", "localhost:1/no/such:1"));
    let mount = "volumes: [{name: v, configMap: {name: nowhere}}]";
    let text =
        manifest("config", "", "true").replace("      restartPolicy", &format!("      {mount}\n      restartPolicy"));
    place.file("config.yaml", &text);
    let key = "env: [{name: A, valueFrom: {secretKeyRef: {name: nowhere, key: a}}}]\n          command:";
    place.file("secret.yaml", &manifest("secret", "", "true").replace("command:", key));
    let ended = place.jobdock(&["run", "-n", &namespace, "image.yaml", "config.yaml", "secret.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    for words in ["ErrImagePull", r#"configmap "nowhere" not found"#, r#"secret "nowhere" not found"#] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    assert_eq!(ended.stderr.matches("cannot start: deleted after").count(), 3, "{ended:?}");
    assert_eq!(containers(&namespace), Vec::<String>::new());
}
