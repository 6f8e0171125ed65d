//! Owns the tests of CronJobs: schedules by the table, the plan by the case, the loops on a real store.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use jobdock::job::cron_plan::{CronFacts, CronPlan, plan, refuse};
use jobdock::job::missed::{self, Missed};
use jobdock::job::{cronjob, expiry, ttl};
use jobdock::model::kind::Kind;
use jobdock::model::object::{Key, Object};
use jobdock::model::schedule::{Schedule, time_zone};
use jobdock::store::{Expected, Owner, Query, Store, Write};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::{Event, ResourceQuota};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_schedule_is_next_due_when_robfig_cron_says() {
    // Schedule, zone, after, next.
    const CASES: &[(&str, &str, &str, &str)] = &[
        ("0/15 * * * *", "UTC", "2012-07-09T14:45:00Z", "2012-07-09T15:00:00Z"),
        ("0/15 * * * *", "UTC", "2012-07-09T14:59:59Z", "2012-07-09T15:00:00Z"),
        ("0/15 * * * *", "UTC", "2012-07-09T14:45:00.5Z", "2012-07-09T15:00:00Z"),
        ("20-35/15 * * * *", "UTC", "2012-07-09T15:45:00Z", "2012-07-09T16:20:00Z"),
        ("*/15 * * * *", "UTC", "2012-12-31T23:59:45Z", "2013-01-01T00:00:00Z"),
        ("*/15 1-2 * * *", "UTC", "2012-07-09T23:46:00Z", "2012-07-10T01:00:00Z"),
        ("* * * Jul *", "UTC", "2012-07-31T23:59:00Z", "2013-07-01T00:00:00Z"),
        ("0 0 */5 Jul *", "UTC", "2012-07-09T23:35:00Z", "2012-07-11T00:00:00Z"),
        ("0 0 1 Feb Mon", "UTC", "2012-07-09T23:35:00Z", "2013-02-01T00:00:00Z"),
        ("0 0 * Feb Mon/2", "UTC", "2012-07-09T23:35:00Z", "2013-02-01T00:00:00Z"),
        ("0 0 * Feb Mon", "UTC", "2012-07-09T23:35:00Z", "2013-02-04T00:00:00Z"),
        ("0 0 29 Feb ?", "UTC", "2012-07-09T23:35:00Z", "2016-02-29T00:00:00Z"),
        ("0 12 ? * MON-FRI", "UTC", "2025-01-03T12:00:00Z", "2025-01-06T12:00:00Z"),
        ("0 0 13 * FRI", "UTC", "2025-01-01T00:00:00Z", "2025-01-03T00:00:00Z"),
        ("@hourly", "UTC", "2025-01-01T10:00:00Z", "2025-01-01T11:00:00Z"),
        ("@daily", "UTC", "2025-01-01T10:00:00Z", "2025-01-02T00:00:00Z"),
        ("@midnight", "UTC", "2025-02-28T10:00:00Z", "2025-03-01T00:00:00Z"),
        ("@weekly", "UTC", "2025-01-01T10:00:00Z", "2025-01-05T00:00:00Z"),
        ("@monthly", "UTC", "2025-01-01T10:00:00Z", "2025-02-01T00:00:00Z"),
        ("@yearly", "UTC", "2025-01-01T10:00:00Z", "2026-01-01T00:00:00Z"),
        ("@annually", "UTC", "2025-01-01T10:00:00Z", "2026-01-01T00:00:00Z"),
        ("@every 1h30m", "UTC", "2025-01-01T10:00:00Z", "2025-01-01T11:30:00Z"),
        ("@every 10ms", "UTC", "2025-01-01T10:00:00Z", "2025-01-01T10:00:01Z"),
        ("@every 1.5m", "UTC", "2025-01-01T10:00:00.7Z", "2025-01-01T10:01:30Z"),
        ("TZ=Asia/Tokyo 0 9 * * *", "UTC", "2025-01-01T10:00:00Z", "2025-01-02T00:00:00Z"),
        ("0 9 * * *", "Asia/Tokyo", "2025-01-01T10:00:00Z", "2025-01-02T00:00:00Z"),
        ("30 * * * *", "Asia/Kolkata", "2025-01-01T10:00:00Z", "2025-01-01T11:00:00Z"),
        // The clock skips 02:00 to 03:00: not run that day.
        ("30 2 * * *", "America/New_York", "2025-03-08T12:00:00Z", "2025-03-10T06:30:00Z"),
        ("0 * * * *", "America/New_York", "2025-03-09T06:00:00Z", "2025-03-09T07:00:00Z"),
        ("0 0 * * *", "America/New_York", "2025-03-09T06:00:00Z", "2025-03-10T04:00:00Z"),
        // The clock shows 01:00 to 02:00 twice: run twice.
        ("30 1 * * *", "America/New_York", "2025-11-02T04:00:00Z", "2025-11-02T05:30:00Z"),
        ("30 1 * * *", "America/New_York", "2025-11-02T05:30:00Z", "2025-11-02T06:30:00Z"),
        ("30 1 * * *", "America/New_York", "2025-11-02T06:30:00Z", "2025-11-03T06:30:00Z"),
        // The clock skips midnight: the day begins at one, and the run of midnight is not that day's.
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T03:00:00Z", "2018-11-05T02:00:00Z"),
        ("0 1 * * *", "America/Sao_Paulo", "2018-11-03T05:00:00Z", "2018-11-04T03:00:00Z"),
    ];
    for (text, zone, after, next) in CASES {
        let zone = time_zone(zone).expect("a zone");
        let schedule = Schedule::parse(text, &zone).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(schedule.next(at(after)), Some(at(next)), "{text} in {zone:?} after {after}");
    }
}

