//! `jobdock run` as a person or a build sees it, on the fake runtime: exit codes, streams, texts.

use crate::support::cli::{Place, job};

/// Lines of pod output without the pod's name, sorted.
fn output(stdout: &str) -> Vec<&str> {
    let mut lines: Vec<&str> =
        stdout.lines().map(|line| line.split_once(" | ").map_or(line, |(_, text)| text)).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_job_that_completes_streams_its_output_and_exits_with_0() {
    let place = Place::fake();
    place.file("job.yaml", &job("hello", "completions: 2\nparallelism: 2", "echo one; echo two"));
    let ended = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(output(&ended.stdout), ["one", "one", "two", "two"]);
    assert!(ended.stdout.lines().all(|line| line.starts_with("hello-")), "{ended:?}");
    assert!(ended.stderr.contains("Job default/hello complete in "), "{ended:?}");
    assert!(ended.stderr.contains("2/2 succeeded"), "{ended:?}");
}

#[test]
fn a_job_that_fails_tells_why_and_exits_with_1() {
    let place = Place::fake();
    place.file("job.yaml", &job("bad", "backoffLimit: 1", "echo about to fail; exit 3"));
    let ended = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("reason: BackoffLimitExceeded: Job has reached the specified backoff limit"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("container main exited with 3 (Error)"), "{ended:?}");
    assert!(ended.stderr.contains("    | about to fail"), "{ended:?}");
}

const FAIL_ON_42: &str = "\
backoffLimit: 6
podFailurePolicy:
  rules:
    - {action: FailJob, onExitCodes: {containerName: main, operator: In, values: [42]}}
    - {action: Ignore, onExitCodes: {operator: In, values: [137]}}";

#[test]
fn a_failure_policy_that_fails_the_job_is_named_with_its_rule() {
    let place = Place::fake();
    place.file("job.yaml", &job("policy", FAIL_ON_42, "exit 42"));
    let ended = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("podFailurePolicy: rule 0 (FailJob) matched: container main exited with 42"),
        "{ended:?}"
    );
}

#[test]
fn the_exit_code_of_a_container_is_handed_on() {
    let place = Place::fake();
    place.file("job.yaml", &job("code", "backoffLimit: 0", "exit 42"));
    assert_eq!(place.jobdock(&["run", "--exit-code-from", "main", "job.yaml"]).code, 42);
    assert_eq!(place.jobdock(&["run", "--replace", "job.yaml"]).code, 1);
}

#[test]
fn a_timeout_deletes_the_job_and_exits_with_124() {
    let place = Place::fake();
    place.file("job.yaml", &job("slow", "", "sleep 600"));
    let ended = place.jobdock(&["run", "--timeout", "1s", "job.yaml"]);
    assert_eq!(ended.code, 124, "{ended:?}");
    assert!(ended.stderr.contains("--timeout 1s has passed"), "{ended:?}");
    let again = place.jobdock(&["run", "--timeout", "1s", "job.yaml"]);
    assert_eq!(again.code, 124, "nothing is in the way: {again:?}");
}

/// It takes the 40 s after which such a pod is given up.
#[test]
fn a_timeout_ends_a_job_whose_pods_wait_for_a_node_that_is_not_there() {
    let place = Place::fake();
    let text = job("stray", "", "sleep 600").replace("restartPolicy:", "nodeName: elsewhere\n      restartPolicy:");
    place.file("job.yaml", &text);
    let ended = place.jobdock(&["run", "--timeout", "1s", "job.yaml"]);
    assert_eq!(ended.code, 124, "{ended:?}");
}

#[test]
fn a_timeout_is_124_where_the_first_failed_pod_would_fail_the_job() {
    let place = Place::fake();
    place.file("job.yaml", &job("slow", "backoffLimit: 0", "sleep 600"));
    let ended = place.jobdock(&["run", "--timeout", "1s", "job.yaml"]);
    assert_eq!(ended.code, 124, "{ended:?}");
    assert!(ended.stderr.contains("Job default/slow timed out: deleted after"), "{ended:?}");
    assert!(!ended.stderr.contains("backoff limit"), "{ended:?}");
}

#[test]
fn several_jobs_end_with_the_worst_of_them() {
    let place = Place::fake();
    place.file("jobs/a.yaml", &job("good", "", "echo fine"));
    place.file("jobs/b.yaml", &job("bad", "backoffLimit: 0", "exit 1"));
    let ended = place.jobdock(&["run", "jobs"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("✔ Job default/good complete"), "{ended:?}");
    assert!(ended.stderr.contains("✘ Job default/bad failed"), "{ended:?}");
}

#[test]
fn a_generated_name_can_be_run_again_and_again() {
    let place = Place::fake();
    let text = job("x", "", "echo from stdin").replace("{name: x}", "{generateName: made-}");
    for _ in 0..2 {
        let ended = place.with_stdin(&["run", "-"], &text);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.starts_with("made-"), "{ended:?}");
    }
}

#[test]
fn a_finished_job_is_run_again_only_with_replace() {
    let place = Place::fake();
    place.file("job.yaml", &job("once", "", "echo ran"));
    assert_eq!(place.jobdock(&["run", "job.yaml"]).code, 0);
    let refused = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("has run already and is Complete: run it again with --replace"), "{refused:?}");
    assert_eq!(refused.stdout, "");
    let replaced = place.jobdock(&["run", "--replace", "job.yaml"]);
    assert_eq!((replaced.code, output(&replaced.stdout)), (0, vec!["ran"]), "{replaced:?}");
}

