//! What probes and hooks make of a pod, case by case: facts in, decision out. The cases are made as in `pod_plan`.

use expect_test::expect;
use jobdock::pod::facts::ProbeFact;
use jobdock::pod::hook::{Fact, Hook, Progress};
use jobdock::pod::probe::Kind;
use jobdock::pod::{hook, names, probe};
use k8s_openapi::api::core::v1::ContainerStatus;

use super::pod_plan::{Case, at, sandboxed};

const ALL: &str = "{restartPolicy: OnFailure, containers: [{name: main, image: a, startupProbe: {tcpSocket: {port: 1}}, \
                   readinessProbe: {tcpSocket: {port: 1}}, livenessProbe: {tcpSocket: {port: 1}}}]}";
const LIVE: &str = "{restartPolicy: OnFailure, containers: [{name: main, image: a, livenessProbe: \
                    {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 7}}]}";
const READY: &str =
    "{restartPolicy: Never, containers: [{name: main, image: a, readinessProbe: {tcpSocket: {port: 1}}}]}";
const HOOKS: &str = "{restartPolicy: OnFailure, terminationGracePeriodSeconds: 20, containers: [{name: main, image: a, \
                     lifecycle: {postStart: {exec: {command: [a, b]}}, preStop: {sleep: {seconds: 5}}}}]}";

impl Case {
    /// A probe of this run was begun, and came to `result` if to anything.
    fn probed(self, container: &str, attempt: u32, kind: Kind, result: Option<bool>) -> Self {
        self.with(|facts| {
            let key = probe::Key { name: names::container("uid", container, attempt), kind };
            facts.probes.insert(key, ProbeFact { working: false, result });
        })
    }

    /// A hook of the first run was begun at 0.
    fn hooked(self, container: &str, hook: Hook, progress: Progress) -> Self {
        self.with(|facts| {
            let key = hook::Key { name: names::container("uid", container, 0), hook };
            facts.hooks.insert(key, Fact { begun: at(0), progress });
        })
    }

    /// This agent started the first run.
    fn begun(self, container: &str) -> Self {
        self.with(|facts| {
            facts.begun.insert(names::container("uid", container, 0));
        })
    }

    fn main_status(&self) -> ContainerStatus {
        let status = self.plan().status.expect("the pod is told of");
        status.container_statuses.expect("its containers are told of").remove(0)
    }
}