#[test]
fn what_robfig_cron_refuses_is_refused() {
    for text in [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 7",
        "5-1 * * * *",
        "*/0 * * * *",
        "a * * * *",
        "@reboot",
        "@every",
        "@every x",
        "@every 5",
        "TZ=No/Where * * * * *",
        "1-2-3 * * * *",
        "-1 * * * *",
        "* * * FOO *",
    ] {
        assert!(Schedule::parse(text, &TimeZone::UTC).is_err(), "{text:?}");
    }
}

#[test]
fn a_day_that_never_comes_is_never_due() {
    let schedule = Schedule::parse("59 23 31 2 *", &TimeZone::UTC).expect("its form is right");
    assert_eq!(schedule.next(at("2025-01-01T00:00:00Z")), None);
    assert_eq!(missed::due(&schedule, at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")), Err(missed::NEVER));
}

#[test]
fn the_newest_missed_run_is_due() {
    // Schedule, since, now, due, how many.
    const CASES: &[(&str, &str, &str, Option<&str>, Missed)] = &[
        ("0 * * * *", "2025-01-01T10:00:00Z", "2025-01-01T10:30:00Z", None, Missed::None),
        ("0 * * * *", "2025-01-01T10:00:00Z", "2025-01-01T11:00:00Z", Some("2025-01-01T11:00:00Z"), Missed::None),
        ("0 * * * *", "2025-01-01T10:00:00Z", "2025-01-01T13:10:00Z", Some("2025-01-01T13:00:00Z"), Missed::Few),
        ("0 * * * *", "2025-01-01T10:00:00Z", "2025-01-09T10:10:00Z", Some("2025-01-09T10:00:00Z"), Missed::Many),
        (
            "30 6-16/4 * * 1-5",
            "2025-01-03T10:30:00Z",
            "2025-01-06T07:00:00Z",
            Some("2025-01-06T06:30:00Z"),
            Missed::Few,
        ),
        ("@every 1h", "2025-01-01T10:20:00Z", "2025-01-01T13:30:00Z", Some("2025-01-01T13:20:00Z"), Missed::Few),
        ("* * * * *", "2025-01-02T10:00:00Z", "2025-01-01T10:00:00Z", None, Missed::None),
    ];
    for (text, since, now, due, missed) in CASES {
        let schedule = Schedule::parse(text, &TimeZone::UTC).expect("a schedule");
        let found = missed::due(&schedule, at(since), at(now)).expect("it can be run");
        assert_eq!((found.at, found.missed), (due.map(at), *missed), "{text} from {since} to {now}");
    }
}

// The plan.

struct Look {
    spec: Value,
    status: Value,
    jobs: Vec<Value>,
    now: &'static str,
}

impl Default for Look {
    fn default() -> Self {
        Self { spec: json!({}), status: json!({}), jobs: Vec::new(), now: "2025-01-01T11:00:05Z" }
    }
}

impl Look {
    fn plan(&self) -> CronPlan {
        plan(&self.facts(), at(self.now))
    }

    fn facts(&self) -> CronFacts {
        let mut cron_job = json!({
            "metadata": {"name": "c", "namespace": "n", "uid": "c-uid", "creationTimestamp": "2025-01-01T10:30:00Z"},
            "spec": {
                "schedule": "0 * * * *",
                "concurrencyPolicy": "Allow",
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"template": {"spec": {"containers": []}}},
                },
            },
            "status": self.status,
        });
        for (key, value) in self.spec.as_object().expect("a spec") {
            cron_job["spec"][key] = value.clone();
        }
        let cron_job: CronJob = serde_json::from_value(cron_job).expect("a CronJob");
        let job = |job: &Value| Object::new(serde_json::from_value::<Job>(job.clone()).expect("a Job"));
        CronFacts {
            cron_job: Object::new(cron_job),
            jobs: self.jobs.iter().map(job).collect(),
            strangers: BTreeSet::new(),
            zone: TimeZone::UTC,
        }
    }
}

