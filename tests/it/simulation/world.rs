//! Owns the world of the simulation: the objects, the clock, what nodes and clients do at random, and the promises that
//! each commit of the controller is held to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use jobdock::job::apply;
use jobdock::job::facts::{BACKOFF_FACT, Claim, JobFacts, JobPlan, Options, UNTRACKED_FACT};
use jobdock::job::orphan;
use jobdock::job::plan::plan;
use jobdock::model::deletion::{self, Deletion, Propagation};
use jobdock::model::object::{Key, Object};
use jobdock::model::strategy::Strategy;
use jobdock::store::{Expected, Identity, Write};
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::spec::{self, Rng};

/// Looks at the Job after which it must have become quiet.
const PATIENCE: usize = 60;

pub struct World {
    key: Key,
    rng: Rng,
    tell: bool,
    now: Timestamp,
    objects: BTreeMap<Key, Object>,
    facts: BTreeMap<&'static str, Bytes>,
    revision: u64,
    minted: u64,
    wake_at: Option<Timestamp>,
    /// Uids of pods counted as succeeded, of Jobs without indexes.
    succeeded: BTreeSet<String>,
    /// Uids of failed pods that have been counted.
    failed: BTreeSet<String>,
    /// Indexes of which some pod has succeeded.
    won: BTreeSet<i32>,
    most_parallel: i32,
    /// `completions` was lowered: succeeded indexes may leave the range.
    shrunk: bool,
}

impl World {
    pub fn new(seed: u64, tell: bool) -> Self {
        let mut rng = Rng::new(seed);
        let job = spec::job(&mut rng);
        let most_parallel = job.spec.as_ref().and_then(|spec| spec.parallelism).unwrap_or(0);
        let mut world = Self {
            key: Key::of::<Job>("n", "j"),
            rng,
            tell,
            now: "2025-01-01T00:00:00Z".parse().expect("a time"),
            objects: BTreeMap::new(),
            facts: BTreeMap::new(),
            revision: 0,
            minted: 0,
            wake_at: None,
            succeeded: BTreeSet::new(),
            failed: BTreeSet::new(),
            won: BTreeSet::new(),
            most_parallel,
            shrunk: false,
        };
        world.say(|| format!("{:?}", job.spec));
        world.put(Object::new(job));
        world
    }

    /// Something happens.
    pub fn step(&mut self) -> Result<(), String> {
        match self.rng.below(10) {
            0..=3 => self.look(),
            4..=6 => {
                self.node();
                Ok(())
            }
            7 => {
                self.client();
                Ok(())
            }
            8 => {
                let seconds = self.rng.pick(&[1, 5, 30, 700, -3, -4000]).unwrap_or(0);
                self.pass(SignedDuration::from_secs(seconds));
                Ok(())
            }
            _ => self.look_while_the_world_moves(),
        }
    }

    /// With no new events, and timers that ring, the system becomes quiet.
    pub fn settle(&mut self) -> Result<(), String> {
        for _ in 0..PATIENCE {
            let before = self.revision;
            self.look()?;
            if self.revision == before {
                match self.wake_at.take() {
                    Some(at) if at > self.now => self.now = at,
                    Some(_) => return Err("it wakes at once and changes nothing".to_owned()),
                    None => return self.check_quiet(),
                }
            }
        }
        Err(format!("it never becomes quiet: {:?}", self.status()))
    }

    /// Once pods stop failing, every unsuspended Job ends.
    pub fn finish(&mut self) -> Result<(), String> {
        self.edit_spec(|spec| {
            spec.suspend = Some(false);
            spec.parallelism = Some(spec.parallelism.unwrap_or(1).max(1));
        });
        for _ in 0..PATIENCE {
            if self.is_finished() {
                let before = self.pods().len();
                self.look()?;
                self.look()?;
                let after = self.pods();
                return if after.len() > before {
                    Err("a finished Job gained a pod".to_owned())
                } else if after.iter().any(|pod| pod.meta().finalizers.is_some()) {
                    Err("a finished Job holds on to a pod".to_owned())
                } else {
                    Ok(())
                };
            }
            for pod in self.pods() {
                self.run(&pod, 0);
            }
            let before = self.revision;
            self.look()?;
            if self.revision == before
                && let Some(at) = self.wake_at.take()
            {
                self.now = self.now.max(at);
            }
        }
        Err(format!("it never ends: {:?}", self.status()))
    }

