//! The pod's plan, case by case: facts in, decision out, as text. Time 0 is the pod's start; `+30` is 30 s later.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use jobdock::pod::backoff::Restarts;
use jobdock::pod::facts::{
    Action, Attempt, ImageFact, ImageUser, NodeFacts, Outage, PodFacts, PodPlan, StartFailure, StartStep, VolumesFact,
};
use jobdock::pod::names;
use jobdock::pod::plan::plan;
use jobdock::runtime::progress::PullSeen;
use jobdock::runtime::{ContainerSeen, ImageSeen, Limits, Seen};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::pod_house::{from_yaml, pod, tell};

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a test's instant is in range")
}

/// Facts of a pod on the node `node`, with uid `uid`, whose images are all there and whose volumes stand.
#[derive(Clone)]
pub struct Case {
    pub facts: PodFacts,
    pub now: Timestamp,
}

impl Case {
    /// Bound, and begun.
    pub fn new(spec: &str) -> Self {
        Self::fresh(spec).told()
    }

    /// Bound just now.
    pub fn fresh(spec: &str) -> Self {
        let mut pod = pod(&format!("{{metadata: {{name: p, uid: uid}}, spec: {spec}}}"));
        let spec = pod.spec.as_mut().expect("a case has a spec");
        spec.node_name.get_or_insert_with(|| "node".to_owned());
        pod.status = Some(from_yaml("{conditions: [{type: PodScheduled, status: 'True'}]}"));
        let spec = pod.spec.as_mut().expect("a case has a spec");
        let names = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let ready =
            ImageFact::Ready { image: ImageSeen { id: "sha256:1".to_owned(), ..ImageSeen::default() }, pulled: false };
        let images = names.map(|container| (container.name.clone(), ready.clone())).collect();
        let node = NodeFacts { name: "node".to_owned(), pod_dir: "/pods/uid".to_owned(), ..NodeFacts::default() };
        let facts = PodFacts { pod, node, images, volumes: VolumesFact::Ready, ..PodFacts::default() };
        Self { facts, now: at(0) }
    }

    pub fn with(mut self, change: impl FnOnce(&mut PodFacts)) -> Self {
        change(&mut self.facts);
        self
    }

    pub fn pod(self, change: impl FnOnce(&mut Pod)) -> Self {
        self.with(|facts| change(&mut facts.pod))
    }

    pub fn unbound(self) -> Self {
        self.pod(|pod| {
            pod.spec.as_mut().expect("a case has a spec").node_name = None;
            pod.status = None;
        })
    }

    pub fn now(mut self, seconds: i64) -> Self {
        self.now = at(seconds);
        self
    }

    /// The engine has this container; one of that name and attempt is replaced.
    pub fn seen(self, container: &str, attempt: u32, state: Seen) -> Self {
        self.with(|facts| {
            let name = names::container("uid", container, attempt);
            facts.containers.retain(|seen| seen.name != name);
            facts.containers.push(ContainerSeen {
                id: format!("{container}{attempt}"),
                labels: names::container_labels(&facts.pod.metadata, container, attempt),
                image_id: "sha256:1".to_owned(),
                limits: Limits::default(),
                ip: None,
                name,
                state,
            });
        })
    }

    pub fn running(self, container: &str, attempt: u32) -> Self {
        self.seen(container, attempt, Seen::Running { started_at: at(1) })
    }

    pub fn exited(self, container: &str, attempt: u32, code: i32) -> Self {
        self.ended(container, attempt, code, 10)
    }

    pub fn ended(self, container: &str, attempt: u32, code: i32, seconds: i64) -> Self {
        let (started_at, finished_at) = (at(seconds - 5), at(seconds));
        self.seen(container, attempt, Seen::Exited { code, oom_killed: false, error: None, started_at, finished_at })
    }

    /// The engine has nothing of this pod.
    pub fn vanished(self) -> Self {
        self.with(|facts| facts.containers.clear())
    }

    /// Logs of this run are complete.
    pub fn copied(self, container: &str, attempt: u32) -> Self {
        self.with(|facts| {
            facts.logs_finished.insert(Attempt { container: container.to_owned(), number: attempt });
        })
    }

    pub fn followed(self, container: &str, attempt: u32) -> Self {
        self.with(|facts| {
            facts.logs_followed.insert(Attempt { container: container.to_owned(), number: attempt });
        })
    }

    /// The first run of this container was asked to stop.
    pub fn asked(self, container: &str) -> Self {
        self.with(|facts| {
            facts.asked_to_stop.insert(names::container("uid", container, 0), at(0));
        })
    }

    /// The first run of this container was killed.
    pub fn killed(self, container: &str) -> Self {
        self.with(|facts| {
            facts.killed.insert(names::container("uid", container, 0));
        })
    }

    pub fn deleted(self, seconds: i64, grace: i64) -> Self {
        self.pod(|pod| {
            pod.metadata.deletion_timestamp = Some(Time(at(seconds)));
            pod.metadata.deletion_grace_period_seconds = Some(grace);
        })
    }

