//! The functions that `make fuzz` calls with bytes, on a stable compiler: with each seed as it is (findings of the fuzzer
//! become seeds), and with what is near one.

use std::fs;
use std::path::Path;

use proptest::test_runner::{Config, TestRunner};

use crate::support::garbage::near;

#[path = "../fuzz/entries.rs"]
mod entries;

/// Cases of each function: some seconds in all.
const CASES: u32 = 200;

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.display().to_string(), fs::read(&path).unwrap())
    };
    entries.map(file).collect()
}

#[test]
fn every_seed_and_every_finding_is_borne() {
    for (target, enter) in entries::ALL {
        for (name, bytes) in seeds(target) {
            eprintln!("{name}");
            enter(&bytes);
        }
    }
}

#[test]
fn what_is_near_a_seed_is_borne() {
    for (target, enter) in entries::ALL {
        let texts = seeds(target).into_iter().map(|(_, bytes)| bytes).collect();
        let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        let tried = runner.run(&near(texts), |bytes| {
            enter(&bytes);
            Ok(())
        });
        tried.unwrap_or_else(|error| panic!("{target}: {error}"));
    }
}

#[test]
fn every_function_has_a_target_and_the_other_way_round() {
    let manifest = include_str!("../fuzz/Cargo.toml");
    let targets: Vec<&str> =
        manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let functions: Vec<&str> = entries::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(targets, functions);
}
