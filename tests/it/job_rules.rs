//! Owns the table of what one look at a Job decides: a line per rule. Spec and pods in a short form, the decision out in
//! one. Never repeats what the parity samples show.
//!
//! Pods: `name[@index][#failures[/ignored]] PHASE mark...`. PHASE is `P`, `R`, `S`, `F<code>`, or `T` (running, deleted).
//! Marks: `free` (untracked), `ready`, `hit` (DisruptionTarget), `r<n>` (restarts), `-<s>` (finished s seconds ago, 300
//! unless given), `init` (the code is an init container's), `bound`, `new` (made later than others), `fresh` (ready for a
//! shorter time than others).
//!
//! The decision: `+2` or `+[0,1]` pods created, `-a,b` deleted, `~a` counted or let go, `a1 s2 f3 t1 r1` the counters where
//! they are not 0, `ci=` and `fi=` the indexes, `>Type Reason` what it works towards, `!Reason` events, `?backoff 5s` what it
//! waits for, `=` where the status stays as it is.

use jiff::ToSpan;
use jobdock::job::case::Case;
use jobdock::job::conditions::{self, Cause};
use jobdock::job::facts::{JobFacts, JobPlan, Options, Skip};
use jobdock::job::plan::plan;
use jobdock::job::{claim, orphan};
use jobdock::model::object::Object;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