fn reasons(plan: &CronPlan) -> Vec<&str> {
    plan.events.iter().map(|event| event.reason.as_str()).collect()
}

fn created(plan: &CronPlan) -> Option<&str> {
    plan.create.as_ref()?.metadata.name.as_deref()
}

fn deleted(plan: &CronPlan) -> Vec<String> {
    plan.delete.iter().filter_map(|job| job.meta().name.clone()).collect()
}

fn job(name: &str, ended: Option<(&str, &str)>) -> Value {
    let mut job = json!({
        "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}")},
        "status": {"startTime": "2025-01-01T10:00:00Z"},
    });
    if let Some((kind, time)) = ended {
        job["status"]["startTime"] = json!(time);
        job["status"]["conditions"] = json!([{"type": kind, "status": "True"}]);
        if kind == "Complete" {
            job["status"]["completionTime"] = json!(time);
        }
    }
    job
}

fn active(name: &str) -> Value {
    json!({"active": [{"name": name, "namespace": "n", "uid": format!("uid-{name}")}]})
}

/// The name of the run at 2025-01-01T11:00:00Z.
const ELEVEN: &str = "c-28928820";

#[test]
fn a_run_that_is_due_starts_and_is_remembered() {
    let plan = Look::default().plan();
    assert_eq!((created(&plan), reasons(&plan)), (Some(ELEVEN), vec!["SuccessfulCreate"]));
    let job = plan.create.expect("created");
    let annotation = &job.metadata.annotations.expect("annotations")["batch.kubernetes.io/cronjob-scheduled-timestamp"];
    assert_eq!(annotation, "2025-01-01T11:00:00Z");
    assert_eq!(job.metadata.labels.expect("labels")["a"], "b");
    assert_eq!(job.metadata.owner_references.expect("owners")[0].uid, "c-uid");
    let status = plan.status.expect("a status");
    assert_eq!(status.last_schedule_time.map(|time| time.0), Some(at("2025-01-01T11:00:00Z")));
    assert_eq!(status.active.expect("active")[0].name.as_deref(), Some(ELEVEN));
    assert_eq!(plan.wake_at, Some(at("2025-01-01T12:00:00.1Z")));
}

#[test]
fn a_start_that_is_refused_is_taken_back_and_nothing_else_is() {
    let look = Look::default();
    let mut plan = look.plan();
    refuse(&look.facts(), &mut plan, "no room");
    assert_eq!((created(&plan), reasons(&plan), plan.status.clone()), (None, vec!["FailedCreate"], None));
    assert_eq!(plan.events[0].message, "Error creating job: no room");
    let spec = json!({"concurrencyPolicy": "Replace"});
    let look = Look { spec, status: active("c-1"), jobs: vec![job("c-1", None)], ..Look::default() };
    let mut plan = look.plan();
    refuse(&look.facts(), &mut plan, "no room");
    assert_eq!((created(&plan), reasons(&plan)), (None, vec!["SuccessfulDelete", "FailedCreate"]));
    assert_eq!(deleted(&plan), ["c-1"]);
    assert_eq!(plan.status, Some(CronJobStatus::default()), "the replaced Job is no longer active");
}

