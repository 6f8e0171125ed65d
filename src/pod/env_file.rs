//! PURE. Owns the files that variables come from (`fileKeyRef`): which of them a container names, where each lies, and what
//! one says. Never reads a file: `env_files` does, right before the container begins.
//!
//! ```text
//!  # lines are skipped that are blank or a comment
//!  NAME='value in single quotes, over several lines if need be'   # may be followed by a comment
//! ```
//!
//! Parity: `makeEnvironmentVariables` and `ParseEnv` of the kubelet, with their words.
//! Differs: what is wrong with a file is told, not only that something is.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, FileKeySelector, Pod, PodSpec};

use super::facts::Sources;
use super::mounts::Root;
use super::{names, spec, volumes_plan};

/// A file that variables of a container come from.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvFile {
    /// Its volume and its path there.
    pub place: Place,
    /// Where the volume is.
    pub root: Root,
}

/// A volume's name in the pod, and a path in it.
pub type Place = (String, String);

/// What the files said before a run began.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvRead {
    /// Which run.
    pub number: u32,
    /// When they were read.
    pub at: Timestamp,
    /// Their texts; none for one that is not there.
    pub files: BTreeMap<Place, Option<String>>,
}

/// The files that the container's variables come from. Those of a volume that is none of the pod's own are left out.
pub fn files(pod: &Pod, container: &Container) -> Vec<EnvFile> {
    let places: BTreeSet<Place> = references(container).map(place).collect();
    places.into_iter().filter_map(|place| Some(EnvFile { root: root(pod, &place.0)?, place })).collect()
}

/// Whether a variable of the pod comes from a file of the volume.
pub fn is_read(container: &Container, volume: &str) -> bool {
    references(container).any(|reference| reference.volume_name == volume)
}

fn references(container: &Container) -> impl Iterator<Item = &FileKeySelector> {
    let sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    sources.filter_map(|source| source.file_key_ref.as_ref())
}

fn place(reference: &FileKeySelector) -> Place {
    (reference.volume_name.clone(), reference.path.clone())
}

/// Parity: only an `emptyDir` may be named.
fn root(pod: &Pod, volume: &str) -> Option<Root> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let held = |spec: &PodSpec| volumes_plan::held_in_memory(spec).contains(&volume);
    if pod.spec.as_ref().is_some_and(held) {
        return Some(Root::Sandbox(names::sandbox(uid), format!("{}/{volume}", spec::HELD_VOLUMES)));
    }
    volumes_plan::on_disk(pod).contains_key(volume).then(|| Root::Engine(names::volume(uid, volume)))
}

/// The value of a variable; none where it has none and need not have one.
pub fn value(sources: &Sources, container: &str, reference: &FileKeySelector) -> Result<Option<String>, String> {
    let read = sources.env_files.get(container).and_then(|read| read.files.get(&place(reference)));
    let FileKeySelector { volume_name, path, key, optional } = reference;
    let text = read.ok_or_else(|| format!("cannot find the volume {volume_name:?} referenced by FileKeyRef"))?;
    let wrong = |why: &str| format!("couldn't parse env file: {why}");
    let text = text.as_ref().ok_or_else(|| wrong(&format!("there is no file {path:?} in volume {volume_name:?}")))?;
    match find(text, key).map_err(|why| wrong(&why))?.filter(|value| !value.is_empty()) {
        None if *optional != Some(true) => Err(format!("environment variable key {key:?} not found in file {path:?}")),
        value => Ok(value),
    }
}

/// What the file gives the name, as far as it has to be read for that.
fn find(text: &str, wanted: &str) -> Result<Option<String>, String> {
    let (mut rest, mut number) = (text, 1);
    while !rest.is_empty() {
        let declared = rest.trim_start_matches([' ', '\t']);
        let (line, after) = declared.split_once('\n').unwrap_or((declared, ""));
        if line.trim_end().is_empty() || line.starts_with('#') {
            (rest, number) = (after, number + 1);
            continue;
        }
        let wrong = |why: &str| format!("invalid environment variable format at line {number}{why}");
        let (name, _) = line.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| wrong(""))?;
        if name.ends_with([' ', '\t']) {
            return Err(wrong(": whitespace before '=' is not allowed"));
        }
        // Not of the line: a value may go on over several.
        let quoted = declared[name.len() + 1..].strip_prefix('\'');
        let quoted = quoted.ok_or_else(|| wrong(": value must be enclosed in single quotes"))?;
        let (value, behind) = quoted.split_once('\'').ok_or_else(|| wrong(": unclosed single quote"))?;
        let (tail, after) = behind.split_once('\n').unwrap_or((behind, ""));
        let tail = tail.trim_end();
        let remark = tail.starts_with([' ', '\t']) && tail.trim_start().starts_with('#');
        if !(tail.is_empty() || remark) {
            return Err(wrong(": unexpected content after closing quote"));
        }
        if name == wanted {
            return Ok(Some(value.to_owned()));
        }
        (rest, number) = (after, number + 1 + value.matches('\n').count());
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::find;

    fn check(text: &str, name: &str, expected: Result<&str, &str>) {
        let found = find(text, name).map(Option::unwrap_or_default);
        match expected {
            Ok(value) => assert_eq!(found.as_deref(), Ok(value), "{text}"),
            Err(words) => assert!(found.as_ref().is_err_and(|error| error.contains(words)), "{text}: {found:?}"),
        }
    }

    #[test]
    fn values_stand_in_single_quotes_and_are_taken_as_they_are() {
        check("  A='x'\n\tB='y'\nC='z'\n", "B", Ok("y"));
        check("# note\n\nA='x'\n  # note\n \t\nB='y'", "B", Ok("y"));
        check("A='x'\n", "B", Ok(""));
        check("A=''\nB='y'\n", "A", Ok(""));
        check("A='  a=b # $C ${C} \"d\" \\n  '\n", "A", Ok("  a=b # $C ${C} \"d\" \\n  "));
        check("A='x'\nB='y' # note\nC='z'", "B", Ok("y"));
        check("A='one\n\n  two=2\nthree'\nB='y'\n", "A", Ok("one\n\n  two=2\nthree"));
        check("A='one\ntwo'\nB='y'\n", "B", Ok("y"));
        check("A='x'\r\nB='y'\r\n", "B", Ok("y"));
        check("A='ä€'\nB='ü'", "B", Ok("ü"));
    }

    #[test]
    fn what_a_shell_would_read_otherwise_is_refused_with_its_line() {
        check("A ='x'\nB='y'\n", "B", Err("at line 1: whitespace before '=' is not allowed"));
        check("='x'\nB='y'", "B", Err("at line 1"));
        check("A='x'\nB\nC='z'", "C", Err("at line 2"));
        check("A='1\n2'\nB=y\n", "B", Err("at line 3: value must be enclosed in single quotes"));
        check("A=\"x\"\n", "A", Err("value must be enclosed in single quotes"));
        check("A= 'x'\n", "A", Err("value must be enclosed in single quotes"));
        check("A='x''y'", "A", Err("unexpected content after closing quote"));
        check("A='x'#y", "A", Err("unexpected content after closing quote"));
        check("A='x\nB='y'\n", "A", Err("unexpected content after closing quote"));
        check("A='x\n", "A", Err("unclosed single quote"));
        check("A='x'\nB\n", "A", Ok("x"));
    }
}