    // The controller.

    fn observe(&self) -> Option<JobFacts> {
        let job = self.objects.get(&self.key)?.clone();
        let untracked: Vec<String> = self
            .facts
            .get(UNTRACKED_FACT)
            .map(|bytes| serde_json::from_slice(bytes).expect("JSON"))
            .unwrap_or_default();
        // As the controller reads: pods with a finalizer, the remembered ones, and orphans.
        let wanted = |pod: &Object| {
            pod.meta().finalizers.is_some()
                || untracked.iter().any(|name| Some(name) == pod.meta().name.as_ref())
                || pod.meta().owner_references.is_none()
        };
        let pods = self.pods().into_iter().filter(wanted).collect();
        let fact = |name| self.facts.get(name).map(|bytes: &Bytes| bytes.as_ref());
        Some(JobFacts::assemble(job, pods, fact(BACKOFF_FACT), fact(UNTRACKED_FACT), Options::default()))
    }

    /// One sync: observe, plan, apply.
    fn look(&mut self) -> Result<(), String> {
        let Some(facts) = self.observe() else { return Ok(()) };
        let plan = plan(&facts, self.now);
        self.apply(&facts, &plan)?;
        let job = [facts.job];
        for pod in self.pods().iter().filter(|pod| orphan::is_forsaken(pod, &job)) {
            self.put(orphan::released(pod));
        }
        Ok(())
    }

    /// A sync whose facts are stale when it commits, or that dies before it commits.
    fn look_while_the_world_moves(&mut self) -> Result<(), String> {
        let Some(facts) = self.observe() else { return Ok(()) };
        let plan = plan(&facts, self.now);
        match self.rng.below(3) {
            0 => return Ok(()),
            1 => self.node(),
            _ => self.client(),
        }
        self.apply(&facts, &plan)
    }

    fn apply(&mut self, facts: &JobFacts, plan: &JobPlan) -> Result<(), String> {
        let mut minted = self.minted;
        let now = self.now;
        let mint = || {
            minted += 1;
            Identity { uid: format!("pod-{minted}"), suffix: format!("{minted:05}"), now }
        };
        let writes = apply::writes(facts, plan, mint, now);
        let before = self.status();
        let Ok(next) = self.after(&writes) else { return Ok(()) };
        self.say(|| format!("{now} commit {writes:?}"));
        self.minted = minted;
        self.take(next);
        self.wake_at = plan.wake_at;
        self.check(facts, plan, &before)?;
        if !writes.is_empty() && self.rng.one_in(8) && self.after(&writes).is_ok_and(|again| again.2 != self.revision) {
            return Err("the same commit goes through twice".to_owned());
        }
        Ok(())
    }

    // What nodes and clients do.

    fn node(&mut self) {
        let pods = self.pods();
        let Some(pod) = self.rng.pick(&pods) else { return };
        let code = self.rng.pick(&[0, 0, 1, 42, 137]).unwrap_or(0);
        self.run(&pod, code);
    }

    /// One step of a pod's life: bound and running, then ended with `code`, then, if it is deleted, gone.
    fn run(&mut self, object: &Object, code: i32) {
        let Some(mut pod) = object.typed::<Pod>().cloned() else { return };
        let status = pod.status.get_or_insert_default();
        let deleting = pod.metadata.deletion_timestamp.is_some();
        let spec = pod.spec.get_or_insert_default();
        match status.phase.as_deref() {
            Some("Succeeded" | "Failed") if deleting => pod.metadata.deletion_grace_period_seconds = Some(0),
            Some("Succeeded" | "Failed") => return,
            Some("Running") => {
                if code != 0 && !deleting && spec.restart_policy.as_deref() == Some("OnFailure") {
                    for container in status.container_statuses.iter_mut().flatten() {
                        container.restart_count += 1;
                    }
                } else {
                    *status = ended(code, self.now, self.rng.one_in(4));
                }
            }
            Some(_) | None => {
                spec.node_name = Some("here".to_owned());
                *status = running();
            }
        }
        self.say(|| format!("node: {object:?} exits {code}"));
        self.put(Object::new(pod));
    }