#[test]
fn the_annotation_is_in_the_named_zone() {
    let plan = Look { spec: json!({"timeZone": "Asia/Tokyo"}), ..Look::default() }.plan();
    let annotations = plan.create.expect("created").metadata.annotations.expect("annotations");
    assert_eq!(annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"], "2025-01-01T20:00:00+09:00");
}

#[test]
fn a_run_happens_once() {
    let status = json!({"lastScheduleTime": "2025-01-01T11:00:00Z"});
    let plan = Look { status, ..Look::default() }.plan();
    assert_eq!((created(&plan), reasons(&plan), plan.status.clone()), (None, vec![], None));
    assert_eq!(plan.wake_at, Some(at("2025-01-01T12:00:00.1Z")));
}

#[test]
fn a_suspended_cron_job_starts_nothing_and_sets_no_timer() {
    let plan = Look { spec: json!({"suspend": true}), ..Look::default() }.plan();
    assert_eq!((created(&plan), plan.wake_at), (None, None));
}

#[test]
fn a_run_whose_deadline_is_over_is_missed() {
    let spec = json!({"startingDeadlineSeconds": 10});
    let plan = Look { spec: spec.clone(), now: "2025-01-01T11:00:09Z", ..Look::default() }.plan();
    assert_eq!(created(&plan), Some(ELEVEN));
    let plan = Look { spec, now: "2025-01-01T11:00:30Z", ..Look::default() }.plan();
    assert_eq!(created(&plan), None, "the deadline moves the start of the search, so that nothing is due");
    assert_eq!(plan.wake_at, Some(at("2025-01-01T12:00:00.1Z")));
}

#[test]
fn a_long_absence_runs_once_and_says_so() {
    let status = json!({"lastScheduleTime": "2024-12-01T11:00:00Z"});
    let plan = Look { status, ..Look::default() }.plan();
    assert_eq!((created(&plan), reasons(&plan)), (Some(ELEVEN), vec!["TooManyMissedTimes", "SuccessfulCreate"]));
}

#[test]
fn forbid_waits_for_the_job_that_runs() {
    let look = Look {
        spec: json!({"concurrencyPolicy": "Forbid"}),
        status: active("c-1"),
        jobs: vec![job("c-1", None)],
        ..Look::default()
    };
    let plan = look.plan();
    assert_eq!((created(&plan), reasons(&plan)), (None, vec!["JobAlreadyActive"]));
}

#[test]
fn replace_deletes_the_job_that_runs() {
    let look = Look {
        spec: json!({"concurrencyPolicy": "Replace"}),
        status: active("c-1"),
        jobs: vec![job("c-1", None)],
        ..Look::default()
    };
    let plan = look.plan();
    assert_eq!((created(&plan), deleted(&plan)), (Some(ELEVEN), vec!["c-1".to_owned()]));
    assert_eq!(reasons(&plan), ["SuccessfulDelete", "SuccessfulCreate"]);
    assert_eq!(plan.status.expect("a status").active.expect("active").len(), 1);
}

#[test]
fn allow_runs_beside_the_job_that_runs() {
    let plan = Look { status: active("c-1"), jobs: vec![job("c-1", None)], ..Look::default() }.plan();
    assert_eq!(created(&plan), Some(ELEVEN));
    assert_eq!(plan.status.expect("a status").active.expect("active").len(), 2);
}

#[test]
fn a_completed_job_leaves_the_active_list_and_its_time_is_noted() {
    let ended = job("c-1", Some(("Complete", "2025-01-01T10:40:00Z")));
    let look = Look { status: active("c-1"), jobs: vec![ended], now: "2025-01-01T10:50:00Z", ..Look::default() };
    let plan = look.plan();
    assert_eq!(plan.events[0].message, "Saw completed job: c-1, condition: Complete");
    let status = plan.status.expect("a status");
    assert_eq!(
        (status.active, status.last_successful_time.map(|time| time.0)),
        (None, Some(at("2025-01-01T10:40:00Z")))
    );
}

#[test]
fn a_failed_job_is_no_success() {
    let ended = job("c-1", Some(("Failed", "2025-01-01T10:40:00Z")));
    let look = Look { status: active("c-1"), jobs: vec![ended], now: "2025-01-01T10:50:00Z", ..Look::default() };
    assert_eq!(look.plan().status, Some(CronJobStatus::default()));
}

#[test]
fn an_active_job_that_is_gone_is_forgotten() {
    let plan = Look { status: active("c-1"), now: "2025-01-01T10:50:00Z", ..Look::default() }.plan();
    assert_eq!((reasons(&plan), plan.status.clone()), (vec!["MissingJob"], Some(CronJobStatus::default())));
}

#[test]
fn an_unknown_child_is_reported() {
    let plan = Look { jobs: vec![job("mine", None)], now: "2025-01-01T10:50:00Z", ..Look::default() }.plan();
    assert_eq!(reasons(&plan), ["UnexpectedJob"]);
}

#[test]
fn the_history_keeps_the_newest_of_each_kind() {
    let ended = |name: &str, kind, time| job(name, Some((kind, time)));
    let jobs = vec![
        ended("c-3", "Complete", "2025-01-01T03:00:00Z"),
        ended("c-1", "Complete", "2025-01-01T01:00:00Z"),
        ended("c-2", "Failed", "2025-01-01T02:00:00Z"),
        ended("c-4", "Failed", "2025-01-01T04:00:00Z"),
        job("c-5", None),
    ];
    let plan = Look { jobs, status: active("c-5"), now: "2025-01-01T10:50:00Z", ..Look::default() }.plan();
    assert_eq!(deleted(&plan), ["c-1", "c-2"]);
}

#[test]
fn bad_zones_and_schedules_are_told_and_start_nothing() {
    for (spec, reason) in [
        (json!({"timeZone": "No/Where"}), "UnknownTimeZone"),
        (json!({"schedule": "x"}), "UnparseableSchedule"),
        (json!({"schedule": "59 23 31 2 *"}), "InvalidSchedule"),
    ] {
        let plan = Look { spec, ..Look::default() }.plan();
        assert_eq!((created(&plan), reasons(&plan), plan.wake_at), (None, vec![reason], None));
    }
}

#[test]
fn a_job_expires_after_its_end_failed_or_not() {
    let job = |kind: &str| -> Job {
        serde_json::from_value(json!({
            "spec": {"ttlSecondsAfterFinished": 5, "template": {}},
            "status": {"conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}
            ]},
        }))
        .expect("a Job")
    };
    let end = at("2025-01-01T00:00:05Z");
    assert_eq!(expiry::expires_at(&job("Complete")), Some(end));
    assert_eq!(expiry::expires_at(&job("Failed")), Some(end));
    assert_eq!(expiry::expires_at(&job("FailureTarget")), None);
}