fn pod(text: &str) -> Value {
    let mut words = text.split_whitespace();
    let (head, phase) = (words.next().expect("a name"), words.next().expect("a phase"));
    let marks: Vec<&str> = words.collect();
    let (head, counts) = head.split_once('#').unwrap_or((head, ""));
    let (name, index) = head.split_once('@').unwrap_or((head, ""));
    let has = |mark: &str| marks.contains(&mark);
    let number = |prefix: char| marks.iter().find_map(|mark| mark.strip_prefix(prefix)?.parse::<i64>().ok());
    let ended = jiff::Timestamp::from_second(1_735_690_200 - number('-').unwrap_or(300)).expect("a time");
    let mut annotations = json!({});
    if !index.is_empty() {
        annotations["batch.kubernetes.io/job-completion-index"] = json!(index);
    }
    let (counted, ignored) = counts.split_once('/').unwrap_or((counts, ""));
    for (name, count) in [("", counted), ("ignored-", ignored)].iter().filter(|(_, count)| !count.is_empty()) {
        annotations[format!("batch.kubernetes.io/job-index-{name}failure-count")] = json!(count);
    }
    let code = phase.strip_prefix('F').map_or(0, |code| code.parse().unwrap_or(1));
    let over = phase.starts_with(['S', 'F']);
    let state = if over {
        json!({"terminated": {"exitCode": code, "finishedAt": ended.to_string()}})
    } else {
        json!({"running": {}})
    };
    let container = json!({
        "name": if has("init") { "setup" } else { "main" }, "image": "", "imageID": "", "ready": has("ready"),
        "restartCount": number('r').unwrap_or(0), "state": state,
    });
    let mut conditions = Vec::new();
    if has("ready") {
        let since = if has("fresh") { "2025-01-01T00:09:00Z" } else { "2025-01-01T00:05:00Z" };
        conditions.push(json!({"type": "Ready", "status": "True", "lastTransitionTime": since}));
    }
    if has("hit") {
        conditions.push(json!({"type": "DisruptionTarget", "status": "True"}));
    }
    let phase = match phase.chars().next() {
        Some('P') => "Pending",
        Some('S') => "Succeeded",
        Some('F') => "Failed",
        _ if phase == "T" || phase == "R" => "Running",
        _ => panic!("{text}: no such phase"),
    };
    let created = if has("new") { "2025-01-01T00:01:00Z" } else { "2025-01-01T00:00:00Z" };
    let mut pod = json!({
        "metadata": {"name": name, "annotations": annotations, "creationTimestamp": created},
        "spec": {"containers": []},
        "status": {"phase": phase, "conditions": conditions},
    });
    pod["status"][if has("init") { "initContainerStatuses" } else { "containerStatuses" }] = json!([container]);
    if !has("free") {
        pod["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
    }
    if has("bound") {
        pod["spec"]["nodeName"] = json!("here");
    }
    if text.contains(" T") {
        pod["metadata"]["deletionTimestamp"] = json!("2025-01-01T00:09:00Z");
    }
    pod
}

/// What is decided about a Job of this spec and status with these pods at 2025-01-01T00:10:00Z.
fn decide(spec: &str, status: &str, pods: &[&str]) -> String {
    let object = |text: &str| -> Value {
        serde_saphyr::from_str(&format!("{{{text}}}")).unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    let mut spec = object(spec);
    spec["template"] = json!({"spec": {
        "restartPolicy": spec["restart"].as_str().unwrap_or("Never"),
        "containers": [{"name": "main"}],
    }});
    let mut meta = json!({"name": "j", "namespace": "n", "uid": "u"});
    if spec["deleted"] == true {
        meta["deletionTimestamp"] = json!("2025-01-01T00:09:00Z");
    }
    let mut stored = json!({"startTime": "2025-01-01T00:00:00Z", "ready": 0, "terminating": 0});
    for (key, value) in object(status).as_object().expect("a status") {
        stored[key] = value.clone();
    }
    let pods: Vec<Value> = pods.iter().map(|text| pod(text)).collect();
    let case = json!({"job": {"metadata": meta, "spec": spec, "status": stored}, "pods": pods});
    summary(&Case::from_value(case).expect("a case").answer())
}

fn summary(answer: &Value) -> String {
    let mut words = Vec::new();
    let list = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let created = list("podsCreated");
    let indexes: Vec<String> = created.iter().filter_map(|pod| Some(pod.get("index")?.to_string())).collect();
    match (created.len(), indexes.is_empty()) {
        (0, _) => {}
        (count, true) => words.push(format!("+{count}")),
        (_, false) => words.push(format!("+[{}]", indexes.join(","))),
    }
    for (sign, key) in [("-", "podsDeleted"), ("~", "finalizersRemoved")] {
        let names: Vec<String> = list(key).iter().map(text).collect();
        if !names.is_empty() {
            words.push(format!("{sign}{}", names.join(",")));
        }
    }
    let status = &answer["finalStatus"];
    if status.is_null() {
        words.push("=".to_owned());
    }
    for (letter, key) in [("a", "active"), ("s", "succeeded"), ("f", "failed"), ("t", "terminating"), ("r", "ready")] {
        words.extend(status[key].as_i64().filter(|count| *count != 0).map(|count| format!("{letter}{count}")));
    }
    for (sign, key) in [("ci", "completedIndexes"), ("fi", "failedIndexes")] {
        words.extend(status[key].as_str().map(|indexes| format!("{sign}={indexes}")));
    }
    if let Some(decision) = answer["decision"].as_object() {
        words.push(format!(">{} {}", text(&decision["type"]), text(&decision["reason"])));
    }
    let reason = |event: &Value| text(event).split(' ').nth(1).unwrap_or_default().to_owned();
    words.extend(list("events").iter().map(|event| format!("!{}", reason(event))));
    words.extend(list("requeueAfter").iter().map(|wait| format!("?{}", text(wait))));
    words.extend(answer["skipped"].as_str().map(|why| format!("({why})")));
    words.join(" ")
}

#[track_caller]
fn check(cases: &[(&str, &str, &[&str], &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(spec, status, pods, wanted)| {
            let found = decide(spec, status, pods);
            (found != *wanted).then(|| format!("{spec} | {status} | {pods:?}\n  wanted {wanted}\n  found  {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn parallelism_and_completions_say_how_many_run() {
    check(&[
        ("", "", &[], "+1 a1"),
        ("parallelism: 3, completions: 5", "", &[], "+3 a3"),
        ("parallelism: 5, completions: 2", "", &[], "+2 a2"),
        ("parallelism: 3", "", &[], "+3 a3"),
        ("parallelism: 0, completions: 2", "", &[], "="),
        ("parallelism: 3, completions: 5", "", &["a R", "b P"], "+1 a3"),
        ("parallelism: 3, completions: 5", "succeeded: 4", &["a R"], "a1 s4"),
        ("parallelism: 3, completions: 5", "succeeded: 3", &["a R"], "+1 a2 s3"),
        ("parallelism: 3, completions: 5", "active: 1", &["a S", "b R"], "+2 ~a a3 s1"),
        ("parallelism: 1, completions: 5", "", &["a R", "b P", "c R ready"], "-a,b ~a,b a1 t2 r1"),
        ("parallelism: 1, completions: 5", "", &["a R bound", "b R"], "-b ~b a1 t1"),
        ("parallelism: 2, completions: 5", "", &["a R r3", "b R r1", "c R"], "-a ~a a2 t1"),
        ("parallelism: 0", "", &["a R"], "-a ~a t1"),
        ("completions: 0", "", &[], ">SuccessCriteriaMet CompletionsReached !Completed"),
        ("parallelism: 600, completions: 600", "", &[], "+500 a500"),
    ]);
}

#[test]
fn the_pod_that_is_least_missed_goes_first() {
    // Two pods, of which the first one named goes.
    for (goes, stays) in [
        ("R", "R bound"),
        ("P bound", "R bound"),
        ("P", "R"),
        ("R", "P bound"),
        ("R", "R ready"),
        ("R ready fresh", "R ready"),
        ("R ready fresh", "R ready r3"),
        ("R r2", "R r1"),
        ("R r2", "R new"),
        ("R new", "R"),
        ("R bound", "R bound ready"),
        ("R ready", "R bound"),
    ] {
        let [goes, stays] = [format!("g {goes}"), format!("s {stays}")];
        for pods in [[goes.as_str(), stays.as_str()], [stays.as_str(), goes.as_str()]] {
            let found = decide("parallelism: 1, completions: 5", "", &pods);
            assert!(found.starts_with("-g ~g a1 t1"), "{pods:?}: {found}");
        }
    }
}

#[test]
fn failures_are_remembered_once_counted() {
    let case = json!({"job": {"spec": {"template": {}}}, "pods": [pod("a F1 -4")]});
    let case = Case::from_value(case).expect("a case");
    let mut facts = case.facts();
    let first = plan(&facts, case.now());
    let remembered = first.backoff.expect("the failure is remembered");
    assert_eq!((remembered.failures, first.create.len(), first.wake_at), (1, 0, Some(case.now() + 6.seconds())));
    // The pod is counted and not read again; the delay goes on.
    facts.claims.owned.clear();
    facts.backoff = remembered;
    let second = plan(&facts, case.now());
    assert_eq!((second.backoff, second.create.len(), second.wake_at), (None, 0, Some(case.now() + 6.seconds())));
    assert_eq!(plan(&facts, case.now() + 6.seconds()).create.len(), 1);
}

/// The first plan for a Job of this spec and status with `count` pods of this phase.
fn large(spec: &str, status: &str, count: usize, phase: &str) -> JobPlan {
    let pods: Vec<Value> = (0..count).map(|number| pod(&format!("p{number} {phase}"))).collect();
    let mut job: Value =
        serde_saphyr::from_str(&format!("{{spec: {{{spec}}}, status: {{{status}}}}}")).expect("a Job as YAML");
    job["spec"]["template"] = json!({});
    let case = Case::from_value(json!({"job": job, "pods": pods})).expect("a case");
    plan(&case.facts(), case.now())
}

/// When the cases above are looked at.
fn now() -> jiff::Timestamp {
    "2025-01-01T00:10:00Z".parse().expect("a time")
}

#[test]
fn what_is_too_much_for_one_commit_goes_on_at_once() {
    let counting = large("completions: 700, parallelism: 0", "", 600, "S");
    let status = counting.status.expect("a status");
    assert_eq!((counting.pods.len(), status.succeeded, counting.wake_at), (500, Some(500), Some(now())));
    let creating = large("completions: 600, parallelism: 600", "", 0, "");
    assert_eq!((creating.create.len(), creating.wake_at), (500, Some(now())));
    let deleting = large("completions: 700, parallelism: 0", "", 600, "R");
    let status = deleting.status.expect("a status");
    assert_eq!((deleting.pods.len(), status.active, deleting.wake_at), (500, Some(100), Some(now())));
    let announced = large("completions: 600", "conditions: [{type: SuccessCriteriaMet, status: 'True'}]", 600, "S");
    let status = announced.status.expect("a status");
    assert!(status.conditions.iter().flatten().all(|condition| condition.type_ == "SuccessCriteriaMet"), "{status:?}");
    assert_eq!((status.succeeded, announced.wake_at), (Some(500), Some(now())));
    let failing = large("completions: 600", "conditions: [{type: FailureTarget, status: 'True'}]", 600, "R");
    let status = failing.status.expect("a status");
    let deleted = failing.pods.iter().filter(|write| write.delete && write.untrack).count();
    assert_eq!((deleted, status.active, status.failed, status.terminating), (500, Some(100), Some(500), Some(500)));
}

#[test]
fn an_end_that_is_announced_is_looked_at_again_at_once() {
    assert_eq!(large("backoffLimit: 0", "", 1, "F1").wake_at, Some(now()));
    assert_eq!(large("", "", 1, "S").wake_at, Some(now()));
}

#[test]
fn a_finished_job_adopts_nobody() {
    let status = json!({"conditions": [{"type": "Failed", "status": "True"}]});
    let case = Case::from_value(json!({"job": {"spec": {"template": {}}, "status": status}, "pods": [pod("a R")]}));
    let mut facts = case.expect("a case").facts();
    facts.claims.adopted = std::mem::take(&mut facts.claims.owned);
    assert!(plan(&facts, now()).is_quiet());
}

#[test]
fn suspension_clears_the_start_time_as_of_1_36() {
    let job = json!({"spec": {"suspend": true, "template": {}}, "status": {"startTime": "2025-01-01T00:00:00Z"}});
    let mut facts = Case::from_value(json!({"job": job})).expect("a case").facts();
    for (clears, start) in [(true, None), (false, Some("2025-01-01T00:00:00Z"))] {
        facts.options.suspend_clears_start_time = clears;
        let status = plan(&facts, now()).status.expect("a status");
        assert_eq!(status.start_time.map(|time| time.0.to_string()).as_deref(), start);
    }
}

#[test]
fn a_condition_that_says_something_else_is_written_anew() {
    let mut status = JobStatus::default();
    let mut ensure = |holds: bool, reason: &str, message: &str| {
        let changed = conditions::ensure(&mut status, "Suspended", holds, &Cause::new(reason, message), now());
        let all = status.conditions.iter().flatten();
        (changed, all.map(|one| format!("{} {:?} {:?}", one.status, one.reason, one.message)).collect::<Vec<_>>())
    };
    let text =
        |status: &str, reason: &str, message: &str| vec![format!("{status} {:?} {:?}", Some(reason), Some(message))];
    assert_eq!(ensure(false, "a", "b"), (false, vec![]));
    assert_eq!(ensure(true, "a", "b"), (true, text("True", "a", "b")));
    assert_eq!(ensure(true, "a", "b"), (false, text("True", "a", "b")));
    assert_eq!(ensure(true, "a", "c"), (true, text("True", "a", "c")));
    assert_eq!(ensure(true, "x", "c"), (true, text("True", "x", "c")));
    assert_eq!(ensure(false, "x", "c"), (true, text("False", "x", "c")));
}

/// A pod of the Job `u`, or of whom the owner says, with these labels.
fn stray(owner: Option<(&str, &str)>, label: &str, tracked: bool, phase: &str) -> Object {
    let owners: Vec<Value> = owner
        .iter()
        .map(|(kind, uid)| json!({"apiVersion": "batch/v1", "kind": kind, "name": "j", "uid": uid, "controller": true}))
        .collect();
    let finalizers = if tracked { json!(["batch.kubernetes.io/job-tracking"]) } else { Value::Null };
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": "p", "namespace": "n", "uid": "p", "labels": {"of": label}, "ownerReferences": owners,
            "finalizers": finalizers,
        },
        "status": {"phase": phase},
    }))
    .expect("a pod");
    Object::new(pod)
}

/// The Job `u`, which selects pods labelled `of: u`.
fn owner(edit: impl Fn(&mut Value)) -> Object {
    let mut job = json!({
        "metadata": {"name": "j", "namespace": "n", "uid": "u"},
        "spec": {"selector": {"matchLabels": {"of": "u"}}, "template": {}},
    });
    edit(&mut job);
    Object::new(serde_json::from_value::<Job>(job).expect("a Job"))
}

#[test]
fn pods_are_claimed_by_owner_and_label() {
    let live = owner(|_| {});
    let deleted = owner(|job| job["metadata"]["deletionTimestamp"] = json!("2025-01-01T00:00:00Z"));
    let manual = owner(|job| job["spec"]["manualSelector"] = json!(true));
    let blind = owner(|job| job["spec"]["selector"] = json!({}));
    let (ours, theirs) = (Some(("Job", "u")), Some(("Job", "other")));
    for (job, pod, wanted) in [
        (&live, stray(ours, "u", true, "Running"), "owned"),
        (&live, stray(ours, "u", false, "Succeeded"), "owned"),
        (&live, stray(ours, "x", true, "Running"), "released"),
        (&live, stray(theirs, "u", true, "Running"), "nothing"),
        (&live, stray(None, "u", false, "Running"), "adopted"),
        (&live, stray(None, "u", true, "Succeeded"), "adopted"),
        (&live, stray(None, "u", false, "Succeeded"), "nothing"),
        (&live, stray(None, "x", true, "Running"), "nothing"),
        (&deleted, stray(ours, "u", true, "Running"), "owned"),
        (&deleted, stray(ours, "x", true, "Running"), "nothing"),
        (&deleted, stray(None, "u", true, "Running"), "nothing"),
        (&manual, stray(None, "u", false, "Succeeded"), "adopted"),
        (&blind, stray(None, "u", true, "Running"), "nothing"),
    ] {
        let claims = claim::sort(job, [pod.clone()]);
        let found = match (claims.owned.len(), claims.adopted.len(), claims.released.len()) {
            (1, 0, 0) => "owned",
            (0, 1, 0) => "adopted",
            (0, 0, 1) => "released",
            _ => "nothing",
        };
        assert_eq!(found, wanted, "{:?}", pod.meta());
    }
}

#[test]
fn a_selector_of_expressions_picks_as_upstream_does() {
    let meta = |labels: Value| serde_json::from_value::<ObjectMeta>(json!({"labels": labels})).expect("metadata");
    for (expression, labels, picks) in [
        (json!({"key": "a", "operator": "In", "values": ["1", "2"]}), json!({"a": "2"}), true),
        (json!({"key": "a", "operator": "In", "values": ["1"]}), json!({"a": "2"}), false),
        (json!({"key": "a", "operator": "In", "values": ["1"]}), json!({}), false),
        (json!({"key": "a", "operator": "NotIn", "values": ["1"]}), json!({"a": "2"}), true),
        (json!({"key": "a", "operator": "NotIn", "values": ["1"]}), json!({"a": "1"}), false),
        (json!({"key": "a", "operator": "NotIn", "values": ["1"]}), json!({}), true),
        (json!({"key": "a", "operator": "Exists"}), json!({"a": ""}), true),
        (json!({"key": "a", "operator": "Exists"}), json!({}), false),
        (json!({"key": "a", "operator": "DoesNotExist"}), json!({}), true),
        (json!({"key": "a", "operator": "DoesNotExist"}), json!({"a": ""}), false),
        (json!({"key": "a", "operator": "Near"}), json!({"a": ""}), false),
    ] {
        let selector = serde_json::from_value(json!({"matchExpressions": [expression]})).expect("a selector");
        assert_eq!(claim::selects(&selector, &meta(labels.clone())), picks, "{expression} {labels}");
    }
}

#[test]
fn a_pod_is_forsaken_when_nobody_is_left_to_count_it() {
    let live = owner(|_| {});
    let finished = owner(|job| job["status"] = json!({"conditions": [{"type": "Failed", "status": "True"}]}));
    let foreign = owner(|job| {
        job["spec"]["managedBy"] = json!("example.com/x");
        job["status"] = json!({"conditions": [{"type": "Failed", "status": "True"}]});
    });
    let ours = Some(("Job", "u"));
    for (jobs, pod, forsaken) in [
        (vec![live.clone()], stray(ours, "u", true, "Running"), false),
        (vec![finished.clone()], stray(ours, "u", true, "Running"), true),
        (vec![finished.clone()], stray(ours, "u", false, "Running"), false),
        (vec![foreign.clone()], stray(ours, "u", true, "Running"), false),
        (vec![], stray(ours, "u", true, "Running"), true),
        (vec![live.clone()], stray(Some(("Job", "earlier")), "u", true, "Running"), true),
        (vec![], stray(Some(("ReplicaSet", "r")), "u", true, "Running"), false),
        (vec![], stray(None, "u", true, "Running"), true),
        (vec![live.clone()], stray(None, "u", true, "Running"), false),
        (vec![finished], stray(None, "u", true, "Running"), true),
        (vec![foreign], stray(None, "u", true, "Running"), true),
        (vec![live], stray(None, "x", true, "Running"), true),
    ] {
        assert_eq!(orphan::is_forsaken(&pod, &jobs), forsaken, "{:?} {jobs:?}", pod.meta());
    }
}

#[test]
fn successes_complete_the_job_once_nobody_is_left() {
    check(&[
        ("", "", &["a S"], "~a s1 >SuccessCriteriaMet CompletionsReached !Completed"),
        ("completions: 2, parallelism: 2", "", &["a S", "b R"], "~a a1 s1"),
        (
            "completions: 1",
            "",
            &["a S", "b S"],
            "~a,b s2 >SuccessCriteriaMet CompletionsReached !TooManySucceededPods !Completed",
        ),
        ("completions: 1", "", &["a S", "b R"], "-b ~a,b s1 t1 >SuccessCriteriaMet CompletionsReached"),
        ("completions: 1", "", &["a S", "b T free"], "~a s1 t1 >SuccessCriteriaMet CompletionsReached"),
        ("parallelism: 3", "", &["a S"], "~a s1 >SuccessCriteriaMet CompletionsReached !Completed"),
        ("parallelism: 3", "", &["a S", "b R"], "~a a1 s1"),
        ("parallelism: 3", "succeeded: 1", &["b F1"], "~b s1 f1 >SuccessCriteriaMet CompletionsReached !Completed"),
        ("parallelism: 3", "", &["a F1"], "+3 ~a a3 f1"),
        ("", "succeeded: 1, active: 1", &["a S free"], "s1 >SuccessCriteriaMet CompletionsReached !Completed"),
    ]);
}

#[test]
fn an_announced_end_is_carried_out() {
    const MET: &str = "conditions: [{type: SuccessCriteriaMet, status: 'True', reason: SuccessPolicy, message: m}]";
    const TARGET: &str = "conditions: [{type: FailureTarget, status: 'True', reason: PodFailurePolicy, message: m}]";
    check(&[
        ("", MET, &[], ">SuccessCriteriaMet SuccessPolicy !Completed"),
        ("", MET, &["a T free"], "t1 >SuccessCriteriaMet SuccessPolicy"),
        ("", MET, &["a R"], "-a ~a t1 >SuccessCriteriaMet SuccessPolicy"),
        ("", MET, &["a F1"], "~a f1 >SuccessCriteriaMet SuccessPolicy !Completed"),
        ("", TARGET, &[], ">Failed PodFailurePolicy !PodFailurePolicy"),
        ("", TARGET, &["a R"], "-a ~a f1 t1 >Failed PodFailurePolicy"),
        ("", TARGET, &["a T"], "~a f1 t1 >Failed PodFailurePolicy"),
        ("", TARGET, &["a S"], "~a s1 >Failed PodFailurePolicy !PodFailurePolicy"),
        ("", "conditions: [{type: FailureTarget, status: 'False'}]", &[], "+1 a1"),
        ("suspend: true", TARGET, &[], ">Failed PodFailurePolicy !PodFailurePolicy"),
    ]);
}

#[test]
fn jobs_that_are_nobodys_business_are_left_alone() {
    const FAILED: &str = "conditions: [{type: Failed, status: 'True'}]";
    check(&[
        ("", FAILED, &["a F1"], "= (already finished)"),
        ("managedBy: example.com/x", "", &["a F1"], "= (managed by example.com/x)"),
        ("managedBy: kubernetes.io/job-controller", "", &[], "+1 a1"),
        ("completionMode: Sideways", "", &["a F1"], "= !UnknownCompletionMode (unknown completion mode)"),
        ("managedBy: x/y, completionMode: Sideways", FAILED, &[], "= (managed by x/y)"),
    ]);
}

#[test]
fn a_job_without_a_spec_is_left_alone_and_says_why() {
    let job = Object::new(Job {
        metadata: ObjectMeta { name: Some("j".to_owned()), ..ObjectMeta::default() },
        ..Job::default()
    });
    let decided = plan(&JobFacts::assemble(job, Vec::new(), None, None, Options::default()), now());
    assert_eq!((decided.skipped.as_ref(), decided.is_quiet()), (Some(&Skip::NoSpec), true));
}

#[test]
fn a_deleted_job_makes_no_pods_and_lets_its_pods_go() {
    check(&[
        ("deleted: true, completions: 3", "", &["a R"], "~a a1"),
        ("deleted: true, completions: 3", "", &["a F1", "b S"], "~a,b s1 f1"),
        ("deleted: true, completions: 1", "", &["b S"], "~b s1 >SuccessCriteriaMet CompletionsReached !Completed"),
        ("deleted: true, suspend: true", "", &["a R"], "~a a1"),
    ]);
}

#[test]
fn suspension_ends_the_pods_and_resumption_starts_anew() {
    const SUSPENDED: &str =
        "conditions: [{type: Suspended, status: 'True', reason: JobSuspended, message: Job suspended}]";
    check(&[
        ("suspend: true", "", &[], "!Suspended"),
        ("suspend: true, parallelism: 2, completions: 9", "", &["a R ready", "b P"], "-a,b ~a,b t2 !Suspended"),
        ("suspend: true, completions: 9", "", &["a S", "b F1"], "~a,b s1 f1 !Suspended"),
        ("suspend: true", SUSPENDED, &[], "="),
        ("suspend: true", "succeeded: 1", &[], "s1 >SuccessCriteriaMet CompletionsReached !Completed"),
        ("suspend: false", SUSPENDED, &[], "+1 a1 !Resumed"),
        ("suspend: true, activeDeadlineSeconds: 1", SUSPENDED, &[], "="),
        (
            "suspend: true, backoffLimit: 0",
            SUSPENDED,
            &["a F1"],
            "~a f1 >FailureTarget BackoffLimitExceeded !BackoffLimitExceeded",
        ),
    ]);
}

#[test]
fn the_start_time_is_set_first_kept_while_suspended_and_set_anew_on_resumption() {
    let start = |spec: &str, status: &str| {
        let mut case: Value =
            serde_saphyr::from_str(&format!("{{spec: {{{spec}}}, status: {{{status}}}}}")).expect("YAML");
        case["spec"]["template"] = json!({});
        let answer = Case::from_value(json!({"job": case})).expect("a case").answer();
        answer["finalStatus"]["startTime"].clone()
    };
    assert_eq!(start("", ""), "2025-01-01T00:10:00Z");
    assert_eq!(start("", "startTime: '2025-01-01T00:00:00Z'"), "2025-01-01T00:00:00Z");
    assert_eq!(start("suspend: true", ""), Value::Null);
    assert_eq!(start("suspend: true", "startTime: '2025-01-01T00:00:00Z'"), "2025-01-01T00:00:00Z");
    let resumed = "startTime: '2025-01-01T00:00:00Z', conditions: [{type: Suspended, status: 'True'}]";
    assert_eq!(start("", resumed), "2025-01-01T00:10:00Z");
}

#[test]
fn failures_beyond_the_limit_fail_the_job() {
    check(&[
        ("backoffLimit: 0", "", &["a F1"], "~a f1 >FailureTarget BackoffLimitExceeded !BackoffLimitExceeded"),
        ("backoffLimit: 1", "", &["a F1"], "+1 ~a a1 f1"),
        ("backoffLimit: 1", "failed: 1", &["a F1"], "~a f2 >FailureTarget BackoffLimitExceeded !BackoffLimitExceeded"),
        ("", "failed: 6", &["a F1"], "~a f7 >FailureTarget BackoffLimitExceeded !BackoffLimitExceeded"),
        ("", "failed: 5", &["a F1"], "+1 ~a a1 f6"),
        (
            "backoffLimit: 0, completions: 2, parallelism: 2",
            "",
            &["a F1", "b R"],
            "-b ~a,b f2 t1 >FailureTarget BackoffLimitExceeded",
        ),
        ("backoffLimit: 0", "", &["a F1 free"], "+1 a1"),
        ("backoffLimit: 0, podReplacementPolicy: Failed", "", &["a T"], "t1"),
        (
            "backoffLimit: 0, podReplacementPolicy: TerminatingOrFailed",
            "",
            &["a T"],
            "~a f1 t1 >FailureTarget BackoffLimitExceeded",
        ),
        ("podReplacementPolicy: Failed, completions: 2, parallelism: 2", "", &["a T"], "+1 a1 t1"),
    ]);
}

#[test]
fn restarts_use_up_the_limit_where_containers_are_restarted() {
    check(&[
        ("restart: OnFailure, backoffLimit: 3", "", &["a R r2"], "a1"),
        ("restart: OnFailure, backoffLimit: 3", "", &["a R r3"], "-a ~a f1 t1 >FailureTarget BackoffLimitExceeded"),
        ("restart: OnFailure, backoffLimit: 0", "", &["a R"], "a1"),
        ("restart: OnFailure, backoffLimit: 0", "", &["a R r1"], "-a ~a f1 t1 >FailureTarget BackoffLimitExceeded"),
        (
            "restart: OnFailure, backoffLimit: 2, completions: 2, parallelism: 2",
            "",
            &["a R r1", "b P r1"],
            "-a,b ~a,b f2 t2 >FailureTarget BackoffLimitExceeded",
        ),
        (
            "restart: OnFailure, backoffLimit: 3",
            "",
            &["a R r3 init"],
            "-a ~a f1 t1 >FailureTarget BackoffLimitExceeded",
        ),
        (
            "restart: OnFailure, backoffLimit: 3",
            "",
            &["a S r9"],
            "~a s1 >SuccessCriteriaMet CompletionsReached !Completed",
        ),
        ("restart: Never, backoffLimit: 3", "", &["a R r9"], "a1"),
    ]);
}

#[test]
fn a_failed_pod_is_replaced_after_a_delay() {
    check(&[
        ("", "", &["a F1 -10"], "+1 ~a a1 f1"),
        ("", "", &["a F1 -4"], "~a f1 ?backoff 6s"),
        ("", "", &["a F1 -4", "b F1 -100"], "~a,b f2 ?backoff 16s"),
        ("completions: 5, parallelism: 3", "", &["a F1 -4", "b S -3", "c R"], "+2 ~a,b a3 s1 f1"),
        ("completions: 5, parallelism: 3", "", &["a F1 -2", "b S -3", "c R"], "~a,b a1 s1 f1 ?backoff 8s"),
        ("activeDeadlineSeconds: 900", "", &["a F1 -4"], "~a f1 ?backoff 6s ?deadline 5m0s"),
    ]);
}

#[test]
fn the_deadline_ends_the_job() {
    check(&[
        ("activeDeadlineSeconds: 600", "", &["a R"], "-a ~a f1 t1 >FailureTarget DeadlineExceeded"),
        ("activeDeadlineSeconds: 601", "", &["a R"], "a1 ?deadline 1s"),
        ("activeDeadlineSeconds: 600", "", &["a S"], "~a s1 >FailureTarget DeadlineExceeded !DeadlineExceeded"),
        ("activeDeadlineSeconds: 600, suspend: true", "", &[], "!Suspended"),
    ]);
}

#[test]
fn the_first_matching_rule_of_the_failure_policy_decides() {
    let policy = |rules: &str| format!("completions: 3, podFailurePolicy: {{rules: [{rules}]}}");
    let cases: &[(&str, &str, &str)] = &[
        (
            "{action: FailJob, onExitCodes: {operator: In, values: [42]}}",
            "a F42",
            "~a f1 >FailureTarget PodFailurePolicy !PodFailurePolicy",
        ),
        ("{action: FailJob, onExitCodes: {operator: In, values: [42]}}", "a F41", "+1 ~a a1 f1"),
        ("{action: FailJob, onExitCodes: {operator: In, values: [0]}}", "a F0", "+1 ~a a1 f1"),
        (
            "{action: FailJob, onExitCodes: {operator: NotIn, values: [42]}}",
            "a F41",
            "~a f1 >FailureTarget PodFailurePolicy !PodFailurePolicy",
        ),
        ("{action: FailJob, onExitCodes: {operator: NotIn, values: [42]}}", "a F42", "+1 ~a a1 f1"),
        ("{action: FailJob, onExitCodes: {operator: Near, values: [42]}}", "a F42", "+1 ~a a1 f1"),
        (
            "{action: FailJob, onExitCodes: {containerName: main, operator: In, values: [42]}}",
            "a F42",
            "~a f1 >FailureTarget PodFailurePolicy !PodFailurePolicy",
        ),
        ("{action: FailJob, onExitCodes: {containerName: other, operator: In, values: [42]}}", "a F42", "+1 ~a a1 f1"),
        (
            "{action: FailJob, onExitCodes: {containerName: setup, operator: In, values: [42]}}",
            "a F42 init",
            "~a f1 >FailureTarget PodFailurePolicy !PodFailurePolicy",
        ),
        ("{action: Ignore, onExitCodes: {operator: In, values: [42]}}", "a F42", "+1 ~a a1"),
        ("{action: Count, onExitCodes: {operator: In, values: [42]}}", "a F42", "+1 ~a a1 f1"),
        (
            "{action: Explode, onExitCodes: {operator: In, values: [42]}}, {action: Ignore, onExitCodes: {operator: In, values: [42]}}",
            "a F42",
            "+1 ~a a1",
        ),
        (
            "{action: Ignore, onExitCodes: {operator: In, values: [42]}}, {action: FailJob, onExitCodes: {operator: In, values: [42]}}",
            "a F42",
            "+1 ~a a1",
        ),
        ("{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: 'True'}]}", "a F137 hit", "+1 ~a a1"),
        ("{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}", "a F137 hit", "+1 ~a a1"),
        // One that ended well while it was taken down has done its work.
        ("{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}", "a S hit", "+1 ~a a1 s1"),
        ("{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: 'False'}]}", "a F137 hit", "+1 ~a a1 f1"),
        ("{action: Ignore, onPodConditions: [{type: Other}, {type: DisruptionTarget}]}", "a F137 hit", "+1 ~a a1"),
        (
            "{action: FailJob, onPodConditions: [{type: DisruptionTarget}]}",
            "a F137 hit",
            "~a f1 >FailureTarget PodFailurePolicy !PodFailurePolicy",
        ),
        (
            "{action: Ignore, onExitCodes: {operator: In, values: [1]}, onPodConditions: [{type: DisruptionTarget}]}",
            "a F137 hit",
            "+1 ~a a1 f1",
        ),
        ("{action: FailJob, onPodConditions: [{type: DisruptionTarget}]}", "a R hit", "a1"),
        ("{action: FailJob, onPodConditions: [{type: DisruptionTarget}]}", "a T hit", "t1"),
        ("{action: FailJob}", "a F1", "+1 ~a a1 f1"),
    ];
    for (rules, pod, wanted) in cases {
        assert_eq!(decide(&policy(rules), "", &[pod]), *wanted, "{rules} {pod}");
    }
    let limit =
        "backoffLimit: 0, podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [42]}}]}";
    assert_eq!(decide(limit, "", &["a F42"]), "~a f1 >FailureTarget PodFailurePolicy !PodFailurePolicy");
    let rules = policy(
        "{action: FailJob, onExitCodes: {operator: In, values: [42]}}, {action: Ignore, onPodConditions: [{type: DisruptionTarget}]}",
    );
    let together =
        decide(&rules.replace("completions: 3", "completions: 3, parallelism: 3"), "", &["a F42", "b R", "c R hit"]);
    assert_eq!(together, "-b,c ~a,b,c f2 t2 >FailureTarget PodFailurePolicy");
}

#[test]
fn indexes_are_filled_from_the_lowest() {
    const SPEC: &str = "completionMode: Indexed, completions: 5, parallelism: 3";
    check(&[
        (SPEC, "", &[], "+[0,1,2] a3"),
        (SPEC, "", &["a@1 R"], "+[0,2] a3"),
        (SPEC, "completedIndexes: '0,1'", &[], "+[2,3,4] a3 s2 ci=0,1"),
        (SPEC, "completedIndexes: '0-2,4'", &[], "+[3] a1 s4 ci=0-2,4"),
        (SPEC, "completedIndexes: '0-3'", &["a@4 S"], "~a s5 ci=0-4 >SuccessCriteriaMet CompletionsReached !Completed"),
        (SPEC, "completedIndexes: '0-9'", &[], "s5 ci=0-4 >SuccessCriteriaMet CompletionsReached !Completed"),
        (SPEC, "completedIndexes: 'x,1'", &[], "+[0,2,3] a3 s1 ci=1"),
        (SPEC, "", &["a@0 S", "b@0 S"], "+[1,2,3] ~a,b a3 s1 ci=0"),
        (SPEC, "", &["a@0 R", "b@0 P", "c@5 R", "d R"], "-b,c,d ~b,c,d a1 t3"),
        (SPEC, "", &["a@0 F1", "b@1 R"], "+[0,2] ~a a3 f1"),
        (SPEC, "", &["a@7 F1"], "+[0,1,2] ~a a3"),
        (SPEC, "", &["a@0 T"], "+[0,1,2] ~a a3 f1 t1"),
        (
            "completionMode: Indexed, completions: 5, parallelism: 3, podReplacementPolicy: Failed",
            "",
            &["a@0 T"],
            "+[1,2] a2 t1",
        ),
        (
            "completionMode: Indexed, completions: 2, parallelism: 2",
            "completedIndexes: '0-4', succeeded: 5",
            &[],
            "s2 ci=0,1 >SuccessCriteriaMet CompletionsReached !Completed",
        ),
        ("completionMode: Indexed, completions: 4, parallelism: 1", "", &["a@3 R", "b@1 R ready"], "-a ~a a1 t1 r1"),
    ]);
}

#[test]
fn each_index_has_failures_of_its_own() {
    const SPEC: &str = "completionMode: Indexed, completions: 3, parallelism: 3, backoffLimitPerIndex: 1";
    check(&[
        (SPEC, "", &["a@0 F1", "b@1 R", "c@2 R"], "+[0] a3 fi="),
        (SPEC, "", &["a@0 F1 -4", "b@1 R", "c@2 R"], "a2 fi= ?backoff 6s"),
        // Who was counted already holds nobody up.
        (SPEC, "", &["a@0 F1 -4 free", "b@1 R", "c@2 R"], "+[0] a3 fi="),
        (SPEC, "", &["a@0#1 F1", "b@1 R", "c@2 R"], "~a a2 f1 fi=0"),
        (SPEC, "", &["a@0 F1", "d@0#1 R", "b@1 R", "c@2 R"], "~a a3 f1 fi="),
        (SPEC, "", &["a@0 F1", "d@0#1 F1", "b@1 R", "c@2 R"], "~a,d a2 f2 fi=0"),
        (SPEC, "failedIndexes: '1', failed: 2", &["a@0 R"], "+[2] a2 f2 fi=1"),
        (
            SPEC,
            "failedIndexes: '1', failed: 2, completedIndexes: '0'",
            &["a@2 S"],
            "~a s2 f2 ci=0,2 fi=1 >FailureTarget FailedIndexes !FailedIndexes",
        ),
        (SPEC, "failedIndexes: '1', failed: 2", &["a@0 R", "b@2 R"], "a2 f2 fi=1"),
        (
            "completionMode: Indexed, completions: 3, parallelism: 3, backoffLimitPerIndex: 0, maxFailedIndexes: 1",
            "",
            &["a@0 F1", "b@1 R", "c@2 R"],
            "~a a2 f1 fi=0",
        ),
        (
            "completionMode: Indexed, completions: 3, parallelism: 3, backoffLimitPerIndex: 0, maxFailedIndexes: 1",
            "",
            &["a@0 F1", "b@1 F1", "c@2 R"],
            "-c ~a,b,c f3 t1 fi=0,1 >FailureTarget MaxFailedIndexesExceeded",
        ),
        (
            "completionMode: Indexed, completions: 3, parallelism: 3, backoffLimitPerIndex: 0, maxFailedIndexes: 0",
            "",
            &["a@0 F1", "b@1 R", "c@2 R"],
            "-b,c ~a,b,c f3 t2 fi=0 >FailureTarget MaxFailedIndexesExceeded",
        ),
        (SPEC, "", &["a@0#0/3 F1 -60", "b@1 R", "c@2 R"], "a2 fi= ?backoff 20s"),
        (
            "completionMode: Indexed, completions: 3, parallelism: 1, backoffLimitPerIndex: 5",
            "",
            &["a@0 F1 -4"],
            "fi= ?backoff 6s",
        ),
        (
            "completionMode: Indexed, completions: 3, parallelism: 2, backoffLimitPerIndex: 5",
            "",
            &["a@0 F1 -4"],
            "+[1] a1 fi= ?backoff 6s",
        ),
        (
            "completionMode: Indexed, completions: 3, parallelism: 1, backoffLimitPerIndex: 5",
            "",
            &["a@0 F1 -4", "b@0 F1 -100"],
            "~b f1 fi= ?backoff 6s",
        ),
        (
            "completionMode: Indexed, completions: 3, parallelism: 1, backoffLimitPerIndex: 5",
            "",
            &["a@0 F1 -100", "b@0 F1 -4"],
            "~a f1 fi= ?backoff 6s",
        ),
        (SPEC, "completedIndexes: '0'", &["a@0 F1", "b@1 R", "c@2 R"], "~a a2 s1 f1 ci=0 fi="),
        (SPEC, "failedIndexes: '0'", &["a@0 F1", "b@1 R", "c@2 R"], "~a a2 f1 fi=0"),
    ]);
}

#[test]
fn fail_index_and_ignore_work_per_index() {
    const SPEC: &str = "completionMode: Indexed, completions: 3, parallelism: 3, backoffLimitPerIndex: 1, podFailurePolicy: {rules: [{action: FailIndex, onExitCodes: {operator: In, values: [42]}}, {action: Ignore, onExitCodes: {operator: In, values: [7]}}]}";
    check(&[
        (SPEC, "", &["a@0 F42", "b@1 R", "c@2 R"], "~a a2 f1 fi=0"),
        (SPEC, "", &["a@0#1 F7", "b@1 R", "c@2 R"], "+[0] a3 fi="),
        (SPEC, "", &["a@0#1 F1", "b@1 R", "c@2 R"], "~a a2 f1 fi=0"),
        (
            SPEC,
            "",
            &["a@0#9 F42", "b@1 F42", "c@2 F42"],
            "~a,b,c f3 fi=0-2 >FailureTarget FailedIndexes !FailedIndexes",
        ),
    ]);
}

#[test]
fn a_replacement_carries_the_failures_of_its_index_on() {
    let annotations = |spec: &str, failed: &str| {
        let mut case: Value = serde_saphyr::from_str(&format!("{{spec: {{{spec}}}}}")).expect("YAML");
        case["spec"]["template"] = json!({});
        let answer = Case::from_value(json!({"job": case, "pods": failed.split(';').map(pod).collect::<Vec<_>>()}))
            .expect("a case")
            .answer();
        let of = |kind: &str| {
            let name = format!("batch.kubernetes.io/job-index-{kind}failure-count");
            answer["podsCreated"][0]["annotations"][name].as_str().map(str::to_owned)
        };
        (of(""), of("ignored-"))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        annotations("completionMode: Indexed, completions: 1, backoffLimitPerIndex: 9", "a@0#1 F1 -600;b@0 F1 -600"),
        (text("2"), None)
    );
    const SPEC: &str = "completionMode: Indexed, completions: 1, backoffLimitPerIndex: 9, podFailurePolicy: {rules: [{action: Ignore, onExitCodes: {operator: In, values: [7]}}]}";
    assert_eq!(annotations(SPEC, "a@0 F1"), (text("1"), None));
    assert_eq!(annotations(SPEC, "a@0#3/2 F1 -9999"), (text("4"), text("2")));
    assert_eq!(annotations(SPEC, "a@0#3 F7 -9999"), (text("3"), text("1")));
    assert_eq!(annotations(SPEC, "a@0#-3/x F1"), (text("1"), None));
    assert_eq!(annotations("completionMode: Indexed, completions: 1", "a@0 F1"), (None, None));
}

#[test]
fn a_success_policy_ends_the_job_early() {
    let spec = |rules: &str| {
        format!("completionMode: Indexed, completions: 5, parallelism: 5, successPolicy: {{rules: [{rules}]}}")
    };
    const MET: &str = ">SuccessCriteriaMet SuccessPolicy";
    let cases: &[(&str, &str, &str)] = &[
        ("{succeededCount: 2}", "'0,1'", "+[] met"),
        ("{succeededCount: 3}", "'0,1'", "no"),
        ("{succeededIndexes: '0-1'}", "'0,1'", "+[] met"),
        ("{succeededIndexes: '0-2'}", "'0,1'", "no"),
        ("{succeededIndexes: '0-2', succeededCount: 2}", "'0,1'", "+[] met"),
        ("{succeededIndexes: '2-4', succeededCount: 1}", "'0,1'", "no"),
        ("{succeededIndexes: '9'}", "'0,1'", "no"),
        ("{succeededIndexes: '4,9'}", "'4'", "+[] met"),
        ("{succeededIndexes: '3'}, {succeededCount: 1}", "'0'", "+[] met"),
        ("{}", "'0'", "no"),
        ("{succeededCount: 0}", "''", "no"),
    ];
    for (rules, completed, wanted) in cases {
        let found = decide(&spec(rules), &format!("completedIndexes: {completed}"), &["a@3 R"]);
        assert_eq!(found.contains(MET), *wanted != "no", "{rules} {completed}: {found}");
        assert_eq!(found.contains("+["), *wanted == "no", "{rules} {completed}: {found}");
    }
}

#[test]
fn what_others_left_as_uncounted_is_counted_once() {
    check(&[
        ("completions: 3, parallelism: 1", "uncountedTerminatedPods: {failed: [uid-a]}", &["a S"], "+1 ~a a1 f1"),
        (
            "completions: 3, parallelism: 1",
            "uncountedTerminatedPods: {succeeded: [uid-x], failed: [uid-y]}",
            &[],
            "+1 a1 s1 f1",
        ),
        ("completions: 3, parallelism: 1", "uncountedTerminatedPods: {succeeded: [uid-a]}", &["a S"], "+1 ~a a1 s1"),
        ("completions: 3, parallelism: 1", "uncountedTerminatedPods: {failed: [uid-a]}", &["a F1"], "+1 ~a a1 f1"),
        ("completions: 3, parallelism: 1", "uncountedTerminatedPods: {succeeded: [uid-a]}", &["a S free"], "+1 a1 s1"),
        (
            "completions: 3, parallelism: 1, backoffLimit: 0",
            "uncountedTerminatedPods: {failed: [uid-y]}",
            &[],
            "f1 >FailureTarget BackoffLimitExceeded !BackoffLimitExceeded",
        ),
    ]);
}

#[test]
fn pods_are_named_after_job_and_index() {
    let created = |name: &str, spec: &str| {
        let mut case: Value =
            serde_saphyr::from_str(&format!("{{metadata: {{name: {name}}}, spec: {{{spec}}}}}")).expect("YAML");
        case["spec"]["template"] = json!({});
        let answer = Case::from_value(json!({"job": case})).expect("a case").answer();
        let pod = &answer["podsCreated"][0];
        (pod["generateName"].as_str().unwrap_or_default().to_owned(), pod["hostname"].as_str().map(str::to_owned))
    };
    assert_eq!(created("j", ""), ("j-".to_owned(), None));
    assert_eq!(created("j", "completionMode: Indexed"), ("j-0-".to_owned(), Some("j-0".to_owned())));
    let long = "x".repeat(60);
    assert_eq!(created(&long, "completionMode: Indexed").0, format!("{}-0-", "x".repeat(55)));
}
