//! Command lines and manifests that are wrong, and machines that lack something: what is told, and the exit code.

use expect_test::{Expect, expect};

use crate::support::cli::{Place, Running, job};

/// Runs `jobdock run` on one file and expects a refusal with 2 and this text.
#[track_caller]
fn refused(text: &str, expected: Expect) {
    let place = Place::fake();
    place.file("job.yaml", text);
    let ended = place.jobdock(&["run", "job.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
    expected.assert_eq(&ended.stderr);
    assert!(!place.data().exists(), "nothing was started");
}

#[test]
fn a_file_that_is_not_there() {
    let place = Place::fake();
    let ended = place.jobdock(&["run", "no.yaml", "neither.yaml"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    expect![[r#"
        error: no.yaml: cannot be read: No such file or directory (os error 2)
        error: neither.yaml: cannot be read: No such file or directory (os error 2)
    "#]]
    .assert_eq(&ended.stderr);
}

#[test]
fn a_manifest_without_a_job() {
    refused(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
        expect![[r#"
            error: job.yaml: no Job in it: there is nothing to run
        "#]],
    );
}

#[test]
fn every_problem_of_every_object_is_told_at_once() {
    refused(
        "\
apiVersion: batch/v1
kind: Job
metadata: {name: hello}
spec:
  paralelism: 3
  backoffLimit: many
  template:
    spec:
      restartPolicy: Never
      restartPolicy: Never
      containers:
        - name: main
          image: busybox:1.36
          resources: {limits: {memory: lots}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
---
kind: Job
",
        expect![[r#"
            error: job.yaml:5: Job hello: spec.paralelism: unknown field; did you mean parallelism?
            error: job.yaml:6: Job hello: spec.backoffLimit: wrong type: "many"; allowed is a whole number between -2147483648 and 2147483647
            error: job.yaml:10: Job hello: spec.template.spec.restartPolicy: the field stands twice
            error: job.yaml:14: Job hello: spec.template.spec.containers[0].resources.limits.memory: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$': "lots"; allowed is a quantity such as 500m, 2, 64Mi or 1Gi
            error: job.yaml:15: no matches for kind "Deployment" in version "apps/v1": `run` takes Namespace, ConfigMap, Secret, ServiceAccount, PersistentVolumeClaim, Service and Job
            error: job.yaml:19: a Pod is not for `run`: `run` takes Namespace, ConfigMap, Secret, ServiceAccount, PersistentVolumeClaim, Service and Job
            error: job.yaml:23: Object 'apiVersion' is missing: `run` takes Namespace, ConfigMap, Secret, ServiceAccount, PersistentVolumeClaim, Service and Job
        "#]],
    );
}

#[test]
fn a_text_that_is_no_yaml_is_shown_with_its_place() {
    refused(
        "a: b\n c: [\n",
        expect![[r#"
        error: job.yaml:2:3: yaml: line 2: mapping values are not allowed in this context
           2 |  c: [
             |   ^
    "#]],
    );
}

#[test]
fn the_same_name_twice() {
    let text = job("one", "", "true");
    refused(
        &format!("{text}---\n{text}"),
        expect![[r#"
        error: job.yaml:15: Job one is defined twice, first in job.yaml:1
    "#]],
    );
}

#[test]
fn a_namespace_that_is_not_the_one_asked_for() {
    let place = Place::fake();
    place.file("job.yaml", &job("one", "", "true").replace("{name: one}", "{name: one, namespace: a}"));
    let ended = place.jobdock(&["run", "-n", "b", "job.yaml"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    expect![[r#"
        error: job.yaml:1: Job one is in namespace "a", and --namespace asks for "b": leave out one
    "#]]
    .assert_eq(&ended.stderr);
}

#[test]
fn an_exit_code_from_a_container_that_is_not_there() {
    let place = Place::fake();
    place.file("job.yaml", &job("one", "", "true"));
    let ended = place.jobdock(&["run", "--exit-code-from", "mian", "job.yaml"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(ended.stderr, "error: --exit-code-from mian: Job one has no such container; it has main\n");
}

#[test]
fn an_exit_code_from_a_job_of_many_pods() {
    let place = Place::fake();
    place.file("job.yaml", &job("many", "completions: 3", "true"));
    let ended = place.jobdock(&["run", "--exit-code-from", "main", "job.yaml"]);
    assert_eq!(ended.stderr, "error: --exit-code-from main: Job many runs several pods\n");
}

#[test]
fn no_engine_is_told_with_what_was_tried() {
    let place = Place::docker();
    place.file("job.yaml", &job("one", "", "true"));
    let ended = place.jobdock(&["run", "--host", "unix:///nonexistent/docker.sock", "job.yaml"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("/nonexistent/docker.sock"), "{ended:?}");
}

#[test]
fn an_unknown_flag_is_a_usage_error() {
    assert_eq!(Place::fake().jobdock(&["run", "--no-such-flag"]).code, 2);
    assert_eq!(Place::fake().jobdock(&["run"]).code, 2);
}

#[test]
fn thresholds_of_images_that_make_no_sense() {
    let place = Place::fake();
    let ended = place.jobdock(&["serve", "--image-gc-high-threshold", "70"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    expect![[r#"
        error: --image-gc-low-threshold 80 must be less than --image-gc-high-threshold 70
    "#]]
    .assert_eq(&ended.stderr);
    let ended = place.jobdock(&["serve", "--image-gc-high-threshold", "101"]);
    assert!(ended.code == 2 && ended.stderr.contains("101 is not in 0..=100"), "{ended:?}");
}

#[test]
fn a_directory_of_somebody_else_is_refused_and_left_alone() {
    let place = Place::fake();
    place.file("job.yaml", &job("one", "", "true"));
    place.file("theirs/mine", "");
    let theirs = place.path().join("theirs");
    let ended = place.jobdock(&["run", "--data-dir", "theirs", "job.yaml"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    let words = format!("error: {} is not empty and no jobdock data directory", theirs.display());
    assert!(ended.stderr.starts_with(&words), "{ended:?}");
    assert_eq!(std::fs::read_dir(theirs).unwrap().count(), 1);
}

#[test]
fn a_data_directory_that_is_none_is_told_as_that() {
    let place = Place::fake();
    place.file("job.yaml", &job("one", "", "true"));
    let ended = place.jobdock(&["run", "--data-dir", "/dev/null", "job.yaml"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.starts_with("error: data directory /dev/null: Not a directory"), "{ended:?}");
    let kubeconfig = place.jobdock(&["kubeconfig", "--data-dir", "/dev/null"]);
    assert_eq!((kubeconfig.code, kubeconfig.stderr), (2, ended.stderr));
}

#[test]
fn the_problems_stand_in_the_json_too() {
    let ended = Place::fake().jobdock(&["run", "--output", "json", "no.yaml", "neither.yaml"]);
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &told["exitCode"]), (2, &2.into()), "{ended:?}");
    assert_eq!(told["errors"].as_array().unwrap().len(), 2, "{ended:?}");
    assert!(told["errors"][0].as_str().unwrap().starts_with("no.yaml: "), "{ended:?}");
}

#[test]
fn a_version_of_before_is_told_with_the_one_of_today() {
    refused(
        &job("one", "", "true").replace("batch/v1", "batch/v1beta1"),
        expect![[r#"
            error: job.yaml:1: no matches for kind "Job" in version "batch/v1beta1": write `apiVersion: batch/v1`
        "#]],
    );
}

#[test]
fn a_wrong_value_is_blamed_on_the_variable_that_it_comes_from() {
    let place = Place::fake();
    let mut command = place.command(&["run", "job.yaml"]);
    let ended = Running::of({
        command.env("JOBDOCK_RUNTIME", "dokcer");
        command
    })
    .end();
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.starts_with("the variable JOBDOCK_RUNTIME is set:\n"), "{ended:?}");
    let ended = place.jobdock(&["run", "--runtime=dokcer", "job.yaml"]);
    assert!(ended.code == 2 && ended.stderr.starts_with("error: "), "{ended:?}");
}

#[test]
fn an_address_in_use_is_told_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Place::fake().jobdock(&["serve", "--listen", &address]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(ended.stderr.matches("cannot listen on").count(), 1, "{ended:?}");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let place = Place::fake();
    place.file("job.yaml", &job("one", "", "echo lost"));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = place.command(&["run", "job.yaml"]).stdout(full).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("error: output is lost: it cannot be written: No space left on device"), "{told}");
}