#[test]
fn the_startup_probe_holds_the_others_back() {
    let running = Case::new(ALL).running("main", 0).followed("main", 0).told();
    running.check(expect![[r#"
        Running - -
        main #0: running, last -
        probe main-0 Startup"#]]);
    let begun = running.probed("main", 0, Kind::Startup, None);
    begun.check(expect![[r#"
        Running - -
        main #0: running, last -"#]]);
    let up = begun.probed("main", 0, Kind::Startup, Some(true));
    up.check(expect![[r#"
        Running - -
        main #0 started: running, last -
        probe main-0 Readiness
        probe main-0 Liveness"#]]);
    let live = up.probed("main", 0, Kind::Liveness, None).probed("main", 0, Kind::Readiness, Some(true));
    live.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -"#]]);
}

#[test]
fn readiness_follows_the_probe_and_says_so_in_the_conditions() {
    let running = Case::new(READY).running("main", 0).told();
    for (result, ready) in [(None, false), (Some(true), true), (Some(false), false)] {
        let case = Case { facts: running.facts.clone(), now: running.now };
        let status = case.probed("main", 0, Kind::Readiness, result).plan().status.expect("it is told of");
        for kind in ["Ready", "ContainersReady"] {
            let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
            let condition = condition.expect("it is told");
            assert_eq!(condition.status == "True", ready, "{kind} {result:?}");
            let message = (!ready).then_some("containers with unready status: [main]");
            assert_eq!(condition.message.as_deref(), message);
            assert_eq!(condition.reason.as_deref(), (!ready).then_some("ContainersNotReady"));
        }
    }
}

#[test]
fn what_was_told_of_a_run_stands_until_a_new_agent_has_looked() {
    let ready = Case::new(ALL)
        .running("main", 0)
        .probed("main", 0, Kind::Startup, Some(true))
        .probed("main", 0, Kind::Readiness, Some(true))
        .told();
    let again = ready.with(|facts| facts.probes.clear());
    assert!(again.main_status().ready && again.main_status().started == Some(true));
    let unready = again.probed("main", 0, Kind::Readiness, Some(false));
    assert!(!unready.main_status().ready);
    // Another run starts with nothing.
    let next = unready.exited("main", 0, 1).told().running("main", 1);
    assert!(!next.main_status().ready && next.main_status().started == Some(false));
}

#[test]
fn a_failed_liveness_probe_stops_the_container_and_its_end_does_not_matter() {
    let failed =
        Case::new(LIVE).running("main", 0).followed("main", 0).told().probed("main", 0, Kind::Liveness, Some(false));
    expect![[r#"
        Running - -
        main #0 ready started: running, last -
        event Killing Container main failed liveness probe, will be restarted
        stop main-0
        wake +7"#]]
    .assert_eq(&failed.decide());
    let asked = failed.told().asked("main").now(7);
    expect![[r#"
        Running - -
        main #0 ready started: running, last -
        kill main-0"#]]
    .assert_eq(&asked.decide());
    // It ended well when it was asked to: it is started again nevertheless, and the pod goes on.
    let ended = asked.exited("main", 0, 0).now(10);
    expect![[r#"
        Running - -
        main #0: Completed 0, last -
        event Pulled Container image "a" already present on machine
        create and start main-1"#]]
    .assert_eq(&ended.decide().replace("follow main-0\n", ""));
    let told = ended.told();
    assert!(told.decide().starts_with("Running"), "{}", told.decide());
    assert!(
        told.running("main", 1).decide().starts_with("Running - -\nmain #1 ready started: running, last Completed 0")
    );
}

#[test]
fn where_nothing_is_restarted_the_end_counts() {
    let never = LIVE.replace("OnFailure", "Never");
    let failed = Case::new(&never).running("main", 0).told().probed("main", 0, Kind::Liveness, Some(false));
    assert!(failed.decide().contains("event Killing Container main failed liveness probe\n"), "{}", failed.decide());
    assert!(failed.told().exited("main", 0, 143).decide().starts_with("Failed"));
}

#[test]
fn a_failed_startup_probe_has_the_pods_grace() {
    let failed =
        Case::new(ALL).running("main", 0).followed("main", 0).told().probed("main", 0, Kind::Startup, Some(false));
    expect![[r#"
        Running - -
        main #0: running, last -
        event Killing Container main failed startup probe, will be restarted
        stop main-0
        wake +30"#]]
    .assert_eq(&failed.decide());
}

#[test]
fn a_sidecar_with_a_startup_probe_holds_back_what_comes_after_it() {
    let spec = "{restartPolicy: Never, initContainers: [{name: side, image: a, restartPolicy: Always, startupProbe: \
                {tcpSocket: {port: 1}}}], containers: [{name: main, image: a}]}";
    let running = sandboxed(Case::new(spec)).running("side", 0).followed("side", 0).told();
    running.check(expect![[r#"
        Pending - -
        side #0: running, last -
        main #0: waiting PodInitializing, last -
        probe side-0 Startup"#]]);
    running.probed("side", 0, Kind::Startup, Some(true)).check(expect![[r#"
        Pending - -
        side #0 ready started: running, last -
        main #0: waiting PodInitializing, last -
        event Pulled Container image "a" already present on machine
        create and start main-0"#]]);
}

#[test]
fn a_container_waits_for_its_post_start_hook_and_the_next_one_for_both() {
    let spec = "{restartPolicy: Never, containers: [{name: a, image: a, lifecycle: {postStart: {sleep: {seconds: 1}}}}, \
                {name: b, image: a}]}";
    let started = sandboxed(Case::new(spec)).running("a", 0).followed("a", 0).begun("a");
    started.check(expect![[r#"
        Pending - -
        a #0: waiting ContainerCreating, last -
        b #0: waiting ContainerCreating, last -
        hook a-0 PostStart"#]]);
    started.told().hooked("a", Hook::PostStart, Progress::Running).check(expect![[r#"
        Pending - -
        a #0: waiting ContainerCreating, last -
        b #0: waiting ContainerCreating, last -"#]]);
    let done = sandboxed(Case::new(spec)).running("a", 0).followed("a", 0).begun("a");
    done.hooked("a", Hook::PostStart, Progress::Done).check(expect![[r#"
        Pending - -
        a #0 ready started: running, last -
        b #0: waiting ContainerCreating, last -
        event Pulled Container image "a" already present on machine
        create and start b-0"#]]);
}

#[test]
fn a_container_that_another_agent_started_has_had_its_post_start_hook() {
    Case::new(HOOKS).running("main", 0).followed("main", 0).check(expect![[r#"
        Running - -
        main #0 ready started: running, last -"#]]);
}

#[test]
fn a_failed_post_start_hook_stops_the_container_with_its_pre_stop_and_tells_why() {
    let words = "command 'a b' exited with 1: , message: \"\"".to_owned();
    let failed = Case::new(HOOKS).running("main", 0).followed("main", 0).begun("main").told();
    let failed = failed.hooked("main", Hook::PostStart, Progress::Failed { words });
    expect![[r#"
        Running - -
        main #0 ready started: running, last -
        event Killing FailedPostStartHook
        hook main-0 PreStop within 20 s
        wake +20"#]]
    .assert_eq(&failed.decide());
    let ended = failed.told().exited("main", 0, 143).now(10).copied("main", 0);
    let decided = ended.decide();
    let expected = "main #0: waiting PostStartHookError (Exec lifecycle hook ([a b]) for Container \"main\" in Pod \
                    \"p_default(uid)\" failed - error: command 'a b' exited with 1: , message: \"\"), last Error 143";
    assert_eq!(decided.lines().nth(1), Some(expected), "{decided}");
    assert!(decided.contains("create and start main-1"), "{decided}");
}

#[test]
fn pre_stop_runs_within_the_grace_and_leaves_two_seconds() {
    let deleted = Case::new(HOOKS).running("main", 0).followed("main", 0).told().deleted(20, 20);
    deleted.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        event Killing Stopping container main
        hook main-0 PreStop within 21 s
        wake +21"#]]);
    let runs = deleted.hooked("main", Hook::PreStop, Progress::Running).now(5);
    runs.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        wake +21"#]]);
    let failed = Progress::Failed { words: "no".to_owned() };
    for progress in [Progress::Done, failed] {
        let case = Case { facts: runs.facts.clone(), now: runs.now }.hooked("main", Hook::PreStop, progress);
        case.check(expect![[r#"
            Running - -
            main #0 ready started: running, last -
            stop main-0
            wake +21"#]]);
    }
    let late = runs.now(21);
    late.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        stop main-0
        wake +23"#]]);
    let asked = late.with(|facts| {
        facts.asked_to_stop.insert(names::container("uid", "main", 0), at(21));
    });
    asked.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        wake +23"#]]);
    asked.now(23).check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        kill main-0"#]]);
}

#[test]
fn a_pod_deleted_without_grace_has_no_pre_stop() {
    let deleted = Case::new(HOOKS).running("main", 0).followed("main", 0).told().deleted(0, 0);
    deleted.check(expect![[r#"
        Running - -
        main #0 ready started: running, last -
        event Killing Stopping container main
        stop main-0
        kill main-0"#]]);
}

#[test]
fn sidecars_have_their_pre_stop_at_once_and_their_signal_in_turn() {
    let spec = "{restartPolicy: Never, terminationGracePeriodSeconds: 20, initContainers: [{name: s1, image: a, \
                restartPolicy: Always, lifecycle: {preStop: {sleep: {seconds: 1}}}}, {name: s2, image: a, restartPolicy: \
                Always}], containers: [{name: main, image: a}]}";
    let running = sandboxed(Case::new(spec)).running("s1", 0).running("s2", 0).running("main", 0).told();
    let running = running.followed("s1", 0).followed("s2", 0).followed("main", 0).deleted(20, 20);
    let decided = running.decide();
    let acts: Vec<&str> = decided.lines().filter(|line| line.starts_with("hook") || line.starts_with("stop")).collect();
    assert_eq!(acts, ["hook s1-0 PreStop within 21 s", "stop main-0"], "{decided}");
    let done = running.hooked("s1", Hook::PreStop, Progress::Done).asked("main");
    assert!(!done.decide().contains("stop"), "{}", done.decide());
    let main_over = done.exited("main", 0, 0);
    assert!(main_over.decide().contains("stop s2-0\n") && !main_over.decide().contains("stop s1-0"));
    assert!(main_over.asked("s2").exited("s2", 0, 0).decide().contains("stop s1-0\n"));
}

#[test]
fn a_pod_that_ends_is_asked_for_its_readiness_only() {
    let all = Case::new(ALL).running("main", 0).followed("main", 0).told();
    let working = ProbeFact { working: true, result: Some(true) };
    let all = all.with(|facts| {
        for kind in [Kind::Startup, Kind::Liveness, Kind::Readiness] {
            facts.probes.insert(probe::Key { name: names::container("uid", "main", 0), kind }, working);
        }
    });
    let deleted = all.deleted(20, 20).asked("main");
    let decided = deleted.decide();
    let ended: Vec<&str> = decided.lines().filter(|line| line.starts_with("end probe")).collect();
    assert_eq!(ended, ["end probe main-0 Startup", "end probe main-0 Liveness"], "{decided}");
    let over = deleted.exited("main", 0, 0).decide();
    assert!(over.contains("end probe main-0 Readiness"), "{over}");
}

const ANEW: &str = "{restartPolicy: Never, initContainers: [{name: init, image: a}], containers: [{name: main, image: a, \
                    restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, \
                    values: [42]}}]}, {name: other, image: a, lifecycle: {preStop: {sleep: {seconds: 1}}}}]}";

/// A pod of `ANEW` whose containers run, the init container behind them.
fn all_running() -> Case {
    let case = sandboxed(Case::new(ANEW)).exited("init", 0, 0).copied("init", 0).told();
    case.running("main", 0).running("other", 0).followed("main", 0).followed("other", 0).told()
}

#[test]
fn an_end_that_asks_for_it_makes_the_pod_begin_anew() {
    let ended = all_running().exited("main", 0, 42).copied("main", 0);
    expect![[r#"
        Running - -
        init #0 ready: Completed 0, last -
        main #0: Error 42, last -
        other #0 ready started: running, last -
        event Killing Stopping container other
        kill other-0
        remove init-0"#]]
    .assert_eq(&ended.decide());
    let restarting = |case: &Case, status: &str| {
        let conditions = case.plan().status.and_then(|status| status.conditions).unwrap_or_default();
        conditions.iter().any(|one| one.type_ == "AllContainersRestarting" && one.status == status)
    };
    assert!(restarting(&all_running(), "False") && restarting(&ended, "True"));
    let killed = ended.told().killed("other").ended("other", 0, 137, 11).copied("other", 0).now(12);
    assert!(restarting(&killed, "True"), "until its end is recorded");
    // Nothing of the old life runs: the init container is first again.
    let anew = killed.told();
    assert!(
        anew.decide().ends_with("create and start init-1\nremove init-0\nremove main-0\nremove other-0"),
        "{}",
        anew.decide()
    );
    assert!(restarting(&anew, "False"));
    let first = anew.told().exited("init", 1, 0).copied("init", 1).told();
    let decided = first.decide();
    assert!(decided.contains("create and start main-1\n") && decided.contains("create and start other-1"), "{decided}");
}

#[test]
fn any_other_end_of_such_a_container_does_not() {
    let ended = all_running().exited("main", 0, 1).copied("main", 0);
    assert!(!ended.decide().contains("kill"), "{}", ended.decide());
    assert!(ended.told().exited("other", 0, 0).decide().starts_with("Failed"));
}
