//! Owns what a run knows of its Jobs and pods while it watches them (PURE).
//! Never talks to a server: states go in, what to follow, to say and to end comes out.
//!
//! ```text
//!  Job:  running --Complete / Failed condition--> finished
//!          |  \--deleted by others--> finished (Deleted)
//!          \--end(): interrupt, timeout, can never start--> ending --gone, or Complete before it was marked--> finished
//! ```

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};

use super::pods::{self, ContainerSeen, FailedPod};
use super::report::{self, Ending, JobReport, Verdict};
use super::stuck::{CONFIG_PATIENCE, Creation, Start};
use super::warnings::{self, Warning, Warnings};
use crate::model::{claims, phase};

/// Failed pods that are kept for the summary, the last ones: more would bury what matters.
pub const FAILED_PODS: usize = 10;
/// Warnings that wait for the pod that they are about to be seen; in a namespace of others most wait in vain.
const UNCLAIMED: usize = 256;
/// Claims of storage that are known to have got no volume, those of others among them.
const VOLUMELESS: usize = 256;

/// Everything a run knows.
#[derive(Debug, Default)]
pub struct Run {
    jobs: BTreeMap<String, JobState>,
    order: Vec<String>,
    live: HashMap<String, LivePod>,
    over: HashMap<String, String>,
    unclaimed: VecDeque<(String, Warning)>,
    volumeless: HashMap<(String, String), String>,
}

#[derive(Debug)]
struct JobState {
    job: Job,
    began: Timestamp,
    finished: Option<(Timestamp, Verdict, Ending)>,
    ending: Option<(Verdict, String)>,
    /// Succeeded and failed pods when its deletion began: what its pods count as after that is chance.
    counted: Option<(i32, i32)>,
    failed_pods: VecDeque<FailedPod>,
    failed_pods_omitted: usize,
    exit_codes: BTreeMap<String, i32>,
    creation: Creation,
    warnings: Warnings,
}

#[derive(Debug)]
struct LivePod {
    job: String,
    namespace: String,
    /// Claims that it waits for, while it has no node.
    claims: Vec<String>,
    start: Start,
    pending: bool,
    since: Timestamp,
    unplaced: Option<Warning>,
    asked: Option<Timestamp>,
    waiting: Option<String>,
    pulls: BTreeMap<String, String>,
}

/// What a state of a pod asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PodStep {
    /// Containers whose followers want to know this.
    pub containers: Vec<ContainerSeen>,
    /// Something to tell the user.
    pub failed: Option<FailedPod>,
}

/// What the progress line of a Job shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobLine {
    /// `name`, or `namespace/name` outside the run's namespace.
    pub name: String,
    /// Pods that succeeded.
    pub succeeded: i32,
    /// Pods wanted; absent for a work queue.
    pub completions: Option<i32>,
    /// Pods that run.
    pub active: i32,
    /// Pods that wait to run.
    pub pending: i32,
    /// Pods that failed.
    pub failed: i32,
    /// Since the Job was created.
    pub elapsed: SignedDuration,
    /// How it ended, once it has.
    pub verdict: Option<Verdict>,
    /// Why it does not get on, where that is known.
    pub note: Option<String>,
}

impl Run {
    /// Takes in a Job that this run has created.
    pub fn add(&mut self, job: Job, now: Timestamp) {
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let state = JobState {
            job,
            began: now,
            finished: None,
            ending: None,
            counted: None,
            failed_pods: VecDeque::new(),
            failed_pods_omitted: 0,
            exit_codes: BTreeMap::new(),
            creation: Creation::default(),
            warnings: Warnings::default(),
        };
        if self.jobs.insert(uid.clone(), state).is_none() {
            self.order.push(uid);
        }
    }

    /// Takes in a Job's newest state. A failure that comes while the run ends the Job is the run's own doing, and so is
    /// anything of a Job that is marked as deleted: its pods are ended, and count before the Job is gone, as failed or, where
    /// a program takes a signal for a good end, as succeeded.
    pub fn job_seen(&mut self, job: Job, now: Timestamp) {
        let Some(state) = job.metadata.uid.as_ref().and_then(|uid| self.jobs.get_mut(uid)) else { return };
        let marked = job.metadata.deletion_timestamp.is_some();
        if state.finished.is_none()
            && let Some((verdict, ending)) = report::ending(&job)
            && (state.ending.is_none() || (verdict == Verdict::Complete && !marked))
        {
            state.finished = Some((now, verdict, ending));
        }
        if marked && state.finished.is_none() {
            state.freeze();
        }
        state.job = job;
    }

