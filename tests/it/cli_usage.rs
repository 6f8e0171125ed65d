//! Command lines and manifests that are wrong, and machines that lack something: what is told, and the exit code.

use expect_test::{Expect, expect};

use crate::support::cli::{Place, job};

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
        error: job.yaml:15: Job one stands a second time, first in job.yaml:1
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
