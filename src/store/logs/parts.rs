//! Owns the parts of one log: their names, which there are, opening one of them, making the next. Never decides how many
//! may stay: `keeper` does.
//!
//! ```text
//!  0.log            part 4, written to      0.dropped    holds `1`: part 1 is gone
//!  0.log.3          part 3, waits for the keeper
//!  0.log.2.gz       part 2, compressed
//! ```
//!
//! A part is renamed while it may be open, and never changes after that, so that whoever reads it goes on undisturbed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tempfile::NamedTempFile;

/// End of the name of a compressed part.
pub(super) const PACKED: &str = ".gz";
/// Times that a part is looked for again because it was renamed or compressed meanwhile: each is one step in its life.
const TRIES: usize = 8;

/// What there is of a log beside the part that is written to.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Finished parts by number.
    pub rotated: BTreeMap<u64, PathBuf>,
    /// Parts up to this number were dropped.
    pub dropped: u64,
}

impl Parts {
    /// The parts of the log that is written at `path`.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut parts = Self { dropped: dropped(path)?, ..Self::default() };
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Ok(parts);
        };
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(parts),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?.path();
            if let Some(number) = number(&entry, name) {
                // While it is being compressed a part stands there twice, with the same content.
                parts.rotated.insert(number, entry);
            }
        }
        Ok(parts)
    }

    /// The number of the part that is written to.
    pub(super) fn current(&self) -> u64 {
        self.rotated.keys().next_back().copied().unwrap_or(0).max(self.dropped) + 1
    }
}

fn number(entry: &Path, log: &str) -> Option<u64> {
    let rest = entry.file_name()?.to_str()?.strip_prefix(log)?.strip_prefix('.')?;
    rest.strip_suffix(PACKED).unwrap_or(rest).parse().ok()
}

fn dropped(path: &Path) -> io::Result<u64> {
    match fs::read_to_string(path.with_extension("dropped")) {
        Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Notes that parts up to `number` are gone, before they go. At once, for it is read meanwhile.
pub(super) fn note_dropped(path: &Path, number: u64) -> io::Result<()> {
    let mut note = NamedTempFile::new_in(path.parent().unwrap_or(path))?;
    write!(note, "{number}")?;
    note.persist(path.with_extension("dropped")).map_err(|error| error.error).map(drop)
}

/// Where a part stands once it is finished.
pub(super) fn rotated(path: &Path, number: u64) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// One part, open for reading.
#[derive(Debug)]
pub(super) struct Part {
    pub number: u64,
    pub file: File,
    /// Nothing is written to it any more.
    pub closed: bool,
}

impl Part {
    /// Opens the first part at or after `wanted`. None where nothing was ever kept.
    pub(super) fn open(path: &Path, wanted: u64) -> io::Result<Option<Self>> {
        Self::open_first(path, |parts| parts.rotated.range(wanted..).next())
    }

    /// Opens the last part before `number`. None where there is none.
    pub(super) fn before(path: &Path, number: u64) -> io::Result<Option<Self>> {
        match Parts::of(path)?.rotated.range(..number).next_back() {
            Some((found, _)) => {
                let found = *found;
                Ok(Self::open(path, found)?.filter(|part| part.number == found))
            }
            None => Ok(None),
        }
    }

    /// Opens the part that is written to.
    pub(super) fn current(path: &Path) -> io::Result<Option<Self>> {
        Self::open_first(path, |_| None)
    }

    fn open_first(path: &Path, choose: impl Fn(&Parts) -> Option<(&u64, &PathBuf)>) -> io::Result<Option<Self>> {
        for _ in 0..TRIES {
            let parts = Parts::of(path)?;
            let chosen = choose(&parts);
            let opened = match chosen {
                Some((_, rotated)) => open(rotated),
                None => File::open(path),
            };
            match opened {
                Ok(file) => match chosen {
                    Some((number, _)) => return Ok(Some(Self { number: *number, file, closed: true })),
                    // Else it became a finished part between the two looks.
                    None if Parts::of(path)?.current() == parts.current() => {
                        return Ok(Some(Self { number: parts.current(), file, closed: false }));
                    }
                    None => {}
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether nothing more will be written to it. What was written until then can be read afterwards.
    pub(super) fn is_closed(&mut self, path: &Path) -> io::Result<bool> {
        if !self.closed {
            self.closed = match fs::metadata(path) {
                Ok(present) => present.ino() != self.file.metadata()?.ino(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Err(error) => return Err(error),
            };
        }
        Ok(self.closed)
    }
}

/// Opens a finished part; a compressed one as a file without a name, which can be read from any place.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if !path.to_str().is_some_and(|path| path.ends_with(PACKED)) {
        return Ok(file);
    }
    let mut plain = tempfile::tempfile_in(path.parent().unwrap_or(path))?;
    io::copy(&mut MultiGzDecoder::new(file), &mut plain)?;
    Ok(plain)
}
