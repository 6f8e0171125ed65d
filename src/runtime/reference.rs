//! PURE. Owns image references: what a valid one is, and which registry, repository, tag and digest it names, by the
//! rules of `distribution/reference` that Docker and the kubelet share.
//! Never asks an engine or a registry.

use std::fmt;

/// The registry of a reference that names none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// Another name of that registry, which is read but never written.
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
/// Where that registry keeps repositories without an owner.
const OFFICIAL_PREFIX: &str = "library/";
/// The tag of a reference that has neither tag nor digest.
const DEFAULT_TAG: &str = "latest";
/// Longest repository path (upstream `RepositoryNameTotalLengthMax`).
const PATH_MAX: usize = 255;
/// Longest tag (upstream's grammar).
const TAG_MAX: usize = 128;

/// A valid image reference, completed: `busybox` is `docker.io/library/busybox`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `docker.io`, `localhost:5000`, `quay.io`.
    pub domain: String,
    /// `library/busybox`.
    pub path: String,
    /// As written; see [`Reference::tag_or_digest`] for the one in force.
    pub tag: Option<String>,
    /// `sha256:…`; it wins over a tag.
    pub digest: Option<String>,
}

/// Why a text is no image reference. Parity: the texts are those of `distribution/reference`, which the kubelet shows
/// behind `InvalidImageName`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// Not of the grammar.
    #[error("invalid reference format")]
    Format,
    /// Upper case in the repository path.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// It would be read as an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// Repository path too long.
    #[error("repository name must not be more than {PATH_MAX} characters")]
    TooLong,
    /// The digest's algorithm is unknown.
    #[error("unsupported digest algorithm")]
    DigestAlgorithm,
    /// The digest has the wrong length for its algorithm.
    #[error("invalid checksum digest length")]
    DigestLength,
    /// The digest is not lower-case hexadecimal.
    #[error("invalid checksum digest format")]
    DigestFormat,
}

impl Reference {
    /// Reads and completes a reference.
    ///
    /// # Errors
    /// [`InvalidReference`], with upstream's words.
    pub fn parse(text: &str) -> Result<Reference, InvalidReference> {
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(InvalidReference::LooksLikeId(text.to_owned()));
        }
        let (domain, rest) = split_domain(text);
        let remote = rest.split(':').next().unwrap_or_default();
        if remote.to_lowercase() != remote {
            return Err(InvalidReference::Uppercase(remote.to_owned()));
        }
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (rest.as_str(), None),
        };
        let (path, tag) = match name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name, None),
        };
        let fits = is_domain(&domain) && is_path(path) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
        if !fits {
            return Err(InvalidReference::Format);
        }
        if path.len() > PATH_MAX {
            return Err(InvalidReference::TooLong);
        }
        digest.map_or(Ok(()), check_digest)?;
        Ok(Reference { domain, path: path.to_owned(), tag: tag.map(str::to_owned), digest: digest.map(str::to_owned) })
    }

    /// Registry and repository: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// What tells the image in its repository: the digest, else the tag, else `latest`.
    pub fn tag_or_digest(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or(DEFAULT_TAG)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        match (&self.tag, &self.digest) {
            (None, None) => write!(f, ":{DEFAULT_TAG}"),
            (Some(tag), None) => write!(f, ":{tag}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
        }
    }
}

/// Splits off the registry. A first component is one only if it is `localhost`, has a dot, a colon or an upper-case
/// letter; anything else is an owner on the default registry.
fn split_domain(text: &str) -> (String, String) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN.to_owned(), format!("{OFFICIAL_PREFIX}{text}"));
    };
    let (domain, rest) = if first == LEGACY_DEFAULT_DOMAIN {
        (DEFAULT_DOMAIN, rest)
    } else if first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first {
        (first, rest)
    } else {
        (DEFAULT_DOMAIN, text)
    };
    let official = domain == DEFAULT_DOMAIN && !rest.contains('/');
    let rest = if official { format!("{OFFICIAL_PREFIX}{rest}") } else { rest.to_owned() };
    (domain.to_owned(), rest)
}

/// `host[:port]`; the host is dotted labels or a bracketed IPv6 address.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rfind(':').filter(|at| !text[*at..].contains(']')) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let port_fits = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => !v6.is_empty() && v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        None => host.split('.').all(is_domain_label),
    };
    port_fits && host_fits
}

fn is_domain_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_path_component)
}

/// Lower-case letters and digits, joined by one dot, one or two underscores, or any number of dashes.
fn is_path_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_fit = text.bytes().next().is_some_and(word) && text.bytes().last().is_some_and(word);
    ends_fit
        && text
            .split(|c: char| word(c as u8) && c.is_ascii())
            .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Of the grammar of digests; [`check_digest`] asks whether it is a real one.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let word = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(word) && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

fn check_digest(text: &str) -> Result<(), InvalidReference> {
    let (algorithm, hex) = text.split_once(':').unwrap_or((text, ""));
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(InvalidReference::DigestAlgorithm),
    };
    if hex.len() != length {
        Err(InvalidReference::DigestLength)
    } else if !hex.bytes().all(is_lower_hex) {
        Err(InvalidReference::DigestFormat)
    } else {
        Ok(())
    }
}

fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}
