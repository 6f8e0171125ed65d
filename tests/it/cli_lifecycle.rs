//! Runs that are interrupted, left to a daemon, or share one: nothing stays behind, nothing is opened twice.

use nix::sys::signal::Signal;

use crate::support::cli::{Place, Running, job};
use crate::support::daemon::Daemon;

const FAKE: [&str; 2] = ["--runtime", "fake"];

/// Starts a run and waits until its pod says `up`.
fn started(place: &Place, file: &str) -> Running {
    let running = place.start(&["run", file]);
    running.says("| up");
    running
}

#[test]
fn an_interrupt_ends_the_pods_gracefully_and_exits_with_130() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let place = Place::fake();
        place.file("job.yaml", &job("long", "", "trap 'echo goodbye; exit 0' TERM; echo up; sleep 600"));
        let running = started(&place, "job.yaml");
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, 130, "{ended:?}");
        assert!(ended.stderr.contains("Job default/long interrupted: deleted after"), "{ended:?}");
        let again = place.jobdock(&["run", "--timeout", "100ms", "job.yaml"]);
        assert_eq!(again.code, 124, "the Job is gone, so its name is free: {again:?}");
    }
}

#[test]
fn a_second_interrupt_does_not_wait_for_the_grace_period() {
    let place = Place::fake();
    let stubborn = job("long", "", "echo up; sleep 600")
        .replace("          command:", "          env: [{name: FAKE_TERM, value: ignore}]\n          command:");
    place.file(
        "job.yaml",
        &stubborn.replace("      restartPolicy", "      terminationGracePeriodSeconds: 3600\n      restartPolicy"),
    );
    let running = started(&place, "job.yaml");
    running.signal(Signal::SIGINT);
    running.says("interrupt again to kill them");
    // Two signals at once are one interrupt.
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal(Signal::SIGINT);
    let ended = running.end();
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(ended.stderr.contains("killing the pods"), "{ended:?}");
}

#[test]
fn a_detached_run_needs_a_daemon_and_says_so() {
    let place = Place::fake();
    place.file("job.yaml", &job("left", "", "true"));
    let ended = place.jobdock(&["run", "--detach", "job.yaml"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("start one with `jobdock serve`"), "{ended:?}");
}

#[test]
fn a_detached_run_leaves_its_job_to_the_daemon_and_prints_its_name() {
    let place = Place::fake();
    let daemon = Daemon::start(&place.data(), &FAKE).unwrap();
    daemon.kubeconfig().unwrap();
    place.file("job.yaml", &job("left", "", "sleep 600"));
    let ended = place.jobdock(&["run", "--detach", "job.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "left\n"), "{ended:?}");
    let refused = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("is still running: follow it with"), "{refused:?}");
}

#[test]
fn a_run_uses_the_daemon_that_serves_its_data_directory() {
    let place = Place::fake();
    let mut daemon = Daemon::start(&place.data(), &FAKE).unwrap();
    daemon.kubeconfig().unwrap();
    place.file("job.yaml", &job("served", "", "echo by the daemon"));
    let ended = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.ends_with("| by the daemon\n"), "{ended:?}");
    let ignored = "warning: --runtime, --backoff-base, --backoff-cap have no effect: the daemon (process ";
    assert!(ended.stderr.contains(ignored), "given by the environment here: {ended:?}");
    daemon.stop().unwrap();
}

#[test]
fn two_runs_at_once_share_one_daemon_and_the_second_takes_over() {
    let place = Place::fake();
    place.file("first.yaml", &job("first", "", "echo up; sleep 1; echo first is done"));
    place.file("second.yaml", &job("second", "completions: 4", "sleep 1; echo second goes on"));
    let first = started(&place, "first.yaml");
    let second = place.start(&["run", "second.yaml"]);
    let first = first.end();
    assert_eq!(first.code, 0, "{first:?}");
    let second = second.end();
    assert_eq!(second.code, 0, "{second:?}");
    assert_eq!(second.stdout.matches("second goes on").count(), 4, "{second:?}");
}

/// A run whose Job waits for a file, killed before it has it.
fn killed(place: &Place, text: &str) {
    place.file("job.yaml", text);
    let running = started(place, "job.yaml");
    running.signal(Signal::SIGKILL);
    running.end();
}

#[test]
fn a_job_whose_run_was_killed_is_taken_over_by_the_next_run_of_the_same_manifest() {
    let place = Place::fake();
    killed(&place, &job("long", "completions: 2\nparallelism: 1", "echo up; sleep 1; echo through"));
    let ended = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("Job default/long has not finished yet: going on with it"), "{ended:?}");
    assert!(ended.stderr.contains("2/2 succeeded"), "{ended:?}");
}

#[test]
fn a_job_whose_run_was_killed_is_not_taken_over_by_another_manifest() {
    let place = Place::fake();
    killed(&place, &job("long", "", "echo up; sleep 600"));
    place.file("job.yaml", &job("long", "backoffLimit: 2", "echo up; sleep 600"));
    let refused = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("has not finished, and is not what this manifest says"), "{refused:?}");
    let replaced = place.jobdock(&["run", "--quiet", "--replace", "--timeout", "100ms", "job.yaml"]);
    assert_eq!(replaced.code, 124, "{replaced:?}");
    assert!(!replaced.stderr.contains("to replace it"), "quiet: {replaced:?}");
}

#[test]
fn nothing_is_left_to_a_daemon_that_ends_with_its_run() {
    let place = Place::fake();
    place.file("job.yaml", &job("long", "", "echo up; sleep 600"));
    place.file("left.yaml", &job("left", "", "true"));
    let _running = started(&place, "job.yaml");
    let detached = place.jobdock(&["run", "--detach", "left.yaml"]);
    assert_eq!(detached.code, 2, "{detached:?}");
    assert!(detached.stderr.contains("only a `jobdock run` (process "), "{detached:?}");
    let again = place.jobdock(&["run", "job.yaml"]);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.stderr.contains("has not finished, and a `jobdock run` (process "), "{again:?}");
    let kubeconfig = place.jobdock(&["kubeconfig"]);
    assert_eq!(kubeconfig.code, 2, "a run has no address: {kubeconfig:?}");
}

#[test]
fn who_stops_a_daemon_is_told_of_pods_that_run_on() {
    let place = Place::fake();
    let daemon = place.start(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.says("kubectl --kubeconfig");
    place.file("job.yaml", &job("long", "", "echo up; sleep 600"));
    let _running = started(&place, "job.yaml");
    daemon.signal(Signal::SIGTERM);
    let ended = daemon.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("stopped; 1 pod runs on (the next jobdock adopts it"), "{ended:?}");
}

#[test]
fn a_kubeconfig_waits_for_a_daemon_that_is_starting() {
    let place = Place::fake();
    place.file("data/lock", &format!("{}\n", std::process::id()));
    let kubeconfig = place.start(&["kubeconfig"]);
    let _daemon = Daemon::start(&place.data(), &FAKE).unwrap();
    let ended = kubeconfig.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with("apiVersion: v1\nkind: Config\n"), "{ended:?}");
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() {
    let place = Place::fake();
    let daemon = Daemon::start(&place.data(), &FAKE).unwrap();
    daemon.kubeconfig().unwrap();
    let ended = place.jobdock(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("another jobdock (process "), "{ended:?}");
}

#[test]
fn a_kubeconfig_needs_a_daemon_that_has_served() {
    let place = Place::fake();
    let ended = place.jobdock(&["kubeconfig"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("start one with `jobdock serve"), "{ended:?}");
}
