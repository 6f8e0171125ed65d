//! Status updates: of Jobs, rule by rule, and of pods, namespaces.

use super::*;

fn status_errors(new: Value, old: Value) -> Vec<String> {
    let (new, old) = (object(new), object(old));
    (new.kind().ops.validate_status_update)(&new, &old).iter().map(ToString::to_string).collect()
}

/// A Job of `spec` whose status goes from one fragment to another, which is laid over it.
#[track_caller]
fn goes(spec: &str, old: &str, new: &str, expected: &[&str]) {
    let before = with(job(), &format!("spec: {{{spec}}}, status: {{{old}}}"));
    let after = with(before.clone(), &format!("status: {{{new}}}"));
    let strip = |line: String| line.strip_prefix("status.").map_or(line.clone(), str::to_owned);
    assert_same(&format!("{old} -> {new}"), status_errors(after, before).into_iter().map(strip).collect(), expected);
}

const RUNNING: &str = "startTime: '2024-01-01T00:00:00Z', active: 1, ready: 0, terminating: 0";
const DONE: &str = "active: 0, completionTime: '2024-01-01T00:01:00Z', conditions: [{type: SuccessCriteriaMet, \
    status: 'True'}, {type: Complete, status: 'True'}]";
const LOST: &str = "active: 0, conditions: [{type: FailureTarget, status: 'True'}, {type: Failed, status: 'True'}]";

fn conditions(kinds: &[&str]) -> String {
    let list: Vec<String> = kinds.iter().map(|kind| format!("{{type: {kind}, status: 'True'}}")).collect();
    format!("conditions: [{}]", list.join(", "))
}

#[test]
fn jobs_end_well() {
    goes("", RUNNING, DONE, &[]);
    goes("", RUNNING, LOST, &[]);
}