    /// Takes in that a Job is no more.
    pub fn job_gone(&mut self, uid: &str, now: Timestamp) {
        let Some(state) = self.jobs.get_mut(uid) else { return };
        if state.finished.is_some() {
            return;
        }
        let (verdict, message) = state.ending.clone().unwrap_or((Verdict::Deleted, String::new()));
        state.finished = Some((now, verdict, Ending { message, ..Ending::default() }));
    }

    /// Takes in that a list shows these Jobs and no others: those of the namespace that are missing are gone.
    pub fn jobs_listed(&mut self, namespace: &str, uids: &HashSet<String>, now: Timestamp) {
        let of = |state: &JobState| state.job.metadata.namespace.as_deref() == Some(namespace);
        let gone: Vec<String> = self
            .jobs
            .iter()
            .filter(|(uid, state)| of(state) && !uids.contains(*uid))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in gone {
            self.job_gone(&uid, now);
        }
    }

    /// Takes in a pod's newest state, or with `deleted` its last one.
    pub fn pod_seen(&mut self, pod: &Pod, deleted: bool, now: Timestamp) -> PodStep {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let Some(job_uid) = pods::job_uid(pod) else { return PodStep::default() };
        let Some(job) = self.jobs.get_mut(job_uid) else { return PodStep::default() };
        if self.over.contains_key(&uid) {
            return PodStep::default();
        }
        job.creation.made(pod);
        let mut containers = pods::containers(pod);
        for container in &containers {
            if let Some(code) = pods::exit_code(pod, &container.container) {
                job.exit_codes.insert(container.container.clone(), code);
            }
        }
        let mut failed = None;
        if deleted || phase::is_over(pod) {
            for container in &mut containers {
                container.last = true;
            }
            // What ends once the Job is being deleted ends because of that.
            failed = pods::failure(pod, deleted).filter(|_| job.counted.is_none());
            job.failed_pods.extend(failed.clone());
            if job.failed_pods.len() > FAILED_PODS {
                job.failed_pods.pop_front();
                job.failed_pods_omitted += 1;
            }
            self.live.remove(&uid);
            self.over.insert(uid, job_uid.to_owned());
        } else {
            let live = self.live.entry(uid).or_insert_with(|| LivePod {
                job: job_uid.to_owned(),
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                claims: Vec::new(),
                start: Start::default(),
                pending: true,
                since: now,
                unplaced: None,
                asked: None,
                waiting: None,
                pulls: BTreeMap::new(),
            });
            live.start.observe(pod, now);
            let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
            let claims = claims::of_pod(pod).into_iter().filter(|_| !placed);
            live.claims = claims.map(|(name, _)| name).collect();
            live.pending = pods::phase(pod) != "Running";
            live.unplaced = pods::unplaced(pod).map(|(reason, message)| Warning {
                kind: "Pod".to_owned(),
                name: pod.metadata.name.clone().unwrap_or_default(),
                reason,
                message,
            });
            live.waiting = pods::waiting(pod);
            live.pulls = pods::pulls(pod).map(|(image, told)| (image.to_owned(), told.to_owned())).collect();
        }
        PodStep { containers, failed }
    }

    /// Pods (namespace, uid) whose Events should be asked for now; each at most once in `every`.
    pub fn pods_to_ask(&mut self, now: Timestamp, every: SignedDuration) -> Vec<(String, String)> {
        let due =
            |pod: &LivePod| pod.asked.is_none_or(|at| now.duration_since(at) >= every) && pod.start.wants_events(now);
        let mut ask = Vec::new();
        for (uid, pod) in self.live.iter_mut().filter(|(_, pod)| due(pod)) {
            pod.asked = Some(now);
            ask.push((pod.namespace.clone(), uid.clone()));
        }
        ask
    }

    /// Takes in the Events of a pod.
    pub fn events_seen(&mut self, pod_uid: &str, events: &[Event]) {
        if let Some(pod) = self.live.get_mut(pod_uid) {
            pod.start.events(events);
        }
    }

