//! Every example runs, on the real engine, to the end that its head documents.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::cli::{Ended, Place};

/// A path in the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Makes sure that the engine has the examples' image, as `make demo` does.
fn image() {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = Command::new(repository("docker/busybox/build")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    });
}

/// Runs an example and holds its end against its head's last words: `# Ends: Complete, …; exit code 0.`
#[track_caller]
fn check(name: &str) -> Ended {
    image();
    let file = repository("examples").join(name);
    let text = std::fs::read_to_string(&file).unwrap();
    let head = text.lines().find_map(|line| line.strip_prefix("# Ends: ")).expect("the head says how it ends");
    let (condition, _) = head.split_once(',').unwrap();
    let (_, code) = head.split_once("exit code ").unwrap();
    let place = Place::docker();
    let ended = place.jobdock(&["run", "--output", "json", file.to_str().unwrap()]);
    assert_eq!(ended.code.to_string(), code.trim_end_matches('.'), "{ended:?}");
    let result: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["jobs"][0]["result"], condition, "{ended:?}");
    ended
}

#[test]
fn hello_retries_one_index() {
    let ended = check("hello.yaml");
    assert!(ended.stderr.contains("| failing on purpose, once"), "{ended:?}");
    assert!(ended.stderr.contains("| index 2 is done after 1 failures"), "{ended:?}");
}

#[test]
fn sweep_gives_each_index_its_parameter() {
    let ended = check("sweep.yaml");
    for line in ["n=2 root=1.414214", "n=3 root=1.259921", "n=13 root=1.054766"] {
        assert!(ended.stderr.contains(line), "{ended:?}");
    }
}

#[test]
fn failure_policy_ends_the_job_at_the_first_42() {
    let ended = check("failure-policy.yaml");
    assert!(ended.stderr.contains("rule 0 (FailJob) matched: container main exited with 42"), "{ended:?}");
}

#[test]
fn work_queue_works_on_each_item_once() {
    let ended = check("work-queue.yaml");
    for n in 1..=9 {
        let line = format!("item-{n}: {n} squared is {}", n * n);
        assert_eq!(ended.stderr.matches(&line).count(), 1, "{ended:?}");
    }
}

#[test]
fn init_volume_shares_what_was_prepared() {
    let ended = check("init-volume.yaml");
    for line in ["prepare | prepared 100 numbers", "| the sum is 5050", "| the largest is 100"] {
        assert!(ended.stderr.contains(line), "{ended:?}");
    }
}

#[test]
fn config_reaches_the_pod_as_variables_and_files() {
    let ended = check("config.yaml");
    for line in [
        "| reporter writes \"Numbers of the week\"",
        "| title again: Numbers of the week",
        "| width: 72",
        "| the password has 14 characters and mode 400",
    ] {
        assert!(ended.stderr.contains(line), "{ended:?}");
    }
}

#[test]
fn ring_lets_pods_find_each_other_by_name() {
    let ended = check("ring.yaml");
    for (rank, right) in [(0, 1), (1, 2), (2, 0)] {
        let line = format!("| ring-{rank} got the token of rank {right} from ring-{right}.ring");
        assert!(ended.stderr.contains(&line), "{ended:?}");
    }
}

#[test]
fn every_example_is_run_by_a_test() {
    let here = include_str!("examples.rs");
    for entry in std::fs::read_dir(repository("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(here.contains(&format!("check({name:?})")), "{name} is not run");
    }
}
