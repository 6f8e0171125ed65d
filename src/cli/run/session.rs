//! Owns a run from the moment that its Jobs exist until each has ended: what is seen goes into the state, what the
//! state asks for is done. Never judges: `state`, `stuck` and `report` do.
//!
//! ```text
//!  watches --+
//!  signals --+--> state (PURE) --> followers, notes, progress lines, deletes
//!  clock  ---+
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::follow::Followers;
use super::observe::{self, Seen, Watches};
use super::report::{JobReport, Verdict};
use super::screen::Screen;
use super::state::Run;
use super::stop;
use super::stuck;

/// How often progress lines move and pods that cannot start are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How long nothing may come of the output of containers that have ended, before it is given up. No limit for all of
/// it: a flood takes minutes, and ending before it would lose its end and leave the container behind.
const SILENCE: Duration = Duration::from_secs(60);
/// How often the Events of one suspicious pod are asked for.
const ASK_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// Tries in a row that have to fail before the user is told that the server cannot be reached.
const TROUBLE: u32 = 5;

/// How a run is to be carried through.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The namespace that need not be named.
    pub namespace: String,
    /// When the Jobs have to be over.
    pub timeout: Option<SignedDuration>,
    /// Pods that can never start are waited for.
    pub wait_forever: bool,
    /// Nothing but pod output and failures is told.
    pub quiet: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The end of each Job.
    pub reports: Vec<JobReport>,
    /// The state that they were made from.
    pub run: Run,
}

/// A run under way.
pub struct Session {
    client: Client,
    screen: Screen,
    wishes: Wishes,
    interrupts: watch::Receiver<u32>,
    run: Run,
    followers: Followers,
    deletes: JoinSet<()>,
    troubles: u32,
}

impl Session {
    /// A run of no Jobs yet.
    pub fn new(client: Client, screen: Screen, wishes: Wishes, interrupts: watch::Receiver<u32>) -> Self {
        Self {
            followers: Followers::new(client.clone(), screen.clone()),
            client,
            screen,
            wishes,
            interrupts,
            run: Run::default(),
            deletes: JoinSet::new(),
            troubles: 0,
        }
    }

    /// Takes in a Job that was created, or taken over, and that has run since then.
    pub fn add(&mut self, job: Job, since: Timestamp) {
        self.run.add(job, since);
    }