    /// Takes in a Warning event of the run's namespaces, of whatever object.
    pub fn warned(&mut self, event: &Event, now: Timestamp) {
        let uid = event.involved_object.uid.clone().unwrap_or_default();
        if let Some(job) = self.jobs.get_mut(&uid) {
            job.creation.event(event, now);
        }
        if let Some((claim, words)) = warnings::without_volume(event)
            && self.volumeless.len() < VOLUMELESS
        {
            self.volumeless.insert(claim, words);
        }
        let Some(warning) = warnings::of(event) else { return };
        if self.unclaimed.len() >= UNCLAIMED {
            self.unclaimed.pop_front();
        }
        self.unclaimed.push_back((uid, warning));
    }

    /// Lines for warnings that were not told yet. Those of pods that the run does not know wait: two watches have no
    /// order between them.
    pub fn new_warnings(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for (uid, warning) in std::mem::take(&mut self.unclaimed) {
            let of_pod = self.live.get(&uid).map(|pod| &pod.job).or_else(|| self.over.get(&uid));
            match self.jobs.get_mut(of_pod.unwrap_or(&uid)) {
                Some(job) => lines.extend(job.warnings.tell(warning)),
                None => self.unclaimed.push_back((uid, warning)),
            }
        }
        lines
    }

    /// Lines for pods that no node has begun with for suspiciously long: nobody may ever.
    pub fn new_unplaced(&mut self, now: Timestamp) -> Vec<String> {
        let late = |pod: &&LivePod| now.duration_since(pod.since) >= CONFIG_PATIENCE;
        let mut lines = Vec::new();
        for pod in self.live.values().filter(late) {
            if let (Some(warning), Some(job)) = (&pod.unplaced, self.jobs.get_mut(&pod.job))
                && job.is_wanted()
            {
                lines.extend(job.warnings.tell(warning.clone()));
            }
        }
        lines
    }

    /// Unfinished Jobs (by uid) with a pod that can never start, or with none that may be made, and why.
    pub fn hopeless(&self, now: Timestamp) -> BTreeMap<String, String> {
        let wanted = |uid: &str| self.jobs.get(uid).is_some_and(JobState::is_wanted);
        let pods = self.live.values().filter(|pod| wanted(&pod.job));
        let mut hopeless: BTreeMap<String, String> =
            pods.filter_map(|pod| Some((pod.job.clone(), self.never(pod, now)?))).collect();
        let busy: HashSet<&str> = self.live.values().map(|pod| pod.job.as_str()).collect();
        let idle = self.jobs.iter().filter(|(uid, job)| job.is_wanted() && !busy.contains(uid.as_str()));
        hopeless.extend(idle.filter_map(|(uid, job)| Some((uid.clone(), job.creation.never(now)?))));
        hopeless
    }

    /// Why a pod can never start: what it tells itself, or what its claims tell, for a pod whose volume cannot be made
    /// tells nothing.
    fn never(&self, pod: &LivePod, now: Timestamp) -> Option<String> {
        let late = now.duration_since(pod.since) >= CONFIG_PATIENCE;
        let words = |claim: &String| self.volumeless.get(&(pod.namespace.clone(), claim.clone())).cloned();
        pod.start.never(now).or_else(|| pod.claims.iter().filter(|_| late).find_map(words))
    }

    /// Notes that the run is about to delete a Job, and why; false where it has ended already.
    pub fn end(&mut self, uid: &str, verdict: Verdict, why: &str) -> bool {
        let Some(job) = self.jobs.get_mut(uid) else { return false };
        if job.finished.is_some() || job.ending.is_some() {
            return false;
        }
        job.ending = Some((verdict, why.to_owned()));
        job.freeze();
        true
    }

    /// Jobs (by uid) that have not finished yet, in the order of creation.
    pub fn unfinished(&self) -> Vec<String> {
        self.order.iter().filter(|uid| self.jobs[*uid].finished.is_none()).cloned().collect()
    }

    /// A Job by its uid.
    pub fn job(&self, uid: &str) -> Option<&Job> {
        self.jobs.get(uid).map(|state| &state.job)
    }