#[test]
fn numbers_are_not_negative() {
    goes(
        "",
        RUNNING,
        "active: -1, ready: -2, terminating: -1",
        &[
            "active: Invalid value: -1: must be greater than or equal to 0",
            "ready: Invalid value: -2: must be greater than or equal to 0",
            "terminating: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
}

#[test]
fn uncounted_pods_are_named_once() {
    goes(
        "",
        RUNNING,
        "uncountedTerminatedPods: {succeeded: [a, a], failed: [a, '']}",
        &[
            "uncountedTerminatedPods.succeeded[1]: Duplicate value: \"a\"",
            "uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
            "uncountedTerminatedPods.failed[1]: Invalid value: \"\": must not be empty",
        ],
    );
}

#[test]
fn outcomes_exclude_each_other() {
    let time = "active: 0, completionTime: '2024-01-01T00:01:00Z'";
    goes(
        "",
        RUNNING,
        &format!("{time}, {}", conditions(&["Complete", "SuccessCriteriaMet", "Failed"])),
        &[
            "conditions: Invalid value: cannot set Complete=True and Failed=true conditions",
            "conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
            "conditions: Invalid value: cannot set SuccessCriteriaMet=True and Failed=true conditions",
        ],
    );
    goes(
        "",
        RUNNING,
        &format!("{time}, {}", conditions(&["Complete", "FailureTarget"])),
        &[
            "conditions: Invalid value: cannot set Complete=True and FailureTarget=true conditions",
            "conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ],
    );
    goes(
        "",
        RUNNING,
        &conditions(&["SuccessCriteriaMet", "FailureTarget"]),
        &["conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"],
    );
}

#[test]
fn completion_times_go_with_completion() {
    goes(
        "",
        RUNNING,
        "completionTime: '2024-01-01T00:01:00Z'",
        &["completionTime: Invalid value: 2024-01-01 00:01:00 +0000 UTC: cannot set completionTime when there is no \
         Complete=True condition"],
    );
    goes(
        "",
        RUNNING,
        &format!("active: 0, {}", conditions(&["SuccessCriteriaMet", "Complete"])),
        &["completionTime: Required value: completionTime is required for Complete jobs"],
    );
    goes(
        "",
        RUNNING,
        &DONE.replace("2024-01-01T00:01", "2023-01-01T00:01"),
        &[
            "completionTime: Invalid value: 2023-01-01 00:01:00 +0000 UTC: completionTime cannot be set before startTime",
        ],
    );
    goes(
        "",
        &format!("{}, {DONE}", RUNNING.replace("active: 1, ", "")),
        "completionTime: '2024-01-01T00:02:00Z'",
        &["completionTime: Invalid value: 2024-01-01 00:02:00 +0000 UTC: completionTime cannot be mutated"],
    );
}

#[test]
fn finished_jobs_are_at_rest() {
    goes(
        "",
        RUNNING,
        &LOST.replace("active: 0", "active: 1"),
        &["active: Invalid value: 1: active>0 is invalid for finished job"],
    );
    goes("", "active: 1", LOST, &["startTime: Required value: startTime is required for finished job"]);
    goes(
        "",
        RUNNING,
        &format!("{LOST}, uncountedTerminatedPods: {{failed: [a]}}"),
        &["uncountedTerminatedPods: Invalid value: …"],
    );
    goes(
        "",
        RUNNING,
        &format!("{LOST}, terminating: 1"),
        &["terminating: Invalid value: 1: terminating>0 is invalid for finished job"],
    );
    goes("", RUNNING, "ready: 2", &["ready: Invalid value: 2: cannot set more ready pods than active"]);
}

#[test]
fn what_was_wrong_before_does_not_block_the_rest() {
    goes("", &format!("{RUNNING}, {}", conditions(&["Failed"])), "failed: 1", &[]);
}

#[test]
fn lists_of_indexes_are_checked() {
    let indexed = "completionMode: Indexed, completions: 5, backoffLimitPerIndex: 1";
    goes(indexed, RUNNING, "completedIndexes: '0-2', failedIndexes: '3'", &[]);
    goes(
        indexed,
        RUNNING,
        "completedIndexes: '0,5', failedIndexes: '1-1'",
        &[
            "completedIndexes: Invalid value: \"0,5\": error parsing completedIndexes: too large index: \"5\"",
            "failedIndexes: Invalid value: \"1-1\": error parsing failedIndexes: non-increasing order, previous: 1, \
         current: 1",
        ],
    );
    goes(
        indexed,
        RUNNING,
        "completedIndexes: '0-2', failedIndexes: '2'",
        &["failedIndexes: Invalid value: \"2\": failedIndexes and completedIndexes overlap at index: 2"],
    );
    goes(
        "",
        RUNNING,
        "completedIndexes: '0', failedIndexes: ''",
        &[
            "completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion mode",
            "failedIndexes: Invalid value: \"\": cannot set non-null failedIndexes when backoffLimitPerIndex is null",
        ],
    );
}

#[test]
fn what_is_counted_stays_counted() {
    goes(
        "",
        &format!("{RUNNING}, failed: 2, succeeded: 2"),
        "failed: 1, succeeded: 1",
        &[
            "failed: Invalid value: 1: cannot decrease the failed counter",
            "succeeded: Invalid value: 1: cannot decrease the succeeded counter",
        ],
    );
    let elastic = "completionMode: Indexed, completions: 3, parallelism: 3";
    goes(elastic, &format!("{RUNNING}, succeeded: 2"), "succeeded: 1", &[]);
}

#[test]
fn what_began_stays_begun() {
    goes(
        "",
        RUNNING,
        "startTime: null",
        &["startTime: Required value: startTime cannot be removed for unsuspended job"],
    );
    goes("suspend: true", RUNNING, "startTime: null", &[]);
}

#[test]
fn success_criteria_stay_met() {
    goes(
        "",
        &format!("{RUNNING}, {}", conditions(&["SuccessCriteriaMet"])),
        "conditions: []",
        &["conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition"],
    );
    let policy = "completionMode: Indexed, completions: 3, successPolicy: {rules: [{succeededCount: 1}]}";
    let done = "active: 0, completionTime: '2024-01-01T00:01:00Z', conditions: [{type: Complete, status: 'True'}]";
    goes(
        policy,
        RUNNING,
        done,
        &[
            "conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            "conditions: Invalid value: cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        ],
    );
}

#[test]
fn ended_containers_stay_ended() {
    let state = |policy: &str, state: &str| {
        with(
            pod(),
            &format!(
                "spec: {{restartPolicy: {policy}}}, status: {{containerStatuses: [{{name: main, image: a, imageID: b, \
                 ready: false, restartCount: 0, state: {{{state}}}}}]}}"
            ),
        )
    };
    let running = "running: {startedAt: '2024-01-01T00:00:00Z'}";
    let words = "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
    for (policy, code, expected) in
        [("Never", 1, &[words][..]), ("OnFailure", 1, &[]), ("OnFailure", 0, &[words]), ("Always", 0, &[])]
    {
        let old = state(policy, &format!("terminated: {{exitCode: {code}}}"));
        assert_same(policy, status_errors(state(policy, running), old), expected);
    }
}

#[test]
fn pod_addresses_are_one_of_each_family() {
    let status = |fields: &str| with(pod(), &format!("status: {{{fields}}}"));
    for (fields, expected) in [
        ("podIPs: [{ip: 10.0.0.1}, {ip: '::1'}]", &[][..]),
        ("podIPs: [{ip: x}]", &["status.podIPs[0]: Invalid value: \"x\": must be a valid IP address,…"]),
        ("podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]", &["status.podIPs: Invalid value: …"]),
        (
            "hostIP: 10.0.0.1, hostIPs: [{ip: 10.0.0.2}]",
            &["status.hostIPs[0].ip: Invalid value: \"10.0.0.2\": must be equal to `hostIP`"],
        ),
        (
            "conditions: [{type: 'a b', status: 'True'}]",
            &["metadata.conditions[0].Type: Invalid value: \"a b\": name…"],
        ),
    ] {
        assert_same(fields, status_errors(status(fields), pod()), expected);
    }
}