    fn client(&mut self) {
        match self.rng.below(6) {
            0 => self.edit_spec(|spec| spec.suspend = Some(!spec.suspend.unwrap_or(false))),
            1 => {
                let parallelism = i32::try_from(self.rng.below(5)).expect("fits");
                self.edit_spec(|spec| spec.parallelism = Some(parallelism));
            }
            2 => {
                // Elastic Indexed Jobs change both together.
                let size = i32::try_from(self.rng.below(5)).expect("fits");
                if self.is_indexed() && self.spec().success_policy.is_none() {
                    self.shrunk |= self.spec().completions.is_some_and(|before| size < before);
                    self.edit_spec(|spec| (spec.completions, spec.parallelism) = (Some(size), Some(size)));
                }
            }
            3 | 4 => {
                let pods = self.pods();
                if let Some(pod) = self.rng.pick(&pods) {
                    self.delete(&pod);
                }
            }
            _ => {
                let pods = self.pods();
                if let Some(pod) = self.rng.pick(&pods) {
                    // Takes the pod away from the Job; the Job takes it back.
                    self.put(pod.with_meta(|meta| meta.owner_references = None));
                }
            }
        }
    }

    fn delete(&mut self, pod: &Object) {
        self.say(|| format!("client: delete {pod:?}"));
        match deletion::delete(pod, None, Propagation::Background, self.now) {
            Deletion::Remove => {
                self.objects.remove(&pod.key());
                self.revision += 1;
            }
            Deletion::Mark(object) => self.put(object),
            Deletion::Underway => {}
        }
    }

    fn edit_spec(&mut self, edit: impl FnOnce(&mut JobSpec)) {
        if self.is_finished() {
            return;
        }
        let mut job = self.job().clone();
        edit(job.spec.get_or_insert_default());
        self.most_parallel = self.most_parallel.max(job.spec.as_ref().and_then(|spec| spec.parallelism).unwrap_or(0));
        self.say(|| format!("client: {:?}", job.spec));
        self.put(Object::new(job));
    }

    fn pass(&mut self, time: SignedDuration) {
        self.now = self.now.checked_add(time).expect("near");
        self.say(|| format!("the clock shows {}", self.now));
    }

    // The promises.

