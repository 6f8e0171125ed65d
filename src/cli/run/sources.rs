//! Owns where manifests come from: files, directories, standard input. Never reads what they say.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::cli::exit::Failure;

/// What a file in a directory must be called to be read; Parity: kubectl's `--filename` on a directory.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];
/// Bytes that one manifest file may have: hundreds of thousands of lines, so anything larger is a mistake.
const MAX_BYTES: u64 = 32 << 20;

/// One text with manifests in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// As the user named it: `job.yaml`, `jobs/a.yaml`, `<stdin>`.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Reads every source that the command line names, in its order; files of a directory by name. All that cannot be
/// read are told at once.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    let mut stdin_taken = false;
    for path in paths {
        if path.as_os_str() == "-" {
            if std::mem::replace(&mut stdin_taken, true) {
                problems.push("-: standard input can be read only once".to_owned());
                continue;
            }
            sources.push(text("<stdin>", std::io::stdin().lock()));
            continue;
        }
        match files(path) {
            Ok(files) => sources.extend(files.iter().map(|file| open(file))),
            Err(problem) => problems.push(problem),
        }
    }
    let mut read = Vec::new();
    for source in sources {
        match source {
            Ok(source) => read.push(source),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(Failure::Usage(problems.join("\n"))) }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let shown = path.display();
    let entries = fs::read_dir(path).map_err(|error| format!("{shown}: cannot read the directory: {error}"))?;
    let wanted = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_file() && extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
    };
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(wanted).collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("{shown}: no file in this directory ends in .yaml, .yml or .json"));
    }
    Ok(files)
}

fn open(path: &Path) -> Result<Source, String> {
    let name = path.display().to_string();
    match fs::File::open(path) {
        Ok(file) => text(&name, file),
        Err(error) => Err(format!("{name}: cannot be read: {error}")),
    }
}

fn text(name: &str, from: impl std::io::Read) -> Result<Source, String> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("{name}: cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{name}: larger than {} MiB: is this a manifest?", MAX_BYTES >> 20));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("{name}: not UTF-8 text (byte {at})")
    })?;
    Ok(Source { name: name.to_owned(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[PathBuf]) -> Result<Vec<String>, String> {
        let sources = read(paths).map_err(|failure| failure.to_string())?;
        Ok(sources.into_iter().map(|source| source.text).collect())
    }

    #[test]
    fn a_directory_gives_its_manifests_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("b.yaml", "b"), ("a.json", "a"), ("c.yml", "c"), ("notes.txt", "x"), ("d.yaml~", "x")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        assert_eq!(names(&[dir.path().to_owned()]).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn everything_that_cannot_be_read_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("binary.yaml"), [0xff]).unwrap();
        let told = names(&["/nonexistent/a.yaml".into(), dir.path().join("binary.yaml"), "/nonexistent/b".into()]);
        let told = told.unwrap_err();
        assert_eq!(told.lines().count(), 3, "{told}");
        assert!(told.contains("not UTF-8 text (byte 0)"), "{told}");
    }

    #[test]
    fn an_empty_directory_says_what_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let told = names(&[dir.path().to_owned()]).unwrap_err();
        assert!(told.ends_with("no file in this directory ends in .yaml, .yml or .json"), "{told}");
    }
}
