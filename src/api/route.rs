//! Owns how a URL path names a resource: kind, namespace, name, subresource. PURE.
//! Never looks at a method or a query: `mod` combines them into a verb.
//!
//! ```text
//!  /api/v1/... or /apis/GROUP/VERSION/...
//!      [watch/] [namespaces/NS/] RESOURCE [/NAME [/SUBRESOURCE]]
//! ```

use crate::model::kind::Kind;

/// What a path under `/api` or `/apis` means.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Objects of a kind.
    Resource(Target),
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`; the group is empty for the core.
    Version(String, String),
    /// A resource that is not in the table of kinds: (group, version, resource, namespace). Reviews are such.
    Virtual(String, String, String, String),
}

/// Objects of one kind: all, those of a namespace, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind.
    pub kind: &'static Kind,
    /// The namespace; empty for all, and for cluster-scoped kinds.
    pub namespace: String,
    /// The name; empty for a collection.
    pub name: String,
    /// `status`, `log`; empty for the object itself.
    pub subresource: String,
    /// The deprecated `/watch/` prefix was used.
    pub watch: bool,
}

/// Reads a path; none where it leads nowhere. Segments are percent-decoded already.
pub fn parse(segments: &[String]) -> Option<Place> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["api"] => Some(Place::CoreVersions),
        ["apis"] => Some(Place::Groups),
        ["apis", group] => Some(Place::Group((*group).to_owned())),
        ["api", version] => Some(Place::Version(String::new(), (*version).to_owned())),
        ["apis", group, version] => Some(Place::Version((*group).to_owned(), (*version).to_owned())),
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        _ => None,
    }
}

fn resource(group: &str, version: &str, segments: &[&str]) -> Option<Place> {
    let (watch, segments) = match segments {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (namespace, segments) = match segments {
        // `namespaces/x/status` and `namespaces/x/finalize` are the namespace's own subresources.
        ["namespaces", _, "status" | "finalize"] => ("", segments),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        _ => ("", segments),
    };
    let (plural, name, subresource) = match segments {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, subresource] => (*plural, *name, *subresource),
        _ => return None,
    };
    let Some(kind) = Kind::of_url(group, version, plural) else {
        let named = !name.is_empty() || !subresource.is_empty();
        return (!named).then(|| {
            let [group, version, plural, namespace] = [group, version, plural, namespace].map(str::to_owned);
            Place::Virtual(group, version, plural, namespace)
        });
    };
    // A cluster-scoped kind has no place in a namespace, and one of its objects no place outside.
    let misplaced = if kind.namespaced { namespace.is_empty() && !name.is_empty() } else { !namespace.is_empty() };
    (!misplaced).then(|| {
        let [namespace, name, subresource] = [namespace, name, subresource].map(str::to_owned);
        Place::Resource(Target { kind, namespace, name, subresource, watch })
    })
}

/// The segments of a path, percent-decoded; none where a segment is not UTF-8. Slashes at either end do not count.
pub fn segments(path: &str) -> Option<Vec<String>> {
    path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
}

/// Undoes percent-encoding; none where it is malformed or not UTF-8.
pub fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| (byte as char).to_digit(16));
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