    fn check(&mut self, facts: &JobFacts, plan: &JobPlan, before: &JobStatus) -> Result<(), String> {
        let status = self.status();
        let was_finished = is_finished(before);
        let job = self.job();
        let stored = Job { status: Some(before.clone()), ..job.clone() };
        // An elastic Job that is no longer elastic when its lowered completions are seen: the rule forgets that case.
        let problems = job.validate_status_update(&stored);
        let mut problems = problems.iter().filter(|problem| !(self.shrunk && problem.field == "status.succeeded"));
        if let Some(problem) = problems.next() {
            return Err(format!("the API would refuse the status: {problem}: {status:?}"));
        }
        let claim = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}: {status:?}")) };
        if !plan.create.is_empty() {
            let active = i32::try_from(self.alive(false)).expect("fits");
            claim(!was_finished && !is_finished(&status), "a finished Job gained a pod")?;
            claim(active <= self.spec().parallelism.unwrap_or(1), "more active than parallelism")?;
        }
        claim(!was_finished || status == *before, "a finished Job changed")?;
        let fell = |now: Option<i32>, then: Option<i32>| now.unwrap_or(0) < then.unwrap_or(0);
        claim(self.shrunk || !fell(status.succeeded, before.succeeded), "succeeded fell")?;
        claim(!fell(status.failed, before.failed), "failed fell")?;
        let listed = status.uncounted_terminated_pods.clone().unwrap_or_default();
        claim(listed.succeeded.is_none() && listed.failed.is_none(), "pods are listed as uncounted")?;
        for (terminal, interim) in [("Complete", "SuccessCriteriaMet"), ("Failed", "FailureTarget")] {
            if holds(&status, terminal) && !was_finished {
                claim(holds(before, interim), "the interim condition was not seen before the terminal one")?;
                claim(self.alive(false) + self.alive(true) == 0, "the Job ended while pods run")?;
                claim(status.active.is_none() && status.terminating == Some(0), "an ended Job counts live pods")?;
            }
        }
        claim(!(holds(&status, "Complete") && holds(&status, "Failed")), "both ends")?;
        if !was_finished {
            self.check_counts(facts, plan, &status, before)?;
        }
        Ok(())
    }

    fn check_counts(
        &mut self,
        facts: &JobFacts,
        plan: &JobPlan,
        status: &JobStatus,
        before: &JobStatus,
    ) -> Result<(), String> {
        let indexed = self.is_indexed();
        for write in plan.pods.iter().filter(|write| write.untrack) {
            let pod: &Pod = write.pod.typed().expect("a pod");
            let released = facts.claims.released.iter().any(|pod| pod.uid() == write.pod.uid());
            if phase(pod) != "Succeeded" || released {
                continue;
            }
            if let Some(index) = index(pod) {
                self.won.insert(index);
            }
            if !indexed && !self.succeeded.insert(write.pod.uid().to_owned()) {
                return Err(format!("{:?} was counted twice", write.pod));
            }
        }
        self.check_failures(plan, status, before)?;
        let succeeded = usize::try_from(status.succeeded.unwrap_or(0)).expect("counts from 0");
        if !indexed && succeeded != self.succeeded.len() {
            return Err(format!("{} pods succeeded and were counted, {succeeded} are published", self.succeeded.len()));
        }
        if indexed {
            let completed = jobdock::model::interval::Intervals::parse(
                status.completed_indexes.as_deref().unwrap_or_default(),
                i32::MAX,
            );
            if usize::try_from(completed.total()).expect("counts from 0") != succeeded {
                return Err(format!("succeeded is not the number of completed indexes: {status:?}"));
            }
            if let Some(index) = completed.iter().find(|index| !self.won.contains(index)) {
                return Err(format!("index {index} is completed and no pod of it succeeded"));
            }
        }
        let limit = self.spec().backoff_limit.unwrap_or(6);
        if status.failed.unwrap_or(0) > limit.saturating_add(self.most_parallel) {
            return Err(format!("{:?} failures with a limit of {limit}", status.failed));
        }
        Ok(())
    }

    /// Without a failure policy, every failed pod that leaves the tracking counts, once; and nothing else raises the
    /// counter but pods cut short.
    fn check_failures(&mut self, plan: &JobPlan, status: &JobStatus, before: &JobStatus) -> Result<(), String> {
        let rise = status.failed.unwrap_or(0) - before.failed.unwrap_or(0);
        let leaving = plan.pods.iter().filter(|write| write.untrack && write.claim != Claim::Release);
        let phases: Vec<&str> = leaving.clone().map(|write| phase(write.pod.typed().expect("a pod"))).collect();
        let certain = phases.iter().filter(|phase| **phase == "Failed").count();
        let possible = phases.iter().filter(|phase| **phase != "Succeeded").count();
        let rise = usize::try_from(rise).expect("it never falls");
        let exact = self.spec().pod_failure_policy.is_none() && !self.is_indexed();
        if rise > possible || (exact && rise < certain) {
            return Err(format!("failed rises by {rise}, {certain} to {possible} pods that failed leave: {status:?}"));
        }
        for write in leaving {
            if phase(write.pod.typed().expect("a pod")) == "Failed" && !self.failed.insert(write.pod.uid().to_owned()) {
                return Err(format!("{:?} left the tracking twice", write.pod));
            }
        }
        Ok(())
    }

    fn check_quiet(&self) -> Result<(), String> {
        let status = self.status();
        if is_finished(&status) {
            return Ok(());
        }
        let count = |number: Option<i32>| usize::try_from(number.unwrap_or(0)).expect("counts from 0");
        let (active, terminating) = (self.alive(false), self.alive(true));
        if (count(status.active), count(status.terminating)) != (active, terminating) {
            return Err(format!("{active} active and {terminating} terminating, published is {status:?}"));
        }
        Ok(())
    }

    // The map of objects.

    fn job(&self) -> &Job {
        self.objects[&self.key].typed::<Job>().expect("a Job")
    }

    fn spec(&self) -> &JobSpec {
        self.job().spec.as_ref().expect("a spec")
    }

    fn status(&self) -> JobStatus {
        self.job().status.clone().unwrap_or_default()
    }

    fn is_indexed(&self) -> bool {
        self.spec().completion_mode.as_deref() == Some("Indexed")
    }

    fn is_finished(&self) -> bool {
        is_finished(&self.status())
    }

    fn pods(&self) -> Vec<Object> {
        self.objects.values().filter(|object| object.typed::<Pod>().is_some()).cloned().collect()
    }

    /// The Job's pods that have not ended: told to end, or not.
    fn alive(&self, deleting: bool) -> usize {
        let mut pods = self.pods();
        pods.retain(|pod| {
            let typed: &Pod = pod.typed().expect("a pod");
            pod.meta().owner_references.is_some()
                && !matches!(phase(typed), "Succeeded" | "Failed")
                && pod.meta().deletion_timestamp.is_some() == deleting
        });
        pods.len()
    }

    fn put(&mut self, object: Object) {
        self.revision += 1;
        settle_object(&mut self.objects, object, self.revision);
    }

    /// What a commit makes of the world, or nothing where a guard fails.
    #[allow(clippy::type_complexity)]
    fn after(&self, writes: &[Write]) -> Result<(BTreeMap<Key, Object>, BTreeMap<&'static str, Bytes>, u64), ()> {
        let mut objects = self.objects.clone();
        let mut facts = self.facts.clone();
        let mut revision = self.revision;
        let guard = |objects: &BTreeMap<Key, Object>, key: &Key, expected: Expected| match (objects.get(key), expected)
        {
            (None, _) => Err(()),
            (Some(stored), Expected::Revision(read)) if stored.revision() != read => Err(()),
            (Some(_), _) => Ok(()),
        };
        for write in writes {
            match write {
                Write::Create(object) => {
                    if objects.contains_key(&object.key()) {
                        return Err(());
                    }
                    revision += 1;
                    settle_object(&mut objects, object.clone(), revision);
                }
                Write::Update { object, expected } => {
                    guard(&objects, &object.key(), *expected)?;
                    revision += 1;
                    settle_object(&mut objects, object.clone(), revision);
                }
                Write::Delete { key, expected } => {
                    guard(&objects, key, *expected)?;
                    revision += 1;
                    objects.remove(key);
                }
                Write::Check { key, revision } => guard(&objects, key, Expected::Revision(*revision))?,
                Write::Record(_) => {}
                Write::Remember { name, value, .. } => {
                    facts.insert(name, value.clone());
                }
            }
        }
        Ok((objects, facts, revision))
    }

    fn take(&mut self, next: (BTreeMap<Key, Object>, BTreeMap<&'static str, Bytes>, u64)) {
        (self.objects, self.facts, self.revision) = next;
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.tell {
            println!("{}", what());
        }
    }
}

