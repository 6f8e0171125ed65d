//! Owns the form in which one sync is written down: `{job, pods, now, backoff}` in, the decision as JSON out. It is what
//! `jobdock plan CASE.yaml` reads and prints, and what the parity samples are compared with.
//! Never decides: it calls the plan that the controller calls.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::backoff::BackoffRecord;
use super::claim::Claims;
use super::conditions::{self, FAILURE_TARGET, SUCCESS_CRITERIA_MET};
use super::facts::{JobFacts, JobPlan, Options, PodJudged, PodWrite, Said, Skip, Wait};
use super::plan::plan;
use super::pods::TRACKING_FINALIZER;
use crate::model::go_text;
use crate::model::object::Object;
use crate::model::strategy::Strategy;
use crate::model::time;

/// When a case that names no time is looked at.
const DEFAULT_NOW: &str = "2025-01-01T00:10:00Z";
/// Where a case that names no namespace happens.
const DEFAULT_NAMESPACE: &str = "default";

/// The facts of one sync, as a file gives them.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// The Job; defaults are filled in.
    pub job: Job,
    /// Its pods, all of them its own. One without a uid gets `uid-NAME`.
    #[serde(default)]
    pub pods: Vec<Pod>,
    /// When it is looked at; 2025-01-01T00:10:00Z if not given.
    #[serde(default)]
    pub now: Option<Timestamp>,
    /// What is remembered of earlier failures.
    #[serde(default)]
    pub backoff: BackoffGiven,
}

/// Earlier failures, as a file gives them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackoffGiven {
    /// Failures since the last success.
    #[serde(default)]
    pub failures: i32,
    /// When the last of them finished.
    #[serde(default)]
    pub last_failure_time: Option<Timestamp>,
}

impl Case {
    /// Reads a case that was parsed from YAML or JSON.
    pub fn from_value(value: Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(value)
    }

    /// When the case is looked at.
    pub fn now(&self) -> Timestamp {
        self.now.unwrap_or_else(|| DEFAULT_NOW.parse().expect("the constant is a time"))
    }

    /// The facts that the plan takes.
    pub fn facts(&self) -> JobFacts {
        let mut job = self.job.clone();
        Strategy::default(&mut job);
        let namespace = job.metadata.namespace.get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned()).clone();
        let pods = self.pods.iter().map(|pod| {
            let mut pod = pod.clone();
            complete(&mut pod.metadata, &namespace);
            Object::new(pod)
        });
        JobFacts {
            job: Object::new(job),
            claims: Claims { owned: pods.collect(), ..Claims::default() },
            backoff: BackoffRecord {
                failures: self.backoff.failures,
                last_failure_time: self.backoff.last_failure_time,
            },
            untracked: Vec::new(),
            // A case shows one moment; what suspension clears is a matter of the daemon's release, not of the decision.
            options: Options { suspend_clears_start_time: false, ..Options::default() },
        }
    }

    /// Decides, and says the decision with the keys of the parity samples.
    pub fn answer(&self) -> Value {
        let now = self.now();
        let facts = self.facts();
        let first = plan(&facts, now);
        let second = ends_at_once(&first).then(|| plan(&aftermath(&facts, &first, now), now));
        answer(&facts, &first, second.as_ref(), now)
    }
}

fn complete(meta: &mut ObjectMeta, namespace: &str) {
    meta.namespace.get_or_insert_with(|| namespace.to_owned());
    let uid = format!("uid-{}", meta.name.as_deref().unwrap_or_default());
    meta.uid.get_or_insert(uid);
}

/// Whether the first commit announces an end that nothing holds up, so that the terminal condition follows at once.
/// Upstream writes both in one sync.
fn ends_at_once(first: &JobPlan) -> bool {
    let announces = |status: &JobStatus| {
        let announced =
            [SUCCESS_CRITERIA_MET, FAILURE_TARGET].iter().any(|kind| conditions::holding(status, kind).is_some());
        announced && conditions::finished(status).is_none()
    };
    first.status.as_ref().is_some_and(|status| announces(status) && status.terminating == Some(0))
}

/// The facts once the first commit is done and before anything else happens: deleted pods still terminate.
fn aftermath(facts: &JobFacts, first: &JobPlan, now: Timestamp) -> JobFacts {
    let mut after = facts.clone();
    if let (Some(job), Some(status)) = (facts.job.typed::<Job>(), &first.status) {
        after.job = Object::new(Job { status: Some(status.clone()), ..job.clone() });
    }
    for pod in &mut after.claims.owned {
        if let Some(write) = first.pods.iter().find(|write| write.pod.uid() == pod.uid()) {
            *pod = pod.with_meta(|meta| outlive(meta, write, now));
        }
    }
    after.backoff = first.backoff.unwrap_or(facts.backoff);
    after
}

fn outlive(meta: &mut ObjectMeta, write: &PodWrite, now: Timestamp) {
    if write.untrack {
        meta.finalizers.iter_mut().for_each(|all| all.retain(|name| name != TRACKING_FINALIZER));
    }
    if write.delete {
        meta.deletion_timestamp.get_or_insert(time::seconds(now));
    }
}

