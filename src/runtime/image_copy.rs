//! Owns how the files of a container that was never started become the files of its image, in a form that the engine
//! unpacks into a volume. Never touches a disk: bytes go in and come out.
//!
//! ```text
//!  export: bin/ bin/sh .dockerenv dev/ etc/ etc/hosts data/x  -->  files/ files/bin/ files/bin/sh files/data/x complete
//! ```
//!
//! The last entry says that all before it was unpacked: a copy without it was broken off.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, Entry, EntryType, Header};

/// Where a volume has an image's files.
pub const FILES: &str = "files";
/// What a volume has that holds all of them.
pub const COMPLETE: &str = "complete";
/// Where the container that is exported has the volume.
pub const PLACE: &str = ".jobdock";
/// What the engine lays into every container that it makes, where the image does not have it.
const LAID_FILES: [&str; 6] = [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"];
const LAID_DIRECTORIES: [&str; 7] = ["dev", "dev/pts", "dev/shm", "etc", "proc", "sys", PLACE];

/// Rewrites an exported file system.
/// Differs: an image's own empty `/dev`, `/etc`, `/proc` and `/sys` are not told from those that the engine lays, and left
/// out; extended attributes are not kept.
pub fn rewrite(from: impl Read, to: impl Write) -> io::Result<()> {
    let mut out = Builder::new(to);
    let mut root = Header::new_gnu();
    root.set_entry_type(EntryType::Directory);
    root.set_mode(0o755);
    root.set_size(0);
    directory(&mut out, root, Path::new(FILES))?;
    // Directories that may be the engine's: they follow once something is found in them that is the image's.
    let mut held: BTreeMap<PathBuf, Header> = BTreeMap::new();
    for entry in Archive::new(from).entries()? {
        let entry = entry?;
        let path = plain(&entry.path()?);
        if path.as_os_str().is_empty() || is_laid_file(&path, &entry) {
            continue;
        }
        if entry.header().entry_type() == EntryType::Directory
            && LAID_DIRECTORIES.iter().any(|laid| path == Path::new(laid))
        {
            held.insert(path, entry.header().clone());
            continue;
        }
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for parent in above.into_iter().rev() {
            if let Some(header) = held.remove(parent) {
                directory(&mut out, header, &Path::new(FILES).join(parent))?;
            }
        }
        append(&mut out, &path, entry)?;
    }
    let mut mark = Header::new_gnu();
    mark.set_mode(0o444);
    mark.set_size(0);
    out.append_data(&mut mark, COMPLETE, io::empty())?;
    out.into_inner()?.flush()
}

/// The path without `/`, `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// The engine's are empty files, and a link.
fn is_laid_file(path: &Path, entry: &Entry<'_, impl Read>) -> bool {
    let kind = entry.header().entry_type();
    let empty = kind == EntryType::Symlink || entry.size() == 0;
    kind != EntryType::Directory && empty && LAID_FILES.iter().any(|laid| path == Path::new(laid))
}

fn directory(out: &mut Builder<impl Write>, mut header: Header, path: &Path) -> io::Result<()> {
    out.append_data(&mut header, format!("{}/", path.display()), io::empty())
}

fn append(out: &mut Builder<impl Write>, path: &Path, entry: Entry<'_, impl Read>) -> io::Result<()> {
    let mut header = entry.header().clone();
    let target = Path::new(FILES).join(path);
    let link = entry.link_name()?.map(|link| link.into_owned()).unwrap_or_default();
    match header.entry_type() {
        EntryType::Directory => directory(out, header, &target),
        EntryType::Symlink => out.append_link(&mut header, target, within(path, &link)),
        EntryType::Link => out.append_link(&mut header, target, Path::new(FILES).join(plain(&link))),
        _file => {
            header.set_size(entry.size());
            out.append_data(&mut header, target, entry)
        }
    }
}

/// Where a link leads, without the steps that lead above the root: there they lead nowhere, but below the root of a copy
/// they would lead out of it, and the engine refuses the whole archive for that.
fn within(path: &Path, link: &Path) -> PathBuf {
    let mut depth = path.components().count().saturating_sub(1);
    let steps = link.components().filter(|step| match step {
        Component::ParentDir if depth == 0 => false,
        Component::ParentDir => {
            depth -= 1;
            true
        }
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir | Component::RootDir | Component::Prefix(_) => true,
    });
    let inside: PathBuf = steps.collect();
    if inside.as_os_str().is_empty() { PathBuf::from(".") } else { inside }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries as `path kind size`.
    fn rewritten(entries: &[(&str, EntryType, &str)]) -> Vec<String> {
        let mut from = Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(0o750);
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_size(0);
                from.append_link(&mut header, path, content).expect("a test's archive");
            } else {
                header.set_size(content.len() as u64);
                from.append_data(&mut header, path, content.as_bytes()).expect("a test's archive");
            }
        }
        let mut to = Vec::new();
        rewrite(from.into_inner().expect("a test's archive").as_slice(), &mut to).expect("it can be rewritten");
        let mut archive = Archive::new(to.as_slice());
        let told = archive.entries().expect("an archive").map(|entry| {
            let entry = entry.expect("an entry");
            let link = entry.link_name().ok().flatten().map(|link| format!(" -> {}", link.display()));
            let path = entry.path().expect("a path").display().to_string();
            format!("{path}{} {}", link.unwrap_or_default(), entry.size())
        });
        told.collect()
    }

    #[test]
    fn what_the_engine_lays_into_a_container_is_left_out_and_what_the_image_has_there_stays() {
        use EntryType::{Directory, Regular, Symlink};
        let told = rewritten(&[
            (".dockerenv", Regular, ""),
            (".jobdock/", Directory, ""),
            ("data/", Directory, ""),
            ("data/x", Regular, "xyz"),
            ("dev/", Directory, ""),
            ("dev/console", Regular, ""),
            ("dev/pts/", Directory, ""),
            ("etc/", Directory, ""),
            ("etc/hostname", Regular, ""),
            ("etc/hosts", Regular, "own"),
            ("etc/mtab", Symlink, "/proc/mounts"),
            ("proc/", Directory, ""),
        ]);
        let expected =
            ["files/ 0", "files/data/ 0", "files/data/x 3", "files/etc/ 0", "files/etc/hosts 3", "complete 0"];
        assert_eq!(told, expected);
    }

    #[test]
    fn links_lead_where_they_led_and_long_names_stay_whole() {
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
        let told = rewritten(&[
            ("bin/sh", EntryType::Regular, "#!"),
            ("bin/ash", EntryType::Link, "bin/sh"),
            ("lib", EntryType::Symlink, "../usr/lib"),
            ("abs", EntryType::Symlink, "/usr/lib"),
            ("bin/up", EntryType::Symlink, "../../../etc/x"),
            (&long, EntryType::Regular, "1"),
        ]);
        assert_eq!(
            told,
            [
                "files/ 0",
                "files/bin/sh 2",
                "files/bin/ash -> files/bin/sh 0",
                "files/lib -> usr/lib 0",
                "files/abs -> /usr/lib 0",
                "files/bin/up -> ../etc/x 0",
                &format!("files/{long} 1"),
                "complete 0",
            ]
        );
    }

    #[test]
    fn an_archive_that_is_cut_off_is_never_complete() {
        let mut from = Builder::new(Vec::new());
        let mut header = Header::new_ustar();
        header.set_size(4096);
        from.append_data(&mut header, "x", [1_u8; 4096].as_slice()).expect("a test's archive");
        let bytes = from.into_inner().expect("a test's archive");
        let mut to = Vec::new();
        rewrite(&bytes[..2048], &mut to).expect_err("it is cut off");
        assert!(!String::from_utf8_lossy(&to).contains(COMPLETE));
    }
}