    /// Commits what the plan says, as the store would: the next plan finds it.
    pub fn told(mut self) -> Self {
        let made = plan(&self.facts, self.now);
        if let Some(status) = made.status {
            self.facts.pod.status = Some(status);
        }
        if let Some(restarts) = made.restarts {
            self.facts.restarts = restarts;
        }
        self
    }

    pub fn plan(&self) -> PodPlan {
        plan(&self.facts, self.now)
    }

    /// The decision as text: phase and containers, events, acts, the next look.
    pub fn decide(&self) -> String {
        let plan = self.plan();
        let mut pod = self.facts.pod.clone();
        pod.status = plan.status.clone();
        let told = tell(Some(&pod));
        let mut lines: Vec<String> = told
            .lines()
            .filter(|line| !line.contains("=True") && !line.contains("=False"))
            .map(str::to_owned)
            .collect();
        lines.extend(told.lines().filter(|line| line.starts_with("DisruptionTarget")).map(str::to_owned));
        lines.extend(plan.events.iter().map(|note| format!("event {} {}", note.reason, note.message)));
        lines.extend(plan.actions.iter().map(act));
        lines.extend(plan.wake_at.map(|at_| format!("wake +{}", at_.duration_since(at(0)).as_secs())));
        lines.join("\n")
    }

    pub fn check(&self, expected: Expect) {
        expected.assert_eq(&self.decide());
        let told = Self { facts: self.facts.clone(), now: self.now }.told();
        let again = told.plan();
        assert_eq!(again.status, told.facts.pod.status, "a plan applied twice changes nothing the second time");
        assert_eq!(again.restarts, None, "the back-off is entered once");
    }
}

fn act(action: &Action) -> String {
    let short = |name: &str| name.strip_prefix("jobdock-uid-").unwrap_or(name).to_owned();
    match action {
        Action::PrepareVolumes(work) => format!("prepare {} volumes", work.len()),
        Action::RefreshFiles(work) => format!("refresh {} volumes", work.len()),
        Action::AssignDevices(wanted) => format!("assign {wanted:?}"),
        Action::PrepareSandboxImage => "prepare sandbox image".to_owned(),
        Action::Pull { user: ImageUser::Container(run), image } => format!("pull {image} for {}", run.container),
        Action::Pull { user: ImageUser::Volume(volume), image } => format!("pull {image} for volume {volume}"),
        Action::MountImage { container, image } => format!("make {image} mountable for {container}"),
        Action::StartSandbox(_) => "start sandbox".to_owned(),
        Action::ReadEnvFiles { attempt, files, .. } => format!("read {} files for {}", files.len(), attempt.container),
        Action::WriteHosts { .. } => "write hosts".to_owned(),
        Action::Start { create: Some(_), name, .. } => format!("create and start {}", short(name)),
        Action::Start { create: None, name, .. } => format!("start {}", short(name)),
        Action::FollowLogs { name, .. } => format!("follow {}", short(name)),
        Action::Probe(watch) => format!("probe {} {:?}", short(&watch.key.name), watch.key.kind),
        Action::EndProbe { key } => format!("end probe {} {:?}", short(&key.name), key.kind),
        Action::Hook { key, limit: None, .. } => format!("hook {} {:?}", short(&key.name), key.hook),
        Action::Hook { key, limit: Some(limit), .. } => {
            format!("hook {} {:?} within {} s", short(&key.name), key.hook, limit.as_secs())
        }
        Action::Stop { name, .. } => format!("stop {}", short(name)),
        Action::Kill { name } => format!("kill {}", short(name)),
        Action::RemoveContainer { name } => format!("remove {}", short(name)),
        Action::RemoveData { .. } => "remove data".to_owned(),
        Action::Resize { name, limits } => format!("resize {} {limits:?}", short(name)),
        Action::FinishDeletion => "finish deletion".to_owned(),
    }
}

const ONE: &str = "{restartPolicy: Never, containers: [{name: main, image: a}]}";
const AGAIN: &str = "{restartPolicy: OnFailure, containers: [{name: main, image: a}]}";
const ALWAYS: &str = "{restartPolicy: Always, containers: [{name: main, image: a}]}";
const INIT: &str = "{restartPolicy: Never, initContainers: [{name: i1, image: a}, {name: i2, image: a}], \
                    containers: [{name: main, image: a}]}";
const SIDE: &str = "{restartPolicy: Never, terminationGracePeriodSeconds: 20, \
                    initContainers: [{name: s1, image: a, restartPolicy: Always}, {name: i1, image: a}, \
                    {name: s2, image: a, restartPolicy: Always}], containers: [{name: main, image: a}]}";

/// The sandbox runs.
pub fn sandboxed(case: Case) -> Case {
    case.with(|facts| {
        facts.sandbox_image = Some("sandbox".to_owned());
        facts.containers.push(ContainerSeen {
            name: names::sandbox("uid"),
            id: "sandbox".to_owned(),
            labels: names::pod_labels(&facts.pod.metadata),
            image_id: String::new(),
            limits: Limits::default(),
            ip: Some("10.0.0.1".to_owned()),
            state: Seen::Running { started_at: at(0) },
        });
    })
}

#[test]
fn a_new_pod_is_started_in_one_go() {
    Case::fresh(ONE).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        event Pulled Container image "a" already present on machine
        create and start main-0"#]]);
}