/// Stores an object as the store does: one that is deleted and that nothing holds is removed.
fn settle_object(objects: &mut BTreeMap<Key, Object>, object: Object, revision: u64) {
    let meta = object.meta();
    let held = meta.finalizers.as_ref().is_some_and(|all| !all.is_empty());
    let graceful = meta.deletion_grace_period_seconds.unwrap_or(0) > 0;
    let key = object.key();
    if meta.deletion_timestamp.is_some() && !held && !graceful {
        objects.remove(&key);
    } else {
        objects.insert(key, object.with_meta(|meta| meta.resource_version = Some(revision.to_string())));
    }
}

fn holds(status: &JobStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn is_finished(status: &JobStatus) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn index(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get("batch.kubernetes.io/job-completion-index")?.parse().ok()
}

fn container(state: ContainerState, restart_count: i32) -> ContainerStatus {
    ContainerStatus { name: "main".to_owned(), restart_count, state: Some(state), ..ContainerStatus::default() }
}

fn running() -> PodStatus {
    let state = ContainerState { running: Some(ContainerStateRunning::default()), ..ContainerState::default() };
    PodStatus {
        phase: Some("Running".to_owned()),
        container_statuses: Some(vec![container(state, 0)]),
        ..PodStatus::default()
    }
}

fn ended(code: i32, now: Timestamp, disrupted: bool) -> PodStatus {
    let terminated = ContainerStateTerminated {
        exit_code: code,
        finished_at: Some(Time(now)),
        ..ContainerStateTerminated::default()
    };
    let state = ContainerState { terminated: Some(terminated), ..ContainerState::default() };
    let disrupted = disrupted.then(|| PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        ..PodCondition::default()
    });
    PodStatus {
        phase: Some(if code == 0 { "Succeeded" } else { "Failed" }.to_owned()),
        container_statuses: Some(vec![container(state, 0)]),
        conditions: Some(disrupted.into_iter().collect()),
        ..PodStatus::default()
    }
}