// The loops.

fn jobs(store: &Store) -> Vec<Object> {
    let query = Query {
        kind: Kind::of::<Job>(),
        namespace: None,
        owner: Owner::Any,
        with_finalizers: false,
        limit: None,
        after: None,
        at: None,
    };
    store.list(&query).expect("readable").objects
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_starts_its_job_and_lists_it_as_active() {
    let store = Store::in_memory().expect("a store");
    let cron_job: CronJob = serde_json::from_value(json!({
        "metadata": {"name": "c", "namespace": "n"},
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "main"}]}}}},
        },
        "status": {"lastScheduleTime": Timestamp::now() - SignedDuration::from_mins(5)},
    }))
    .expect("a CronJob");
    store.commit(vec![Write::Create(Object::new(cron_job))]).await.expect("created");
    let stop = CancellationToken::new();
    let running = tokio::spawn(cronjob::run(store.clone(), stop.clone()));
    until("the Job", || !jobs(&store).is_empty()).await;
    let started = jobs(&store).remove(0);
    let cron_job = store.get(&Key::of::<CronJob>("n", "c")).expect("readable").expect("there");
    let status = cron_job.typed::<CronJob>().and_then(|cron_job| cron_job.status.clone()).expect("a status");
    assert_eq!(status.active.expect("active")[0].uid.as_deref(), Some(started.uid()));
    stop.cancel();
    running.await.expect("the loop ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_quota_has_no_room_for_is_told_and_starts_once_there_is() {
    let store = Store::in_memory().expect("a store");
    let (hard, none) = (json!({"count/jobs.batch": "0"}), json!({"count/jobs.batch": "0"}));
    let quota: ResourceQuota = serde_json::from_value(json!({
        "metadata": {"name": "q", "namespace": "n"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": none},
    }))
    .expect("a quota");
    let last = Timestamp::now() - SignedDuration::from_mins(5);
    let cron_job: CronJob = serde_json::from_value(json!({
        "metadata": {"name": "c", "namespace": "n"},
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "main"}]}}}},
        },
        "status": {"lastScheduleTime": last},
    }))
    .expect("a CronJob");
    let writes = vec![Write::Create(Object::new(quota)), Write::Create(Object::new(cron_job))];
    store.commit(writes).await.expect("created");
    let stop = CancellationToken::new();
    let running = tokio::spawn(cronjob::run(store.clone(), stop.clone()));
    let told = || {
        let events = store.list(&Query::all(Kind::of::<Event>())).expect("readable").objects;
        let failed = events.iter().filter_map(|event| event.typed::<Event>());
        failed.filter(|event| event.reason.as_deref() == Some("FailedCreate")).find_map(|event| event.message.clone())
    };
    until("told why there is no Job", || told().is_some()).await;
    let words = told().expect("a message");
    assert!(words.starts_with("Error creating job: jobs.batch \"c-"), "{words}");
    let why = "is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=0, limited: count/jobs.batch=0";
    assert!(words.ends_with(why), "{words}");
    let cron_job = store.get(&Key::of::<CronJob>("n", "c")).expect("readable").expect("there");
    let status = cron_job.typed::<CronJob>().and_then(|cron_job| cron_job.status.clone()).expect("a status");
    assert_eq!(status.last_schedule_time.map(|time| time.0.as_second()), Some(last.as_second()), "it did not run");
    assert!(jobs(&store).is_empty());
    let key = Key::of::<ResourceQuota>("n", "q");
    store.commit(vec![Write::Delete { key, expected: Expected::Exists }]).await.expect("it goes");
    until("the Job", || !jobs(&store).is_empty()).await;
    stop.cancel();
    running.await.expect("the loop ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_goes_when_its_time_is_over_and_not_before() {
    let store = Store::in_memory().expect("a store");
    let now = Timestamp::now();
    for (name, ended) in [("old", now - SignedDuration::from_secs(60)), ("new", now + SignedDuration::from_mins(60))] {
        let job: Job = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n"},
            "spec": {"ttlSecondsAfterFinished": 30, "template": {}},
            "status": {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": ended}]},
        }))
        .expect("a Job");
        store.commit(vec![Write::Create(Object::new(job))]).await.expect("created");
    }
    let stop = CancellationToken::new();
    // The Job is deleted in the foreground, so it takes garbage collection to let it go.
    let running = tokio::spawn(ttl::run(store.clone(), stop.clone()));
    let collecting = tokio::spawn(jobdock::gc::run(store.clone(), stop.clone()));
    until("the old Job's end", || jobs(&store).len() == 1).await;
    assert_eq!(jobs(&store)[0].meta().name.as_deref(), Some("new"));
    let key = Key::of::<Job>("n", "new");
    let job = store.get(&key).expect("readable").expect("there");
    let mut value = job.to_value();
    value["status"]["conditions"][0]["lastTransitionTime"] = json!(now - SignedDuration::from_secs(60));
    let object = Object::from_value(job.kind(), value).expect("a Job");
    store.commit(vec![Write::Update { object, expected: Expected::Exists }]).await.expect("updated");
    until("the new Job's end", || jobs(&store).is_empty()).await;
    stop.cancel();
    running.await.expect("the loop ends");
    collecting.await.expect("the loop ends");
}