    /// Follows the Jobs until all have ended and all output is shown.
    pub async fn finish(mut self) -> Outcome {
        let mut watches = observe::watch(&self.client, self.run.jobs());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let deadline = self.wishes.timeout.and_then(|timeout| Duration::try_from(timeout).ok());
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep(deadline).await,
                None => std::future::pending().await,
            }
        };
        let mut timeout = std::pin::pin!(timeout);
        let mut timed_out = false;
        let mut interrupts = self.interrupts.clone();
        interrupts.mark_changed();
        while !self.run.unfinished().is_empty() {
            tokio::select! {
                Some(seen) = watches.seen.recv() => self.seen(seen).await,
                Ok(()) = interrupts.changed() => {
                    let count = *interrupts.borrow_and_update();
                    self.interrupted(count).await;
                }
                () = &mut timeout, if !timed_out => {
                    timed_out = true;
                    self.time_out().await;
                }
                _ = tick.tick() => self.tick().await,
            }
        }
        self.collect(watches).await;
        let now = Timestamp::now();
        let reports = self.run.reports(now, &|uid, container| self.followers.tail(uid, container));
        Outcome { reports, run: self.run }
    }

    async fn seen(&mut self, seen: Seen) {
        let now = Timestamp::now();
        if !matches!(seen, Seen::Trouble(_)) {
            self.troubles = 0;
        }
        match seen {
            Seen::Job(job) => self.run.job_seen(*job, now),
            Seen::JobGone(job) => {
                let uid = job.metadata.uid.clone().unwrap_or_default();
                self.run.job_seen(*job, now);
                self.run.job_gone(&uid, now);
            }
            Seen::JobsListed(namespace, uids) => self.run.jobs_listed(&namespace, &uids, now),
            Seen::Pod(pod) => self.pod(&pod, false, now).await,
            Seen::PodGone(pod) => self.pod(&pod, true, now).await,
            Seen::Warning(event) => self.run.warned(&event, now),
            Seen::Trouble(why) => {
                self.troubles += 1;
                if self.troubles == TROUBLE {
                    self.screen.note(format!("warning: the server does not answer, trying on: {why}")).await;
                }
            }
        }
        let warnings = self.run.new_warnings();
        self.warn(warnings).await;
    }

    async fn warn(&self, lines: Vec<String>) {
        for line in lines.into_iter().filter(|_| !self.wishes.quiet) {
            self.screen.note(line).await;
        }
    }

    async fn pod(&mut self, pod: &Pod, deleted: bool, now: Timestamp) {
        let step = self.run.pod_seen(pod, deleted, now);
        if let Some(failed) = step.failed.as_ref().filter(|_| !self.wishes.quiet) {
            let index = failed.index.as_ref().map(|index| format!(" (index {index})")).unwrap_or_default();
            self.screen.note(format!("jobdock: pod {}{index} failed: {}", failed.name, failed.cause())).await;
        }
        self.followers.seen(pod, step.containers, step.failed.is_some());
    }

    async fn tick(&mut self) {
        let now = Timestamp::now();
        self.screen.progress(self.run.lines(&self.wishes.namespace, now), &self.run.pulls());
        while self.deletes.try_join_next().is_some() {}
        if !self.wishes.wait_forever {
            self.give_up(now).await;
        }
        let unplaced = self.run.new_unplaced(now);
        self.warn(unplaced).await;
    }

    /// Ends the Jobs that can never get on.
    async fn give_up(&mut self, now: Timestamp) {
        for (namespace, uid) in self.run.pods_to_ask(now, ASK_EVERY) {
            // An answer that does not come is asked for again.
            if let Ok(events) = events(&self.client, &namespace, &uid).await {
                self.run.events_seen(&uid, &events);
            }
        }
        for (uid, mut why) in self.run.hopeless(now) {
            if why.contains(stuck::TAINTED) {
                why.push_str(&shortage(&self.client).await);
            }
            self.end(BTreeMap::from([(uid, why)]), Verdict::NeverStarted, "a pod can never start").await;
        }
    }

    async fn time_out(&mut self) {
        let after = self.wishes.timeout.unwrap_or_default();
        let why = format!("--timeout {after:#} has passed");
        let all = self.run.unfinished().into_iter().map(|uid| (uid, why.clone())).collect();
        self.end(all, Verdict::TimedOut, &why).await;
    }

    async fn interrupted(&mut self, count: u32) {
        match count {
            0 => {}
            1 => {
                let all = self.run.unfinished().into_iter().map(|uid| (uid, String::new())).collect();
                self.end(all, Verdict::Interrupted, "interrupted").await;
                let more = "jobdock: pods have their grace period to end; interrupt again to kill them";
                self.screen.note(more).await;
            }
            _ => {
                self.screen.note("jobdock: killing the pods").await;
                let jobs = self.run.unfinished().iter().filter_map(|uid| self.run.job(uid)).cloned().collect();
                self.deletes.spawn(stop::at_once(self.client.clone(), jobs));
            }
        }
    }

    /// Deletes Jobs, each for its reason.
    async fn end(&mut self, jobs: BTreeMap<String, String>, verdict: Verdict, what: &str) {
        for (uid, why) in jobs {
            if !self.run.end(&uid, verdict, &why) {
                continue;
            }
            let Some(job) = self.run.job(&uid).cloned() else { continue };
            let name = job.metadata.name.as_deref().unwrap_or_default();
            self.screen.note(format!("jobdock: {what}: deleting Job {name}")).await;
            self.deletes.spawn(stop::gracefully(self.client.clone(), job));
        }
    }

    /// Shows what is still to be shown: the watch of pods may lag behind the Job's end.
    async fn collect(&mut self, watches: Watches) {
        self.screen.progress(self.run.lines(&self.wishes.namespace, Timestamp::now()), &self.run.pulls());
        let Watches { mut seen, .. } = watches;
        while let Ok(seen) = seen.try_recv() {
            self.seen(seen).await;
        }
        match observe::pods(&self.client, self.run.jobs()).await {
            Ok(pods) => {
                for pod in pods {
                    self.pod(&pod, false, Timestamp::now()).await;
                }
            }
            Err(error) => self.screen.note(format!("warning: the last output may be missing: {error}")).await,
        }
        // Who may not read Events has been told nothing of them so far, either.
        for event in observe::warnings(&self.client, self.run.jobs()).await.unwrap_or_default() {
            self.seen(Seen::Warning(Box::new(event))).await;
        }
        let mut interrupts = self.interrupts.clone();
        interrupts.mark_unchanged();
        tokio::select! {
            complete = self.followers.drain(SILENCE) => if !complete {
                let text = format!("warning: some output is missing: none came for {} s", SILENCE.as_secs());
                self.screen.note(text).await;
            },
            Ok(()) = interrupts.changed() => {
                self.screen.note("jobdock: interrupted: the rest of the output is not shown").await;
            }
        }
    }
}

/// What a node tells that is short of something, for a taint says only that it keeps pods out; empty where none does.
async fn shortage(client: &Client) -> String {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await;
    nodes.ok().and_then(|nodes| nodes.items.iter().find_map(stuck::short)).unwrap_or_default()
}

async fn events(client: &Client, namespace: &str, pod_uid: &str) -> kube::Result<Vec<Event>> {
    let api = Api::<Event>::namespaced(client.clone(), namespace);
    let params = ListParams::default().fields(&format!("involvedObject.uid={pod_uid}"));
    Ok(api.list(&params).await?.items)
}