fn answer(facts: &JobFacts, first: &JobPlan, second: Option<&JobPlan>, now: Timestamp) -> Value {
    let why = &first.why;
    let messages = why.pods.iter().filter_map(|pod| pod.verdict.as_ref()?.message.as_ref());
    let mut answer = json!({
        "pods": why.pods.iter().map(judged).collect::<Vec<_>>(),
        "failJobMessage": messages.into_iter().next().filter(|_| first.skipped.is_none()),
        "countedSucceeded": why.succeeded,
        "countedFailed": why.failed,
        "decision": why.decision.as_ref().map(|decision| json!({
            "type": decision.kind,
            "reason": decision.cause.reason,
            "message": decision.cause.message,
        })),
        "podsCreated": first.create.iter().map(created).collect::<Vec<_>>(),
    });
    let plans = || std::iter::once(first).chain(second);
    let named = |wanted: &dyn Fn(&PodWrite) -> bool| {
        let writes = plans().flat_map(|plan| &plan.pods).filter(|write| wanted(write) && first.skipped.is_none());
        let mut names: Vec<String> = writes.filter_map(|write| write.pod.meta().name.clone()).collect();
        names.sort();
        names.dedup();
        json!(names)
    };
    let events: Vec<String> = plans().flat_map(|plan| &plan.events).map(said).collect();
    let statuses: Vec<&JobStatus> = plans().filter_map(|plan| plan.status.as_ref()).collect();
    let map = answer.as_object_mut().expect("the literal above is an object");
    map.insert("podsDeleted".to_owned(), named(&|write| write.delete));
    map.insert("finalizersRemoved".to_owned(), named(&|write| write.untrack));
    map.insert("finalStatus".to_owned(), json!(statuses.last()));
    map.insert("statusUpdates".to_owned(), json!(statuses));
    optional(map, "skipped", first.skipped.as_ref().map(skipped));
    optional(map, "completedIndexes", why.completed_indexes.clone());
    optional(map, "failedIndexes", why.failed_indexes.clone());
    optional(map, "events", (!events.is_empty()).then_some(events));
    let waits: Vec<String> = why.waits.iter().map(|wait| waiting(*wait, now)).collect();
    optional(map, "requeueAfter", (!waits.is_empty()).then_some(waits));
    let remaining = why.backoff.remaining(facts.options.delays, now);
    optional(
        map,
        "backoff",
        why.backoff.last_failure_time.map(|last| {
            json!({
                "failuresAfterLastSuccess": why.backoff.failures,
                "lastFailureTime": last,
                "remaining": go_text::duration(remaining),
            })
        }),
    );
    answer
}

fn optional(map: &mut Map<String, Value>, key: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), json!(value));
    }
}

fn judged(pod: &PodJudged) -> Value {
    let verdict = pod.verdict.as_ref();
    let mut judged = json!({
        "name": pod.name,
        "failed": verdict.is_some(),
        "action": verdict.and_then(|verdict| verdict.action).map(super::policy::Action::text),
        "countFailed": verdict.is_some_and(|verdict| verdict.counts),
        "message": verdict.and_then(|verdict| verdict.message.as_ref()),
    });
    if let Some(rule) = verdict.and_then(|verdict| verdict.rule) {
        judged["rule"] = json!(rule);
    }
    judged
}

fn created(pod: &Pod) -> Value {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let index = meta.annotations.as_ref().and_then(|all| all.get(super::pods::INDEX));
    let mut created = Map::new();
    optional(&mut created, "index", index.and_then(|index| index.parse::<i32>().ok()));
    optional(&mut created, "generateName", meta.generate_name.as_ref());
    optional(&mut created, "hostname", spec.and_then(|spec| spec.hostname.as_ref()));
    optional(&mut created, "annotations", meta.annotations.as_ref());
    optional(&mut created, "labels", meta.labels.as_ref());
    optional(&mut created, "finalizers", meta.finalizers.as_ref());
    let env = spec.and_then(|spec| spec.containers.first()?.env.as_ref());
    optional(&mut created, "firstContainerEnv", env);
    Value::Object(created)
}

fn said(event: &Said) -> String {
    format!("{} {} {}", event.severity.text(), event.reason, event.message)
}

fn skipped(skip: &Skip) -> String {
    match skip {
        Skip::Finished => "already finished".to_owned(),
        Skip::ManagedBy(manager) => format!("managed by {manager}"),
        Skip::UnknownMode => "unknown completion mode".to_owned(),
        Skip::NoSpec => "no spec".to_owned(),
    }
}

fn waiting(wait: Wait, now: Timestamp) -> String {
    let what = match wait {
        Wait::Backoff(_) => "backoff",
        Wait::Deadline(_) => "deadline",
    };
    format!("{what} {}", go_text::duration(wait.at().duration_since(now)))
}