    /// Every Job, in the order of creation.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.order.iter().map(|uid| &self.jobs[uid].job)
    }

    /// The code that a container of the run's Jobs ended with last.
    pub fn container_exit_code(&self, container: &str) -> Option<i32> {
        self.jobs.values().find_map(|job| job.exit_codes.get(container).copied())
    }

    /// The progress lines at `now`; names outside `namespace` carry theirs.
    pub fn lines(&self, namespace: &str, now: Timestamp) -> Vec<JobLine> {
        self.order.iter().map(|uid| self.line(uid, namespace, now)).collect()
    }

    /// How far each pull is that pods wait for, by image: pods that wait for the same one may tell it at different times.
    pub fn pulls(&self) -> BTreeMap<&str, &str> {
        let all = self.live.values().flat_map(|pod| &pod.pulls);
        all.map(|(image, told)| (image.as_str(), told.as_str())).collect()
    }

    fn line(&self, uid: &str, namespace: &str, now: Timestamp) -> JobLine {
        let state = &self.jobs[uid];
        let active = state.job.status.as_ref().and_then(|status| status.active).unwrap_or(0);
        let known = self.live.values().filter(|pod| pod.job == uid && pod.pending).count();
        let pending = i32::try_from(known).unwrap_or(i32::MAX).min(active);
        let (succeeded, failed) = state.counts();
        let meta = &state.job.metadata;
        let name = meta.name.clone().unwrap_or_default();
        let its_namespace = meta.namespace.as_deref().unwrap_or_default();
        let until = state.finished.as_ref().map_or(now, |(at, _, _)| *at);
        let waiting = || self.live.values().filter(|pod| pod.job == uid).find_map(|pod| pod.waiting.clone());
        let suspended = state.job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
        let note = match (&state.ending, suspended) {
            (Some(_), true | false) => Some("stopping".to_owned()),
            (None, true) => Some("suspended".to_owned()),
            (None, false) => waiting().or_else(|| {
                let delayed = active == 0 && failed > 0;
                delayed.then(|| "waiting to try again".to_owned())
            }),
        };
        JobLine {
            name: if its_namespace == namespace { name } else { format!("{its_namespace}/{name}") },
            succeeded,
            completions: state.job.spec.as_ref().and_then(|spec| spec.completions),
            active: active - pending,
            pending,
            failed,
            elapsed: until.duration_since(state.began),
            verdict: state.finished.as_ref().map(|(_, verdict, _)| *verdict),
            note: note.filter(|_| state.finished.is_none()),
        }
    }

    /// The end of each Job; `tail` gives the last lines of a pod's container by (pod uid, container).
    pub fn reports(&self, now: Timestamp, tail: &dyn Fn(&str, &str) -> Vec<String>) -> Vec<JobReport> {
        self.order.iter().map(|uid| self.jobs[uid].report(uid, now, tail)).collect()
    }
}

impl JobState {
    /// Whether it still has to end by itself.
    fn is_wanted(&self) -> bool {
        self.finished.is_none() && self.ending.is_none()
    }

    /// Holds the counts as they are, once.
    fn freeze(&mut self) {
        let counts = self.counts();
        self.counted.get_or_insert(counts);
    }

    /// Succeeded and failed pods: those of the Job's own end, or those until its deletion.
    fn counts(&self) -> (i32, i32) {
        let status = self.job.status.as_ref();
        let now = || {
            let (succeeded, failed) = (status.and_then(|it| it.succeeded), status.and_then(|it| it.failed));
            (succeeded.unwrap_or(0), failed.unwrap_or(0))
        };
        let by_itself = matches!(&self.finished, Some((_, Verdict::Complete | Verdict::Failed, _)));
        self.counted.filter(|_| !by_itself).unwrap_or_else(now)
    }

    fn report(&self, uid: &str, now: Timestamp, tail: &dyn Fn(&str, &str) -> Vec<String>) -> JobReport {
        let (at, result, condition) = self.finished.clone().unwrap_or_else(|| {
            let (verdict, message) = self.ending.clone().unwrap_or((Verdict::Interrupted, String::new()));
            (now, verdict, Ending { message, ..Ending::default() })
        });
        let (succeeded, failed) = self.counts();
        let with_tail = |pod: &FailedPod| FailedPod {
            last_lines: pod.container.as_deref().map(|container| tail(&pod.uid, container)).unwrap_or_default(),
            ..pod.clone()
        };
        JobReport {
            namespace: self.job.metadata.namespace.clone().unwrap_or_default(),
            name: self.job.metadata.name.clone().unwrap_or_default(),
            uid: uid.to_owned(),
            result,
            failure_policy_rule: report::rule(&condition),
            condition,
            completions: self.job.spec.as_ref().and_then(|spec| spec.completions),
            succeeded,
            failed,
            duration: at.duration_since(self.began),
            failed_pods: self.failed_pods.iter().map(with_tail).collect(),
            failed_pods_omitted: self.failed_pods_omitted,
            warnings: self.warnings.told().to_vec(),
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
