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
        assert!(ended.stderr.contains("Job default/long interrupted, so it was deleted"), "{ended:?}");
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
