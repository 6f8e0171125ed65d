//! The texts and codes at the end of a run.

use expect_test::{Expect, expect};
use jiff::SignedDuration;

use super::{Ending, JobReport, Rule, Verdict, duration, exit_code, rule};
use crate::cli::run::pods::FailedPod;
use crate::cli::run::warnings::Warning;

fn report(result: Verdict) -> JobReport {
    JobReport {
        namespace: "default".to_owned(),
        name: "hello".to_owned(),
        uid: "u".to_owned(),
        result,
        condition: Ending::default(),
        failure_policy_rule: None,
        completions: Some(5),
        succeeded: 5,
        failed: 0,
        duration: SignedDuration::from_millis(4230),
        failed_pods: Vec::new(),
        failed_pods_omitted: 0,
        warnings: Vec::new(),
    }
}

fn ended(reason: &str, message: &str) -> Ending {
    Ending { condition: Some("Failed".to_owned()), reason: reason.to_owned(), message: message.to_owned() }
}

#[track_caller]
fn check(report: &JobReport, expected: Expect) {
    expected.assert_eq(&report.summary(false));
}

#[test]
fn a_complete_job_takes_one_line() {
    check(
        &report(Verdict::Complete),
        expect![[r#"
            ✔ Job default/hello complete in 4.2s: 5/5 succeeded
        "#]],
    );
}

#[test]
fn a_retried_pod_is_told_though_the_job_completed() {
    let pod = FailedPod {
        name: "hello-2-x7k2p".to_owned(),
        index: Some("2".to_owned()),
        container: Some("main".to_owned()),
        exit_code: Some(1),
        reason: Some("Error".to_owned()),
        last_lines: vec!["attempt 0: giving up".to_owned()],
        ..FailedPod::default()
    };
    check(
        &JobReport { failed: 1, failed_pods: vec![pod], ..report(Verdict::Complete) },
        expect![[r#"
            ✔ Job default/hello complete in 4.2s: 5/5 succeeded, 1 failed
              pod hello-2-x7k2p (index 2) failed: container main exited with 1 (Error)
                | attempt 0: giving up
        "#]],
    );
}

#[test]
fn a_failure_policy_names_its_rule() {
    let condition = ended(
        "PodFailurePolicy",
        "Container main for pod default/hello-abcde failed with exit code 42 matching FailJob rule at index 0",
    );
    let failure_policy_rule = rule(&condition);
    check(
        &JobReport {
            condition,
            failure_policy_rule,
            completions: None,
            succeeded: 0,
            failed: 1,
            ..report(Verdict::Failed)
        },
        expect![[r#"
            ✘ Job default/hello failed in 4.2s: 0 succeeded, 1 failed
              reason: PodFailurePolicy: Container main for pod default/hello-abcde failed with exit code 42 matching FailJob rule at index 0
              podFailurePolicy: rule 0 (FailJob) matched: container main exited with 42 in pod default/hello-abcde
        "#]],
    );
}

#[test]
fn control_characters_of_a_message_do_not_reach_the_terminal() {
    check(
        &JobReport { condition: ended("Odd", "a\nb\x1b[2Jc\x07"), ..report(Verdict::Failed) },
        expect![[r#"
            ✘ Job default/hello failed in 4.2s: 5/5 succeeded
              reason: Odd: a bc^G
        "#]],
    );
}

#[test]
fn failed_pods_that_are_not_listed_are_counted() {
    check(
        &JobReport { failed_pods_omitted: 7, ..report(Verdict::Interrupted) },
        expect![[r#"
            ✘ Job default/hello interrupted: deleted after 4.2s: 5/5 succeeded
              7 more failed before those
        "#]],
    );
}

#[test]
fn the_json_has_the_same_facts() {
    let report = JobReport {
        condition: ended("BackoffLimitExceeded", "Job has reached the specified backoff limit"),
        warnings: vec![Warning {
            kind: "Pod".to_owned(),
            name: "hello-x7k2p".to_owned(),
            reason: "FieldNotHonoured".to_owned(),
            message: "runtimeClassName".to_owned(),
        }],
        ..report(Verdict::Failed)
    };
    expect![[r#"
        {
          "namespace": "default",
          "name": "hello",
          "uid": "u",
          "result": "Failed",
          "condition": {
            "type": "Failed",
            "reason": "BackoffLimitExceeded",
            "message": "Job has reached the specified backoff limit"
          },
          "completions": 5,
          "succeeded": 5,
          "failed": 0,
          "durationSeconds": 4.23,
          "failedPods": [],
          "failedPodsOmitted": 0,
          "warnings": [
            {
              "kind": "Pod",
              "name": "hello-x7k2p",
              "reason": "FieldNotHonoured",
              "message": "runtimeClassName"
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&report).unwrap());
}

#[test]
fn a_rule_about_a_pod_condition_is_read() {
    assert_eq!(
        rule(&ended("PodFailurePolicy", "Pod ns/x has condition DisruptionTarget matching FailJob rule at index 3")),
        Some(Rule {
            index: 3,
            action: "FailJob".to_owned(),
            pod: "ns/x".to_owned(),
            condition: Some("DisruptionTarget".to_owned()),
            ..Rule::default()
        })
    );
}

#[test]
fn other_reasons_and_other_texts_have_no_rule() {
    assert_eq!(rule(&ended("BackoffLimitExceeded", "x matching FailJob rule at index 0")), None);
    assert_eq!(rule(&ended("PodFailurePolicy", "something new")), None);
}

#[track_caller]
fn check_code(verdicts: &[Verdict], expected: u8) {
    let reports: Vec<JobReport> = verdicts.iter().map(|verdict| report(*verdict)).collect();
    assert_eq!(exit_code(&reports), expected);
}

#[test]
fn all_complete_is_zero() {
    check_code(&[Verdict::Complete, Verdict::Complete], 0);
}

#[test]
fn one_failed_is_one() {
    check_code(&[Verdict::Complete, Verdict::Failed], 1);
    check_code(&[Verdict::NeverStarted], 1);
    check_code(&[Verdict::Deleted], 1);
}

#[test]
fn a_timeout_is_124_and_an_interrupt_130() {
    check_code(&[Verdict::Failed, Verdict::TimedOut], 124);
    check_code(&[Verdict::TimedOut, Verdict::Interrupted], 130);
}

#[test]
fn durations_are_short() {
    let text = |seconds: i64| duration(SignedDuration::from_secs(seconds));
    assert_eq!([text(0), text(59), text(60), text(3_661)], ["0.0s", "59.0s", "1m00s", "1h01m"]);
    assert_eq!(duration(SignedDuration::from_millis(-5)), "0.0s");
}
