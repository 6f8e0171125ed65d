//! `jobdock plan`: the decision without a daemon, for programs and for people.

use std::io::Write as _;

use anyhow::{Context, Result};
use expect_test::{Expect, expect};

use crate::support::daemon::jobdock;

const POLICY: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: told}
spec:
  podFailurePolicy:
    rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget}]
    - action: FailJob
      onExitCodes: {containerName: main, operator: In, values: [42]}
    - action: Count
      onExitCodes: {operator: NotIn, values: [1]}
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: main, image: busybox}
      - {name: side, image: busybox}
";

/// Standard output and standard error of `jobdock plan` on this text.
fn plan(text: &str, arguments: &[&str]) -> Result<String> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    file.write_all(text.as_bytes())?;
    let output = jobdock().arg("plan").arg(file.path()).args(arguments).output()?;
    Ok(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?)
}

#[track_caller]
fn check(arguments: &[&str], expected: Expect) {
    expected.assert_eq(&plan(POLICY, arguments).expect("the command runs"));
}

#[test]
fn the_rule_that_matches_is_named_and_why_the_others_did_not() {
    check(
        &["--exit", "main=42"],
        expect![[r#"
        rule 0 (Ignore) does not match: it asks for the condition DisruptionTarget=True, the pod has none
        rule 1 matches: FailJob: it asks for an exit code of container main in [42]; main exited with 42
        rule 2 (Count) is not looked at: rule 1 came first
        the failure counts
        the Job gets the condition FailureTarget: PodFailurePolicy: Container main for pod default/told-pod failed with exit code 42 matching FailJob rule at index 1
    "#]],
    );
    check(
        &["--exit", "42", "--condition", "DisruptionTarget"],
        expect![[r#"
        rule 0 matches: Ignore: it asks for the condition DisruptionTarget=True, the pod has DisruptionTarget=True
        rule 1 (FailJob) is not looked at: rule 0 came first
        rule 2 (Count) is not looked at: rule 0 came first
        the failure does not count
        the Job goes on: the next pod is created after the back-off of 10s
    "#]],
    );
    check(
        &["--exit", "1"],
        expect![[r#"
        rule 0 (Ignore) does not match: it asks for the condition DisruptionTarget=True, the pod has none
        rule 1 (FailJob) does not match: it asks for an exit code of container main in [42]; main exited with 1
        rule 2 (Count) does not match: it asks for an exit code not in [1]; main exited with 1, side exited with 0 (0 never matches)
        no rule matches
        the failure counts
        the Job goes on: the next pod is created after the back-off of 10s
    "#]],
    );
    check(
        &["--exit", "side=7"],
        expect![[r#"
        rule 0 (Ignore) does not match: it asks for the condition DisruptionTarget=True, the pod has none
        rule 1 (FailJob) does not match: it asks for an exit code of container main in [42]; main exited with 0 (0 never matches)
        rule 2 matches: Count: it asks for an exit code not in [1]; main exited with 0 (0 never matches), side exited with 7
        the failure counts
        the Job goes on: the next pod is created after the back-off of 10s
    "#]],
    );
}

#[test]
fn a_pod_that_ends_well_completes_the_job() {
    check(
        &[],
        expect![[r#"
        the pod succeeds: every container exited with 0 and no condition was given
        the Job gets the condition SuccessCriteriaMet: CompletionsReached: Reached expected number of succeeded pods
    "#]],
    );
}

#[test]
fn a_container_that_is_not_there_is_refused() {
    check(
        &["--exit", "nope=3"],
        expect![[r#"
        error: --exit nope: the pod has no such container; it has main, side
    "#]],
    );
}

#[test]
fn a_case_is_answered_with_the_keys_of_the_parity_samples() -> Result<()> {
    let case = include_str!("../samples/policy/cases/pfp-first-matching-rule-wins.yaml");
    let answer: serde_json::Value = serde_json::from_str(&plan(case, &[])?).context("the answer is JSON")?;
    for key in ["pods", "decision", "podsCreated", "podsDeleted", "finalizersRemoved", "finalStatus"] {
        assert!(answer.get(key).is_some(), "{key} is missing in {answer}");
    }
    Ok(())
}

#[test]
fn what_is_neither_a_case_nor_a_job_is_refused() -> Result<()> {
    let told = plan("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", &[])?;
    assert!(told.contains("no Job in it"), "{told}");
    Ok(())
}
