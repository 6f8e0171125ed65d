//! Owns what an image's name says of its tag. Never pulls anything.
//!
//! Parity: `parsers.ParseImageName` over distribution's reference grammar.

/// When an image is pulled, if nobody says it: always for `latest`, else where it is missing. A name that cannot be read
/// is left to validation and gets the latter.
pub fn pull_policy(image: &str) -> &'static str {
    match tag(image) {
        Some("latest") => "Always",
        Some(_) | None => "IfNotPresent",
    }
}

/// The tag of an image's name: `latest` where it has neither tag nor digest, empty where it has only a digest, none
/// where it cannot be read.
pub fn tag(image: &str) -> Option<&str> {
    /// Of a name without tag and digest.
    const LONGEST_NAME: usize = 255;
    let bare_id = image.len() == 64 && image.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if bare_id {
        return None;
    }
    let (named, digest) = image.split_once('@').map_or((image, None), |(named, digest)| (named, Some(digest)));
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return None;
    }
    let (domain, rest) = split_domain(named);
    let (path, tag) = rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag)));
    let readable = domain.is_none_or(is_domain)
        && path.split('/').all(is_component)
        && path.len() <= LONGEST_NAME
        && tag.is_none_or(is_tag);
    let default = if digest.is_some() { "" } else { "latest" };
    readable.then(|| tag.unwrap_or(default))
}

/// The registry before the first slash, where what stands there looks like one.
fn split_domain(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => {
                let is_v6 = address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
                return is_v6 && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
            }
            None => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let label = |label: &str| {
        let bytes = label.as_bytes();
        !bytes.is_empty()
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Lower-case words joined by `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !word(*first) || !word(*last) {
        return false;
    }
    bytes
        .split(|byte| word(*byte))
        .all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|byte| *byte == b'-'))
}

fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    matches!(bytes.len(), 1..=128)
        && word(bytes[0])
        && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|first: char| first.is_ascii_alphabetic())
            && hex.len() >= 32
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_decides_when_to_pull() {
        let always =
            ["busybox", "busybox:latest", "localhost:5000/a/b", "ghcr.io/x/y_z:latest", "localhost/x", "[::1]:5000/x"];
        let digest = "a".repeat(64);
        let present =
            ["busybox:1", "b/c:v1.2-3", "", "Busybox", "a//b", "a:b:c", "a b", "-a", "a:-", "A.io/B", &digest];
        for image in always {
            assert_eq!(pull_policy(image), "Always", "{image}");
        }
        for image in present {
            assert_eq!(pull_policy(image), "IfNotPresent", "{image}");
        }
        assert_eq!(pull_policy(&format!("busybox@sha256:{digest}")), "IfNotPresent");
        assert_eq!(pull_policy(&format!("busybox:latest@sha256:{digest}")), "Always");
        assert_eq!(tag(&format!("busybox@sha256:{digest}")), Some(""));
        assert_eq!(tag(&format!("busybox:latest@sha256:{digest}")), Some("latest"));
        assert_eq!(tag("busybox@sha256:12"), None);
    }
}
