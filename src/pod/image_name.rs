//! PURE. Owns what a valid image reference is and which tag one without any means. Never asks a registry.
//!
//! Parity: `distribution/reference`: `[host[:port]/]path[:tag][@digest]`.

/// The longest name without tag and digest.
const MAX_NAME: usize = 255;
/// The longest tag.
const MAX_TAG: usize = 128;

/// The reference with `:latest` where it has neither tag nor digest, or why it is malformed.
pub fn normalized(image: &str) -> Result<String, String> {
    let fault = || format!("couldn't parse image reference \"{image}\": {}", fault(image));
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash is a port.
    let path_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[path_start..].split_once(':') {
        Some((last, tag)) => (&rest[..path_start + last.len()], Some(tag)),
        None => (rest, None),
    };
    if !valid_name(name) || tag.is_some_and(|tag| !valid_tag(tag)) || digest.is_some_and(|digest| !valid_digest(digest))
    {
        return Err(fault());
    }
    Ok(if tag.is_none() && digest.is_none() { format!("{image}:latest") } else { image.to_owned() })
}

fn fault(image: &str) -> &'static str {
    if image.chars().any(char::is_uppercase) && !image.contains(char::is_whitespace) {
        "repository name must be lowercase"
    } else {
        "invalid reference format"
    }
}

fn valid_name(name: &str) -> bool {
    if name.is_empty() || name.len() > MAX_NAME {
        return false;
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 1
        && (parts[0].contains(['.', ':']) || parts[0] == "localhost" || parts[0] != parts[0].to_lowercase())
    {
        if !valid_host(parts[0]) {
            return false;
        }
        parts.remove(0);
    }
    parts.iter().all(|part| valid_component(part))
}

fn valid_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let bracketed = name.starts_with('[') && name.ends_with(']');
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    (bracketed || plain) && port.is_none_or(|port| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()))
}

fn valid_component(part: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    edge(part.chars().next())
        && edge(part.chars().last())
        && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
        && !["..", "___", "._", "_.", "-.", ".-", "-_", "_-"].iter().any(|run| part.contains(run))
}

fn valid_tag(tag: &str) -> bool {
    let start = tag.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    start && tag.len() <= MAX_TAG && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn valid_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _other => return false,
    };
    hex.len() == length && hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::normalized;

    #[test]
    fn references_are_read_as_upstream_reads_them() {
        let digest = format!("busybox@sha256:{}", "a".repeat(64));
        for (image, expected) in [
            ("busybox", Some("busybox:latest")),
            ("busybox:1.36", Some("busybox:1.36")),
            ("localhost:5000/a/b", Some("localhost:5000/a/b:latest")),
            ("localhost:5000/a/b:v1", Some("localhost:5000/a/b:v1")),
            ("registry.k8s.io/pause:3.9", Some("registry.k8s.io/pause:3.9")),
            ("a__b/c--d", Some("a__b/c--d:latest")),
            (digest.as_str(), Some(digest.as_str())),
            ("BusyBox", None),
            ("busy box", None),
            ("", None),
            ("a//b", None),
            ("-a", None),
            ("a:", None),
            ("a@sha256:12", None),
        ] {
            assert_eq!(normalized(image).ok().as_deref(), expected, "{image}");
        }
    }
}
