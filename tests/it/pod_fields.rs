//! The README's tables against the code: every field of a pod has a row that says what becomes of it, and every test that
//! a row names is there. Never judges whether a row is true: the tests that it names do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jobdock::model::schema;

const README: &str = include_str!("../../README.md");
/// The section with the fields of pods.
const SECTION: &str = "### Pods, field by field";
/// Whose fields must have a row, and what the rows call them. A row that names no owner is about each that has the field.
const OWNERS: &[(&str, &str)] = &[
    ("pod", "core/v1.PodSpec"),
    ("container", "core/v1.Container"),
    ("pod security", "core/v1.PodSecurityContext"),
    ("container security", "core/v1.SecurityContext"),
    ("volume", "core/v1.Volume"),
    ("mount", "core/v1.VolumeMount"),
    ("env", "core/v1.EnvVarSource"),
    ("projected", "core/v1.VolumeProjection"),
    ("port", "core/v1.ContainerPort"),
    ("lifecycle", "core/v1.Lifecycle"),
    ("probe", "core/v1.Probe"),
    ("http probe", "core/v1.HTTPGetAction"),
    ("grpc probe", "core/v1.GRPCAction"),
];
/// What a row says first of its fields.
const VERDICTS: &[&str] = &["equal", "honoured", "refused", "warned", "no effect"];

/// The cells of a row; none for a line that is no row of values.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inner.split(" | ").collect())
}

/// The rows of the section's table.
fn rows() -> Vec<Vec<&'static str>> {
    let section = README.split(SECTION).nth(1).expect("the section is there");
    let section = section.split("\n### ").next().expect("a split has a first part");
    section.lines().filter_map(cells).skip(1).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The structs and their fields that a row's first cell names: `Pod \`a\`, \`b\`; container security \`c.d\``.
fn named(cell: &str) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    for part in cell.split("; ") {
        let owners = part.split('`').next().unwrap_or_default().trim().to_lowercase();
        let owners: Vec<&str> = owners.split(" and ").filter(|owner| !owner.is_empty()).collect();
        for path in quoted(part) {
            let field = path.split(['.', '[']).next().unwrap_or_default();
            let holders = OWNERS.iter().filter(|(owner, name)| match owners.as_slice() {
                [] => has(name, field),
                owners => owners.contains(owner),
            });
            let before = out.len();
            out.extend(holders.map(|(_, name)| (*name, field.to_owned())));
            assert!(out.len() > before, "nothing has the field {field} of the row {cell}");
        }
    }
    out
}

fn has(owner: &str, field: &str) -> bool {
    schema::get(owner).fields.iter().any(|one| one.name == field)
}

#[test]
fn every_field_of_a_pod_has_a_row_and_every_row_a_field() {
    let mut told: BTreeSet<(&str, String)> = BTreeSet::new();
    let mut faults = Vec::new();
    for row in rows() {
        for (owner, field) in named(row[0]) {
            if !has(owner, &field) {
                faults.push(format!("{owner} has no field {field}"));
            }
            told.insert((owner, field));
        }
        if !VERDICTS.iter().any(|verdict| row[1].starts_with(verdict)) {
            faults.push(format!("{}: the row begins with none of {VERDICTS:?}", row[0]));
        }
        if row.len() != 3 {
            faults.push(format!("{}: {} cells", row[0], row.len()));
        }
    }
    for (_, owner) in OWNERS {
        for field in &schema::get(owner).fields {
            if !told.contains(&(*owner, field.name.to_owned())) {
                faults.push(format!("no row is about {owner}.{}", field.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The source of every test by module: of `api::logs` the file `api/logs.rs`, of `scheduler` also what lies below it.
fn modules() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a test is readable");
        let below = file.strip_prefix(&root).expect("below the root").with_extension("");
        let parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        for depth in 1..=parts.len() {
            out.entry(parts[..depth].join("::")).or_default().push_str(&text);
        }
    }
    out
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the directory is readable") {
        let path = entry.expect("the directory is readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The tables' last cells where the head says that these name tests.
fn claims() -> Vec<&'static str> {
    let mut out = Vec::new();
    let mut naming = false;
    for line in README.lines() {
        match cells(line) {
            Some(row) if row.last() == Some(&"Tested in") => naming = true,
            Some(row) if naming => out.push(*row.last().expect("a row has cells")),
            Some(_) => {}
            None => naming = naming && line.starts_with("|--"),
        }
    }
    out
}

/// A cell without what stands in parentheses.
fn without_remarks(cell: &str) -> String {
    let mut depth = 0;
    let kept = cell.chars().filter(|c| {
        depth += i32::from(*c == '(');
        let kept = depth == 0;
        depth -= i32::from(*c == ')');
        kept
    });
    kept.collect()
}

#[test]
fn every_test_that_a_row_names_is_there() {
    let modules = modules();
    let (mut faults, mut checked) = (Vec::new(), 0);
    for cell in claims() {
        let mut module = None;
        for (index, part) in without_remarks(cell).split('`').enumerate() {
            if index % 2 == 1 {
                module = modules.get(part);
                checked += 1;
                if module.is_none() {
                    faults.push(format!("no test file {part}: {cell}"));
                }
                continue;
            }
            let words = part.split([' ', ',', ';']).filter(|word| word.contains('_'));
            for name in words {
                checked += 1;
                let start = format!("fn {}", name.trim_end_matches('…'));
                let start = if name.ends_with('…') { start } else { format!("{start}(") };
                if !module.is_some_and(|text| text.contains(&start)) {
                    faults.push(format!("no test {name}: {cell}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(checked > 100, "only {checked} names were found");
}
