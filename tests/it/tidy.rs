//! Owns the rules of the house that a compiler does not check: who may import whom, what PURE files may not
//! touch, how long a file may be, that each says what it owns. Never judges behaviour.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of code (no blanks, no comments) that a file may have.
const MAX_CODE_LINES: usize = 500;

/// Which rooms of ours each room may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("metrics", &[]),
    ("reconcile", &["metrics"]),
    ("store", &["metrics", "model"]),
    ("runtime", &["model"]),
    ("feed", &["model", "store", "reconcile"]),
    ("gc", &["model", "store", "reconcile", "feed"]),
    ("tenancy", &["model", "store", "reconcile"]),
    ("quota", &["model", "store", "reconcile"]),
    ("token", &[]),
    ("admission", &["model", "store"]),
    ("job", &["metrics", "model", "store", "reconcile", "feed", "admission"]),
    ("scheduler", &["model", "store", "reconcile", "feed"]),
    ("service", &["model", "store", "reconcile"]),
    ("storage", &["model", "store", "reconcile", "feed", "runtime", "admission"]),
    ("pod", &["metrics", "model", "store", "reconcile", "runtime", "token"]),
    ("api", &["metrics", "model", "store", "runtime", "admission", "token"]),
    ("cli", &["model", "daemon", "job"]),
    (
        "daemon",
        &[
            "model",
            "store",
            "reconcile",
            "runtime",
            "gc",
            "tenancy",
            "quota",
            "token",
            "job",
            "scheduler",
            "service",
            "storage",
            "pod",
            "api",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Files that do I/O inside rooms whose other files are PURE. To make a new file impure, say so here.
const IMPURE: &[&str] = &[
    "job/mod.rs",
    "job/concern.rs",
    "job/controller.rs",
    "job/cronjob.rs",
    "job/tally.rs",
    "job/ttl.rs",
    "pod/mod.rs",
    "pod/agent.rs",
    "pod/apply.rs",
    "pod/check.rs",
    "pod/check/grpc.rs",
    "pod/check/http.rs",
    "pod/collect.rs",
    "pod/core.rs",
    "pod/env_files.rs",
    "pod/credentials.rs",
    "pod/device_book.rs",
    "pod/hooks.rs",
    "pod/hosts_files.rs",
    "pod/image_mounts.rs",
    "pod/images.rs",
    "pod/logs.rs",
    "pod/measure.rs",
    "pod/node.rs",
    "pod/observe.rs",
    "pod/prober.rs",
    "pod/signals.rs",
    "pod/squeeze.rs",
    "pod/sub_paths.rs",
    "pod/sweep.rs",
    "pod/volumes.rs",
    "scheduler/mod.rs",
    "scheduler/run.rs",
    "service/mod.rs",
    "service/controller.rs",
    "storage/controller.rs",
];

/// PURE files of the runtime, the rest of which does I/O.
const RUNTIME_PURE: &[&str] = &[
    "runtime/convert.rs",
    "runtime/discovered.rs",
    "runtime/failure.rs",
    "runtime/fake/script.rs",
    "runtime/fake/shell.rs",
    "runtime/fake/tokens.rs",
    "runtime/frames.rs",
    "runtime/lag.rs",
    "runtime/mux.rs",
    "runtime/progress.rs",
    "runtime/podman.rs",
    "runtime/reference.rs",
    "runtime/reply.rs",
];

/// What a PURE file may not contain: concurrency, clocks, chance, logging, I/O.
const IMPURE_TOKENS: &[&str] = &[
    "async ",
    ".await",
    "tokio",
    "Timestamp::now",
    "Zoned::now",
    "SystemTime",
    "Instant::",
    "rand::",
    "tracing",
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "println!",
    "rusqlite",
    "bollard::Docker",
];

#[test]
fn rooms_import_only_what_the_map_allows() {
    let mut faults = Vec::new();
    for source in sources() {
        let allowed = MAY_IMPORT.iter().find(|(room, _)| *room == source.room).map(|(_, rooms)| *rooms);
        let Some(allowed) = allowed else {
            faults.push(format!("{}: the room {} is not on the map", source.name, source.room));
            continue;
        };
        for (number, line) in source.code() {
            for used in rooms_used(line) {
                if used != source.room && !allowed.contains(&used.as_str()) {
                    faults.push(format!("{}:{number}: {} may not import {used}", source.name, source.room));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn pure_files_hold_no_io_no_clock_and_no_chance() {
    let mut faults = Vec::new();
    for source in sources().into_iter().filter(Source::is_pure) {
        for (number, line) in source.code() {
            for token in IMPURE_TOKENS.iter().filter(|token| line.contains(*token)) {
                faults.push(format!("{}:{number}: a PURE file may not use `{}`", source.name, token.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_list_of_impure_files_names_only_files_that_exist() {
    let names: Vec<String> = sources().into_iter().map(|source| source.name).collect();
    let gone: Vec<_> = IMPURE.iter().filter(|name| !names.iter().any(|known| known == *name)).collect();
    assert!(gone.is_empty(), "no such files: {gone:?}");
}

#[test]
fn every_file_says_what_it_owns_and_is_short_enough_to_read() {
    let mut faults = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//!") {
            faults.push(format!("{}: no `//!` header", source.name));
        }
        let lines = source.code().count();
        if lines > MAX_CODE_LINES {
            faults.push(format!("{}: {lines} code lines, {MAX_CODE_LINES} are allowed", source.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    // Spelt in two halves so that this list does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X "),
        concat!("unimplemented", "!("),
        concat!("to", "do!("),
    ];
    let mut faults = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(*mark)) {
                faults.push(format!("{}:{}: `{mark}`", source.name, number + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// One source file under `src`.
struct Source {
    /// Path below `src`, with `/`.
    name: String,
    /// First part of the path.
    room: String,
    text: String,
}

impl Source {
    fn is_pure(&self) -> bool {
        match self.room.as_str() {
            "model" => true,
            "job" | "pod" | "scheduler" | "service" | "storage" => !IMPURE.contains(&self.name.as_str()),
            "admission" => self.name.starts_with("admission/pod_security"),
            "runtime" => RUNTIME_PURE.contains(&self.name.as_str()),
            _ => false,
        }
    }

    /// Lines that are neither blank nor comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.len() > 10, "the sources were not found");
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
            let room = name.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).expect("a source file is readable");
            Source { name, room, text }
        })
        // Unit tests that need private parts stand beside their file; they are held to none of the rules.
        .filter(|source| !source.name.ends_with("_tests.rs"))
        .collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Rooms that a line reaches through `crate::room` (or `jobdock::room` in the binary).
fn rooms_used(line: &str) -> Vec<String> {
    let mut rooms = BTreeMap::new();
    for prefix in ["crate::", "jobdock::"] {
        for (at, _) in line.match_indices(prefix) {
            let rest = &line[at + prefix.len()..];
            let room: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if MAY_IMPORT.iter().any(|(known, _)| *known == room) {
                rooms.insert(room, ());
            }
        }
    }
    rooms.into_keys().collect()
}