#[test]
fn what_a_job_needs_is_created_before_it() {
    let place = Place::fake();
    let needs = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words}\ndata: {word: from-the-map}\n---\n";
    let job = job("reads", "", "echo $WORD").replace(
        "          command:",
        "          env: [{name: WORD, valueFrom: {configMapKeyRef: {name: words, key: word}}}]\n          command:",
    );
    place.file("job.yaml", &format!("{job}---\n{needs}"));
    let ended = place.jobdock(&["run", "job.yaml"]);
    assert_eq!((ended.code, output(&ended.stdout)), (0, vec!["from-the-map"]), "{ended:?}");
    place.file("job.yaml", &format!("{job}---\n{}", needs.replace("from-the-map", "changed")));
    let again = place.jobdock(&["run", "--replace", "job.yaml"]);
    assert_eq!((again.code, output(&again.stdout)), (0, vec!["changed"]), "{again:?}");
}

#[test]
fn a_namespace_that_is_missing_is_made() {
    let place = Place::fake();
    place.file("job.yaml", &job("far", "", "echo hi"));
    let ended = place.jobdock(&["run", "-n", "team-a", "job.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("Job team-a/far complete"), "{ended:?}");
}

#[test]
fn json_stands_alone_on_standard_output() {
    let place = Place::fake();
    place.file("job.yaml", &job("bad", "backoffLimit: 0", "echo words; exit 7"));
    let ended = place.jobdock(&["run", "--output", "json", "job.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let result: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["exitCode"], 1);
    assert_eq!(result["jobs"][0]["result"], "Failed");
    assert_eq!(result["jobs"][0]["failedPods"][0]["exitCode"], 7);
    assert_eq!(result["jobs"][0]["failedPods"][0]["lastLines"][0], "words");
    assert!(ended.stderr.contains(" | words"), "{ended:?}");
}

#[test]
fn quiet_is_pod_output_and_nothing_else() {
    let place = Place::fake();
    place.file("job.yaml", &job("hello", "", "echo only this"));
    let ended = place.jobdock(&["run", "--quiet", "job.yaml"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert_eq!(output(&ended.stdout), ["only this"]);
}

#[test]
fn without_a_terminal_there_are_no_control_characters() {
    let place = Place::fake();
    place.file("job.yaml", &job("hello", "backoffLimit: 0", "printf '\\033[31mred\\033[0m \\007 bell\\n'; exit 1"));
    let ended = place.jobdock(&["run", "job.yaml"]);
    for text in [&ended.stdout, &ended.stderr] {
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{ended:?}");
    }
}

#[test]
fn a_thousand_lines_of_many_short_pods_are_each_shown_once() {
    let place = Place::fake();
    let script = "echo $JOB_COMPLETION_INDEX a; echo $JOB_COMPLETION_INDEX b; echo $JOB_COMPLETION_INDEX c";
    place.file("job.yaml", &job("many", "completionMode: Indexed\ncompletions: 300\nparallelism: 40", script));
    let ended = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut expected: Vec<String> = (0..300).flat_map(|n| ["a", "b", "c"].map(|word| format!("{n} {word}"))).collect();
    expected.sort_unstable();
    assert_eq!(output(&ended.stdout), expected);
}

#[test]
fn a_pod_whose_image_cannot_be_had_does_not_hang_the_run() {
    let place = Place::fake();
    place.file(
        "job.yaml",
        &job("stuck", "", "echo never").replace("busybox:1.36", "missing:1\n          imagePullPolicy: Never"),
    );
    let ended = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("Job default/stuck cannot start: deleted after"), "{ended:?}");
    assert!(ended.stderr.contains("ErrImageNeverPull"), "{ended:?}");
}

#[test]
fn a_job_whose_account_is_missing_does_not_hang_the_run_in_silence() {
    let place = Place::fake();
    let text =
        job("stuck", "", "echo never").replace("restartPolicy:", "serviceAccountName: pipeline\n      restartPolicy:");
    place.file("job.yaml", &text);
    let run = place.start(&["run", "job.yaml"]);
    run.says("warning: Job stuck: FailedCreate: Error creating: pods \"stuck-\" is forbidden");
    run.says("a pod can never start: deleting Job stuck");
    let ended = run.end();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("serviceaccount \"pipeline\" not found (for 30 s)"), "{ended:?}");
}

/// A field that pods run without.
fn with_a_field_that_has_no_effect() -> String {
    job("plain", "completions: 3\nparallelism: 3", "echo ran")
        .replace("image: busybox:1.36", "image: busybox:1.36\n          securityContext: {seLinuxOptions: {level: s0}}")
}

#[test]
fn a_field_that_has_no_effect_is_told() {
    let place = Place::fake();
    place.file("job.yaml", &with_a_field_that_has_no_effect());
    let ended = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let words =
        ": FieldNotHonoured: spec.containers[0].securityContext.seLinuxOptions is not fully honoured: the engine";
    assert_eq!(ended.stderr.matches(words).count(), 1, "once for all its pods: {ended:?}");
    assert!(ended.stderr.contains("warning: pod plain-"), "{ended:?}");
    let quiet = place.jobdock(&["run", "--quiet", "--replace", "job.yaml"]);
    assert_eq!((quiet.code, quiet.stderr.contains("warning:")), (0, false), "{quiet:?}");
}

#[test]
fn a_field_that_has_no_effect_is_in_the_json() {
    let place = Place::fake();
    place.file("job.yaml", &with_a_field_that_has_no_effect());
    let ended = place.jobdock(&["run", "--output", "json", "job.yaml"]);
    let result: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["jobs"][0]["warnings"][0]["reason"], "FieldNotHonoured", "{ended:?}");
    assert_eq!(result["jobs"][0]["warnings"].as_array().unwrap().len(), 1, "{ended:?}");
}