#[test]
fn a_pod_that_must_be_confined_does_not_run_where_nothing_confines_it() {
    let confined = |profile: &str| {
        format!(
            "{{restartPolicy: Never, containers: [{{name: main, image: a, securityContext: {{appArmorProfile: {{type: \
             {profile}}}}}}}]}}"
        )
    };
    let local = confined("Localhost, localhostProfile: own");
    Case::fresh(&local).check(expect![[r#"
        Failed AppArmor Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host
        event AppArmor Cannot enforce AppArmor: AppArmor is not enabled on the host"#]]);
    assert!(Case::fresh(&confined("RuntimeDefault")).decide().starts_with("Failed AppArmor"));
    assert!(Case::fresh(&confined("Unconfined")).decide().starts_with("Pending"));
    let shared = ONE.replace("{restart", "{securityContext: {appArmorProfile: {type: RuntimeDefault}}, restart");
    assert!(Case::fresh(&shared).decide().starts_with("Failed AppArmor"));
    let able = Case::fresh(&local).with(|facts| facts.node.app_armor = true);
    assert!(able.decide().starts_with("Pending"), "{}", able.decide());
    // One that was let in stays, whatever becomes of the engine.
    let running = able.told().running("main", 0).with(|facts| facts.node.app_armor = false);
    assert!(running.decide().starts_with("Running"));
}

#[test]
fn volumes_come_before_containers() {
    Case::new(ONE).with(|facts| facts.volumes = VolumesFact::Unknown).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        prepare 0 volumes"#]]);
    let failed = VolumesFact::Failed { retry_at: at(10) };
    Case::new(ONE).with(|facts| facts.volumes = failed).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        wake +10"#]]);
    Case::new(ONE).with(|facts| facts.volumes = failed).now(10).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        prepare 0 volumes
        wake +10"#]]);
}

#[test]
fn a_created_container_is_started_not_made_again() {
    Case::new(ONE).seen("main", 0, Seen::Created { error: None }).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        start main-0"#]]);
}

#[test]
fn a_running_container_is_followed() {
    Case::new(ONE).running("main", 0).check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        follow main-0"#]]);
    Case::new(ONE).running("main", 0).followed("main", 0).check(expect![[r#"
        Running - -
        main #0 ready started: running, last -"#]]);
}

#[test]
fn an_end_is_told_before_anything_is_removed() {
    let ended = Case::new(ONE).running("main", 0).told().exited("main", 0, 0).followed("main", 0);
    ended.check(expect![[r#"
        Succeeded - -
        main #0: Completed 0, last -"#]]);
    let copied = ended.copied("main", 0);
    assert!(!copied.decide().contains("remove"), "not told yet");
    let told = copied.told();
    told.check(expect![[r#"
        Succeeded - -
        main #0: Completed 0, last -
        remove main-0"#]]);
    let removed = told.vanished().with(|facts| facts.has_data = true);
    removed.check(expect![[r#"
        Succeeded - -
        main #0: Completed 0, last -
        remove data"#]]);
    removed.with(|facts| facts.has_data = false).check(expect![[r#"
        Succeeded - -
        main #0: Completed 0, last -"#]]);
}

#[test]
fn a_terminal_phase_is_never_left() {
    let over = Case::new(ONE).exited("main", 0, 1).told();
    assert!(over.decide().starts_with("Failed"));
    assert!(over.exited("main", 0, 0).decide().starts_with("Failed"));
}

#[test]
fn a_start_that_fails_ends_the_run() {
    let seen = Seen::Created { error: Some("no such file".to_owned()) };
    Case::new(ONE).seen("main", 0, seen.clone()).check(expect![[r#"
        Failed - -
        main #0: StartError 128 (no such file), last -
        follow main-0"#]]);
    let failure = StartFailure { step: StartStep::Start, message: "no such file".to_owned(), retry_at: at(10) };
    Case::new(AGAIN).seen("main", 0, seen).with(|facts| drop(facts.failures.insert("main".to_owned(), failure))).check(
        expect![[r#"
            Running - -
            main #0: waiting RunContainerError (no such file), last StartError 128 (no such file)
            event Failed Error: no such file
            follow main-0
            wake +10"#]],
    );
}

#[test]
fn a_create_that_fails_is_tried_again() {
    let failure = StartFailure { step: StartStep::Create, message: "no space".to_owned(), retry_at: at(10) };
    let failed = Case::new(ONE).with(|facts| drop(facts.failures.insert("main".to_owned(), failure)));
    failed.check(expect![[r#"
        Pending - -
        main #0: waiting CreateContainerError (no space), last -
        event Failed Error: no space
        wake +10"#]]);
    failed.told().now(10).check(expect![[r#"
        Pending - -
        main #0: waiting CreateContainerError (no space), last -
        event Pulled Container image "a" already present on machine
        create and start main-0"#]]);
}

#[test]
fn restarts_wait_longer_each_time() {
    // The first restart is immediate, in the same commit as the end of the first run.
    let first = Case::new(AGAIN).running("main", 0).told().exited("main", 0, 1).copied("main", 0).now(10);
    first.check(expect![[r#"
        Running - -
        main #0: Error 1, last -
        event Pulled Container image "a" already present on machine
        create and start main-1"#]]);
    // The second waits 10 s from the end.
    let second = first.told().running("main", 1).told().ended("main", 1, 2, 20).now(21).copied("main", 1);
    second.check(expect![[r#"
        Running - -
        main #1: waiting CrashLoopBackOff (back-off 10s restarting failed container=main pod=p_default(uid)), last Error 2
        event BackOff Back-off restarting failed container main in pod p_default(uid)
        remove main-0
        wake +30"#]]);
    let due = second.told().now(30);
    due.check(expect![[r#"
        Running - -
        main #1: waiting CrashLoopBackOff (back-off 10s restarting failed container=main pod=p_default(uid)), last Error 2
        event Pulled Container image "a" already present on machine
        create and start main-2
        remove main-0
        remove main-1"#]]);
    // The third waits 20 s.
    let third = due.told().running("main", 2).told().ended("main", 2, 2, 40).now(41);
    third.check(expect![[r#"
        Running - -
        main #2: waiting CrashLoopBackOff (back-off 20s restarting failed container=main pod=p_default(uid)), last Error 2
        event BackOff Back-off restarting failed container main in pod p_default(uid)
        remove main-0
        remove main-1
        follow main-2
        wake +60"#]]);
    // Ten good minutes begin anew.
    let rested = third.told().now(60).told().running("main", 3).told().ended("main", 3, 2, 700).now(701);
    assert!(rested.decide().contains("create and start main-4"), "{}", rested.decide());
}

#[test]
fn a_success_restarts_only_always() {
    assert!(Case::new(AGAIN).exited("main", 0, 0).decide().starts_with("Succeeded"));
    let always = Case::new(ALWAYS).exited("main", 0, 0).now(10);
    assert!(always.decide().contains("create and start main-1"), "{}", always.decide());
}

#[test]
fn a_containers_own_rules_come_before_the_pods() {
    let spec = "{restartPolicy: Never, containers: [{name: main, image: a, restartPolicy: Never, restartPolicyRules: \
                [{action: Restart, exitCodes: {operator: In, values: [42]}}]}]}";
    assert!(Case::new(spec).exited("main", 0, 42).now(10).decide().contains("create and start main-1"));
    assert!(Case::new(spec).exited("main", 0, 41).now(10).decide().starts_with("Failed"));
}

#[test]
fn init_containers_run_one_after_the_other() {
    Case::new(INIT).check(expect![[r#"
        Pending - -
        i1 #0: waiting PodInitializing, last -
        i2 #0: waiting PodInitializing, last -
        main #0: waiting PodInitializing, last -
        event Pulled Container image "a" already present on machine
        create and start i1-0"#]]);
    Case::new(INIT).running("i1", 0).followed("i1", 0).check(expect![[r#"
        Pending - -
        i1 #0 started: running, last -
        i2 #0: waiting PodInitializing, last -
        main #0: waiting PodInitializing, last -"#]]);
    let first = Case::new(INIT).exited("i1", 0, 0).copied("i1", 0);
    first.check(expect![[r#"
        Pending - -
        i1 #0 ready: Completed 0, last -
        i2 #0: waiting PodInitializing, last -
        main #0: waiting PodInitializing, last -
        event Pulled Container image "a" already present on machine
        create and start i2-0"#]]);
    let both = first.told().vanished().exited("i2", 0, 0).copied("i2", 0);
    both.check(expect![[r#"
        Pending - -
        i1 #0 ready: Completed 0, last -
        i2 #0 ready: Completed 0, last -
        main #0: waiting PodInitializing, last -
        event Pulled Container image "a" already present on machine
        create and start main-0"#]]);
    Case::new(INIT).exited("i1", 0, 3).check(expect![[r#"
        Failed - -
        i1 #0: Error 3, last -
        i2 #0: waiting PodInitializing, last -
        main #0: waiting PodInitializing, last -
        follow i1-0"#]]);
}

#[test]
fn a_failed_init_container_is_tried_again_where_the_pod_restarts() {
    let spec =
        "{restartPolicy: OnFailure, initContainers: [{name: i1, image: a}], containers: [{name: main, image: a}]}";
    Case::new(spec).exited("i1", 0, 3).now(10).check(expect![[r#"
        Pending - -
        i1 #0: Error 3, last -
        main #0: waiting PodInitializing, last -
        event Pulled Container image "a" already present on machine
        create and start i1-1
        follow i1-0"#]]);
}

#[test]
fn once_begun_init_containers_are_behind() {
    let begun = Case::new(INIT).exited("i1", 0, 0).told().exited("i2", 0, 0).told().running("main", 0).told();
    let begun = begun.vanished().running("main", 0).followed("main", 0).copied("i1", 0).copied("i2", 0);
    begun.check(expect![[r#"
        Running - -
        i1 #0 ready: Completed 0, last -
        i2 #0 ready: Completed 0, last -
        main #0 ready started: running, last -"#]]);
}

#[test]
fn sidecars_start_in_order_and_hold_nothing_up() {
    sandboxed(Case::new(SIDE)).check(expect![[r#"
        Pending - -
        s1 #0: waiting PodInitializing, last -
        i1 #0: waiting PodInitializing, last -
        s2 #0: waiting PodInitializing, last -
        main #0: waiting PodInitializing, last -
        event Pulled Container image "a" already present on machine
        create and start s1-0"#]]);
    let one = sandboxed(Case::new(SIDE)).running("s1", 0).followed("s1", 0);
    one.check(expect![[r#"
        Pending - -
        s1 #0 ready started: running, last -
        i1 #0: waiting PodInitializing, last -
        s2 #0: waiting PodInitializing, last -
        main #0: waiting PodInitializing, last -
        event Pulled Container image "a" already present on machine
        create and start i1-0"#]]);
    let two = one.exited("i1", 0, 0).copied("i1", 0);
    two.check(expect![[r#"
        Pending - -
        s1 #0 ready started: running, last -
        i1 #0 ready: Completed 0, last -
        s2 #0: waiting PodInitializing, last -
        main #0: waiting PodInitializing, last -
        event Pulled Container image "a" already present on machine
        create and start s2-0"#]]);
    let all = two.running("s2", 0).followed("s2", 0).running("main", 0).followed("main", 0).told();
    all.check(expect![[r#"
        Running - -
        s1 #0 ready started: running, last -
        i1 #0 ready: Completed 0, last -
        s2 #0 ready started: running, last -
        main #0 ready started: running, last -
        remove i1-0"#]]);
    // The last sidecar goes first.
    let done = all.exited("main", 0, 0).copied("main", 0).now(10);
    done.check(expect![[r#"
        Running - -
        s1 #0 ready started: running, last -
        i1 #0 ready: Completed 0, last -
        s2 #0 ready started: running, last -
        main #0: Completed 0, last -
        event Killing Stopping container s2
        stop s2-0
        remove i1-0
        wake +30"#]]);
    let asked = done.told().asked("s2");
    asked.check(expect![[r#"
        Running - -
        s1 #0 ready started: running, last -
        i1 #0 ready: Completed 0, last -
        s2 #0 ready started: running, last -
        main #0: Completed 0, last -
        remove i1-0
        remove main-0
        wake +30"#]]);
    let next = asked.ended("s2", 0, 143, 11).copied("s2", 0);
    next.check(expect![[r#"
        Running - -
        s1 #0 ready started: running, last -
        i1 #0 ready: Completed 0, last -
        s2 #0: Error 143, last -
        main #0: Completed 0, last -
        event Killing Stopping container s1
        stop s1-0
        remove i1-0
        remove main-0
        wake +30"#]]);
    let last = next.told().ended("s1", 0, 137, 12).copied("s1", 0);
    last.check(expect![[r#"
        Succeeded - -
        s1 #0: Error 137, last -
        i1 #0 ready: Completed 0, last -
        s2 #0: Error 143, last -
        main #0: Completed 0, last -
        remove i1-0
        remove s2-0
        remove main-0"#]]);
}

#[test]
fn several_containers_need_a_sandbox() {
    let spec = "{restartPolicy: Never, containers: [{name: a, image: a}, {name: b, image: a}]}";
    Case::new(spec).check(expect![[r#"
        Pending - -
        a #0: waiting ContainerCreating, last -
        b #0: waiting ContainerCreating, last -
        prepare sandbox image"#]]);
    Case::new(spec).with(|facts| facts.sandbox_image = Some("sandbox".to_owned())).check(expect![[r#"
        Pending - -
        a #0: waiting ContainerCreating, last -
        b #0: waiting ContainerCreating, last -
        start sandbox"#]]);
    sandboxed(Case::new(spec)).check(expect![[r#"
        Pending - -
        a #0: waiting ContainerCreating, last -
        b #0: waiting ContainerCreating, last -
        event Pulled Container image "a" already present on machine
        event Pulled Container image "a" already present on machine
        create and start a-0
        create and start b-0"#]]);
}

#[test]
fn one_failure_of_several_fails_the_pod_when_all_have_ended() {
    let spec = "{restartPolicy: Never, containers: [{name: a, image: a}, {name: b, image: a}]}";
    let half = sandboxed(Case::new(spec)).running("a", 0).running("b", 0).told().exited("a", 0, 1);
    assert!(half.decide().starts_with("Running"), "{}", half.decide());
    assert!(half.told().exited("b", 0, 0).decide().starts_with("Failed"));
}

#[test]
fn a_deleted_pod_is_asked_to_stop_then_killed() {
    let running = Case::new(ONE).running("main", 0).followed("main", 0).told().deleted(40, 30).now(10);
    running.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        event Killing Stopping container main
        stop main-0
        wake +41"#]]);
    let asked = running.asked("main");
    asked.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        wake +41"#]]);
    let late = asked.now(41);
    late.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        kill main-0"#]]);
    late.killed("main").check(expect![[r#"
        Running - -
        main #0 ready started: running, last -"#]]);
}

#[test]
fn a_deleted_pod_is_judged_by_its_containers_then_let_go() {
    let running = Case::new(ONE).running("main", 0).told().deleted(40, 30).now(10);
    assert!(running.exited("main", 0, 0).decide().starts_with("Succeeded"));
    let killed =
        Case::new(ONE).running("main", 0).told().deleted(40, 30).now(42).ended("main", 0, 137, 41).copied("main", 0);
    killed.check(expect![[r#"
        Failed - -
        main #0: Error 137, last -"#]]);
    let removed = killed.told().vanished();
    removed.check(expect![[r#"
        Failed - -
        main #0: Error 137, last -
        finish deletion"#]]);
    removed.deleted(40, 0).check(expect![[r#"
        Failed - -
        main #0: Error 137, last -"#]]);
}

#[test]
fn a_pod_deleted_before_it_ran_has_failed_without_an_exit_code() {
    Case::new(ONE).told().deleted(40, 30).check(expect![[r#"
        Failed - -
        main #0: waiting ContainerCreating, last -"#]]);
    Case::new(ONE).unbound().deleted(0, 0).check(expect![[r#"
        Failed - -
        main #0: waiting ContainerCreating, last -"#]]);
    Case::new(ONE).seen("main", 0, Seen::Created { error: None }).deleted(40, 30).check(expect![[r#"
        Failed - -
        main #0: waiting ContainerCreating, last -
        remove main-0"#]]);
}

#[test]
fn nothing_is_restarted_in_a_pod_that_is_deleted() {
    let waiting = Case::new(AGAIN).exited("main", 0, 1).told().deleted(40, 30).now(20);
    waiting.check(expect![[r#"
        Failed - -
        main #0: Error 1, last -
        follow main-0"#]]);
}

#[test]
fn a_deadline_fails_the_pod_whatever_its_containers_say() {
    let spec = "{restartPolicy: Never, activeDeadlineSeconds: 60, terminationGracePeriodSeconds: 5, \
                containers: [{name: main, image: a}]}";
    let running = Case::new(spec).running("main", 0).followed("main", 0).told();
    running.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        wake +60"#]]);
    let late = running.now(60);
    late.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        event DeadlineExceeded Pod was active on the node longer than the specified deadline
        event Killing Stopping container main
        stop main-0
        wake +65"#]]);
    late.told().ended("main", 0, 0, 61).now(61).copied("main", 0).check(expect![[r#"
        Failed DeadlineExceeded Pod was active on the node longer than the specified deadline
        main #0: Completed 0, last -
        event DeadlineExceeded Pod was active on the node longer than the specified deadline"#]]);
}

/// The node takes the pod down, and says why.
fn taken_down(case: Case, message: &str) -> Case {
    case.pod(|pod| {
        let at = Timestamp::from_second(1_700_000_001).expect("a time");
        jobdock::model::condition::disrupt(pod, "TerminationByKubelet", message, at);
    })
}

#[test]
fn a_program_that_ends_well_because_it_was_disrupted_has_not_succeeded() {
    // The phase, reason and message of the pod once its program has exited with this code.
    let first = |case: &Case, code: i32| {
        let ended = case.clone().ended("main", 0, code, 12).copied("main", 0).now(13).decide();
        ended.lines().next().unwrap_or_default().to_owned()
    };
    const SHUTDOWN: &str = "Pod was terminated in response to imminent node shutdown.";
    let running = || Case::new(ONE).running("main", 0).followed("main", 0).told();
    let drained = |case: Case| {
        case.pod(|pod| {
            let at = Timestamp::from_second(1_700_000_001).expect("a time");
            jobdock::model::condition::disrupt(pod, "EvictionByEvictionAPI", "Eviction API: evicting", at);
        })
    };
    let exceeding = running().with(|facts| facts.exceeded = Some("Usage exceeds the limit".to_owned()));
    assert_eq!(first(&running().deleted(40, 30).asked("main").told(), 0), "Succeeded - -", "merely deleted");
    // What had ended before anybody asked is believed.
    assert_eq!(first(&taken_down(running(), "The node was low"), 0), "Succeeded - -");
    for (what, case, failed) in [
        ("drained or preempted", drained(running()).deleted(40, 30), "Failed - -"),
        ("shut down", taken_down(running(), SHUTDOWN).deleted(40, 30), &*format!("Failed Terminated {SHUTDOWN}")),
        ("evicted", taken_down(running(), "The node was low"), "Failed Evicted The node was low"),
        (
            "evicted and deleted",
            taken_down(running(), "The node was low").deleted(40, 30),
            "Failed Evicted The node was low",
        ),
        ("exceeding a limit", exceeding, "Failed Evicted Usage exceeds the limit"),
    ] {
        let stopped = case.asked("main").told();
        assert_eq!((first(&stopped, 0).as_str(), first(&stopped, 143).as_str()), (failed, failed), "{what}");
    }
}

#[test]
fn a_pod_that_exceeds_its_own_limits_is_evicted_and_is_no_disruption() {
    let running = Case::new(ONE).running("main", 0).followed("main", 0).told();
    let exceeding = running.with(|facts| facts.exceeded = Some("Usage exceeds the limit".to_owned()));
    exceeding.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        event Evicted Usage exceeds the limit
        event Killing Stopping container main
        stop main-0
        wake +2"#]]);
    exceeding.asked("main").told().check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        wake +2"#]]);
}

#[test]
fn a_container_that_is_gone_has_failed() {
    Case::new(ONE).running("main", 0).told().vanished().now(20).check(expect![[r#"
        Failed - -
        main #0: ContainerStatusUnknown 137 (The container could not be located when the pod was terminated), last -
        follow main-0"#]]);
    let again = Case::new(AGAIN).running("main", 0).told().vanished().copied("main", 0).now(20);
    again.check(expect![[r#"
        Running - -
        main #0: ContainerStatusUnknown 137 (The container could not be located when the pod was terminated), last -
        event Pulled Container image "a" already present on machine
        create and start main-1"#]]);
    Case::new(ONE).running("main", 0).told().seen("main", 0, Seen::Dead).now(20).check(expect![[r#"
        Failed - -
        main #0: ContainerStatusUnknown 137 (The container could not be located when the pod was terminated), last -
        follow main-0"#]]);
}

#[test]
fn an_exit_in_an_outage_proves_nothing() {
    let outage = Some(Outage { from: at(50), to: at(70) });
    let shaken = |seconds: i64, spec: &str| {
        let running = Case::new(spec).running("main", 0).followed("main", 0).told().with(|facts| facts.outage = outage);
        running
            .seen(
                "main",
                0,
                Seen::Exited { code: 0, oom_killed: false, error: None, started_at: at(1), finished_at: at(seconds) },
            )
            .now(100)
    };
    shaken(60, ONE).check(expect![[r#"
        Failed Terminated Pod was terminated in response to imminent node shutdown.
        main #0: ContainerStatusUnknown 137 (The container could not be located when the pod was terminated), last -
        DisruptionTarget=True TerminationByKubelet (Pod was terminated in response to imminent node shutdown.)"#]]);
    // Long before it, or long after it, or begun after it: proven.
    for seconds in [19, 101] {
        assert!(shaken(seconds, ONE).decide().starts_with("Succeeded"), "{}", shaken(seconds, ONE).decide());
    }
    let later = Case::new(ONE).with(|facts| facts.outage = outage).seen(
        "main",
        0,
        Seen::Exited { code: 0, oom_killed: false, error: None, started_at: at(71), finished_at: at(72) },
    );
    assert!(later.now(100).decide().starts_with("Succeeded"));
    // A clock that lost the end.
    assert!(shaken(0, ONE).decide().starts_with("Failed"));
    // Where it is restarted anyway, it is.
    shaken(60, AGAIN).check(expect![[r#"
        Running - -
        main #0: ContainerStatusUnknown 137 (The container could not be located when the pod was terminated), last -
        event Pulled Container image "a" already present on machine
        create and start main-1"#]]);
    // Gone with the outage.
    let gone = Case::new(ONE).running("main", 0).told().vanished().with(|facts| facts.outage = outage).now(100);
    assert!(gone.decide().contains("DisruptionTarget=True"), "{}", gone.decide());
}

#[test]
fn the_last_words_are_waited_for_only_where_they_come_from_the_log() {
    let spec =
        "{restartPolicy: Never, containers: [{name: main, image: a, terminationMessagePolicy: FallbackToLogsOnError}]}";
    let run = Attempt { container: "main".to_owned(), number: 0 };
    let ended = Case::new(spec).running("main", 0).told().exited("main", 0, 1).followed("main", 0);
    ended.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -"#]]);
    let tail = (run, "the end".to_owned());
    ended.copied("main", 0).with(|facts| facts.log_tails = BTreeMap::from([tail])).check(expect![[r#"
        Failed - -
        main #0: Error 1 (the end), last -"#]]);
    assert!(Case::new(spec).exited("main", 0, 0).decide().starts_with("Succeeded"));
}

#[test]
fn images_decide_how_a_container_waits() {
    let image = |fact: ImageFact| Case::new(ONE).with(|facts| drop(facts.images.insert("main".to_owned(), fact)));
    image(ImageFact::Wanted).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        pull a for main"#]]);
    image(ImageFact::Pulling { told: None }).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -"#]]);
    let told = Some(PullSeen { layers_done: 2, layers: 5, bytes_done: 12_340_000, bytes: 40_000_000 });
    image(ImageFact::Pulling { told }).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating (Pulling image "a": 12.3 MB of 40.0 MB, 2 of 5 layers), last -"#]]);
    image(ImageFact::Invalid("couldn't parse".to_owned())).check(expect![[r#"
        Pending - -
        main #0: waiting InvalidImageName (Failed to apply default image tag "a": couldn't parse), last -
        event InspectFailed Failed to apply default image tag "a": couldn't parse
        event Failed Error: InvalidImageName"#]]);
    image(ImageFact::NeverPulled).check(expect![[r#"
        Pending - -
        main #0: waiting ErrImageNeverPull (Container image "a" is not present with pull policy of Never), last -
        event ErrImageNeverPull Container image "a" is not present with pull policy of Never
        event Failed Error: ErrImageNeverPull
        wake +10"#]]);
    let failed = || image(ImageFact::Failed { message: "denied".to_owned(), at: at(0), retry_at: at(10) });
    failed().check(expect![[r#"
        Pending - -
        main #0: waiting ErrImagePull (denied), last -
        event Failed Error: ErrImagePull
        wake +2"#]]);
    failed().told().now(5).check(expect![[r#"
        Pending - -
        main #0: waiting ImagePullBackOff (Back-off pulling image "a": ErrImagePull: denied), last -
        event BackOff Back-off pulling image "a"
        event Failed Error: ImagePullBackOff
        wake +10"#]]);
    failed().told().now(5).told().now(10).check(expect![[r#"
        Pending - -
        main #0: waiting ImagePullBackOff (Back-off pulling image "a": ErrImagePull: denied), last -
        pull a for main
        wake +10"#]]);
    image(ImageFact::Ready { image: ImageSeen::default(), pulled: true }).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        create and start main-0"#]]);
}

const WITH_IMAGE: &str = "{restartPolicy: Never, volumes: [{name: v, image: {reference: d}}], containers: [\
                          {name: main, image: a, volumeMounts: [{name: v, mountPath: /v}]}]}";

#[test]
fn an_image_volume_is_had_like_an_image_by_who_mounts_it() {
    let ready = |pulled| ImageFact::Ready { image: ImageSeen { id: "i".to_owned(), ..ImageSeen::default() }, pulled };
    let volume = |fact: ImageFact| {
        Case::new(WITH_IMAGE).with(|facts| {
            if let ImageFact::Ready { image, .. } = &fact {
                facts.sources.images.insert("v".to_owned(), image.id.clone());
            }
            facts.image_volumes.insert("v".to_owned(), fact);
        })
    };
    volume(ImageFact::Wanted).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        pull d for volume v"#]]);
    volume(ImageFact::Failed { message: "denied".to_owned(), at: at(0), retry_at: at(10) }).check(expect![[r#"
        Pending - -
        main #0: waiting ErrImagePull (denied), last -
        event Failed Error: ErrImagePull
        wake +2"#]]);
    volume(ready(true)).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        make i mountable for main"#]]);
    let making = |done| volume(ready(false)).with(|facts| facts.mountable = BTreeMap::from([("i".to_owned(), done)]));
    making(false).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -"#]]);
    making(true).check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        event Pulled Container image "d" already present on machine
        event Pulled Container image "a" already present on machine
        create and start main-0"#]]);
    let apart = WITH_IMAGE.replace("volumeMounts: [{name: v, mountPath: /v}]", "args: [a]");
    Case::new(&apart).with(|facts| drop(facts.image_volumes.insert("v".to_owned(), ImageFact::Wanted))).check(expect![
        [r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        event Pulled Container image "a" already present on machine
        create and start main-0"#]
    ]);
}

#[test]
fn an_image_for_another_platform_is_told_and_started() {
    let case = |architecture: &str| {
        let image = ImageSeen { os: "linux".to_owned(), architecture: architecture.to_owned(), ..ImageSeen::default() };
        Case::new(ONE).with(|facts| {
            (facts.node.os, facts.node.architecture) = ("linux".to_owned(), "amd64".to_owned());
            facts.images.insert("main".to_owned(), ImageFact::Ready { image, pulled: true });
        })
    };
    case("arm64").check(expect![[r#"
        Pending - -
        main #0: waiting ContainerCreating, last -
        event ImagePlatformMismatch Image "a" is for linux/arm64, the node is linux/amd64: its programs may not run
        create and start main-0"#]]);
    for same in ["amd64", ""] {
        assert!(!case(same).decide().contains("ImagePlatformMismatch"), "{same}");
    }
}

#[test]
fn a_broken_configuration_is_told_before_an_image_is_pulled() {
    let spec = "{restartPolicy: Never, containers: [{name: main, image: a, envFrom: [{secretRef: {name: s}}]}]}";
    Case::new(spec).with(|facts| drop(facts.images.insert("main".to_owned(), ImageFact::Wanted))).check(expect![[r#"
        Pending - -
        main #0: waiting CreateContainerConfigError (secret "s" not found), last -
        wake +10"#]]);
}

#[test]
fn a_broken_clock_does_not_make_a_back_off_endless() {
    let restarts = BTreeMap::from([(
        "main".to_owned(),
        Restarts { attempt: 1, delay_seconds: 10, at: at(0), again: None, with_all: false },
    )]);
    // The engine's clock is an hour ahead.
    let ahead = Case::new(AGAIN).ended("main", 1, 1, 3600).with(|facts| facts.restarts = restarts).now(5);
    let wake = ahead.plan().wake_at.expect("it waits");
    assert!(wake <= at(5) + SignedDuration::from_secs(10), "{wake}");
}

#[test]
fn others_pods_are_left_alone() {
    let foreign =
        Case::new(ONE).pod(|pod| pod.spec.as_mut().expect("a case has a spec").node_name = Some("x".to_owned()));
    assert_eq!(foreign.plan(), PodPlan::default());
    assert_eq!(Case::new(ONE).unbound().plan(), PodPlan::default(), "the scheduler's");
    let unseen = Case::fresh(ONE).pod(|pod| pod.status = None);
    assert_eq!(unseen.plan(), PodPlan::default(), "the scheduler has not let it in");
}
