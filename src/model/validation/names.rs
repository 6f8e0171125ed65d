//! Owns the forms that names, keys, ports, paths and addresses must have, and how upstream words a breach.
//! Never knows which field holds them: each function takes a text and answers with what is wrong with it.
//!
//! Parity: apimachinery's `util/validation`. Go checks most of these with regular expressions, which the messages
//! quote; here they are matched by hand.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Longest DNS label, label value and name part of a qualified name, in bytes.
pub const LABEL_MAX: usize = 63;
/// Longest DNS subdomain, in bytes.
pub const SUBDOMAIN_MAX: usize = 253;
/// Longest port name, in bytes.
const PORT_NAME_MAX: usize = 15;
/// Highest user and group id.
const ID_MAX: i64 = i32::MAX as i64;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_WORDS: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// The words for a text that does not match `regex`.
fn mismatch(words: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{words} (regex used for validation is '{regex}')");
    }
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{words} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn longer_than(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

/// The words for a number outside `low..=high`.
pub fn outside(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// Whether the text is not empty, begins and ends with `edge` letters and has only `edge` or `inner` ones.
fn framed(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            edge(first) && edge(last) && bytes.iter().all(|&letter| edge(letter) || inner(letter))
        }
        _ => false,
    }
}

fn lower(letter: u8) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

fn matches_label(text: &str) -> bool {
    framed(text, lower, |letter| letter == b'-')
}

fn matches_subdomain(text: &str) -> bool {
    text.split('.').all(matches_label)
}

fn matches_qualified(text: &str) -> bool {
    framed(text, |letter| letter.is_ascii_alphanumeric(), |letter| matches!(letter, b'-' | b'_' | b'.'))
}

/// RFC 1123 label: container, volume and namespace names.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(longer_than(LABEL_MAX));
    }
    if !matches_label(text) {
        wrong.push(if matches_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            let words = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
                         and must start and end with an alphanumeric character";
            mismatch(words, LABEL, &["my-name", "123-abc"])
        });
    }
    wrong
}

/// RFC 1035 label: names of Services.
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(longer_than(LABEL_MAX));
    }
    if !(matches_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())) {
        let words = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                     alphabetic character, and end with an alphanumeric character";
        wrong.push(mismatch(words, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    wrong
}

/// RFC 1123 subdomain: the names of most objects.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(longer_than(SUBDOMAIN_MAX));
    }
    if !matches_subdomain(text) {
        let words = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                     and must start and end with an alphanumeric character";
        wrong.push(mismatch(words, SUBDOMAIN, &["example.com"]));
    }
    wrong
}

/// The part of a name that is given when the rest is appended: a trailing dash is allowed.
/// Parity: `maskTrailingDash`, which swallows the letter before the dash too.
pub fn mask_trailing_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-').and_then(|rest| rest.get(..rest.len().checked_sub(1)?)) {
        Some(rest) => format!("{rest}a"),
        None => prefix.to_owned(),
    }
}

/// `example.com/name`: label, annotation and finalizer keys, condition types, resource names.
pub fn qualified_name(text: &str) -> Vec<String> {
    let examples = &["MyName", "my.name", "123-abc"];
    let mut wrong = Vec::new();
    let mut parts = text.split('/');
    let name = match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
        (name, None, _) => name,
        (prefix, Some(name), None) => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(dns_subdomain(prefix).into_iter().map(|words| format!("prefix part {words}")));
            }
            name
        }
        (_, Some(_), Some(_)) => {
            let words = mismatch(QUALIFIED_WORDS, QUALIFIED, examples);
            let more = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {words} {more}")];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        wrong.push(format!("name part {}", longer_than(LABEL_MAX)));
    }
    if !matches_qualified(name) {
        wrong.push(format!("name part {}", mismatch(QUALIFIED_WORDS, QUALIFIED, examples)));
    }
    wrong
}

/// A label's value.
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(longer_than(LABEL_MAX));
    }
    if !text.is_empty() && !matches_qualified(text) {
        let words = format!("a valid label must be an empty string or {}", &QUALIFIED_WORDS["must ".len()..]);
        wrong.push(mismatch(&words, &format!("({QUALIFIED})?"), &["MyValue", "my_value", "12345"]));
    }
    wrong
}

/// A key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(longer_than(SUBDOMAIN_MAX));
    }
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(fits) {
        let words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        wrong.push(mismatch(words, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match text {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// The name of an environment variable; since 1.32 nearly any printable ASCII will do.
pub fn env_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.is_empty() {
        wrong.push("environment variable name must be non-empty".to_owned());
    }
    if !text.bytes().all(|letter| matches!(letter, b' '..=b'~') && letter != b'=') {
        let words = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        wrong.push(words.to_owned());
    }
    wrong
}

/// The name of an HTTP header.
pub fn http_header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-') {
        return Vec::new();
    }
    let words = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![mismatch(words, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// A port's number.
pub fn port_number(port: i32) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![outside(1, 65535)] }
}

/// A port's name (an IANA service name).
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > PORT_NAME_MAX {
        wrong.push(longer_than(PORT_NAME_MAX));
    }
    if text.is_empty() || !text.bytes().all(|letter| lower(letter) || letter == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|letter| letter.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// A user's or group's id.
pub fn id(id: i64) -> Vec<String> {
    if (0..=ID_MAX).contains(&id) { Vec::new() } else { vec![outside(0, ID_MAX)] }
}

/// An address. Parity: Go's sloppy reading, which takes leading zeros in IPv4.
pub fn ip(text: &str) -> Vec<String> {
    if parse_ip(text).is_some() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

/// Whether an address is IPv6; `None` where it is no address.
pub fn parse_ip(text: &str) -> Option<bool> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some(true);
    }
    let trimmed: Vec<&str> = text
        .split('.')
        .map(|part| match part.trim_start_matches('0') {
            "" if !part.is_empty() => "0",
            rest => rest,
        })
        .collect();
    trimmed.join(".").parse::<Ipv4Addr>().is_ok().then_some(false)
}

/// What is wrong with the path part of `example.com/path`.
pub fn http_path(text: &str) -> Vec<String> {
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&letter);
    if !text.is_empty() && text.bytes().all(fits) {
        return Vec::new();
    }
    vec![mismatch("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[])]
}

/// The longest sysctl name, in bytes.
pub const SYSCTL_MAX: usize = 253;
/// The form of a sysctl's name, as messages quote it.
pub const SYSCTL: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// Whether the text can be a sysctl's name, with dots or slashes.
pub fn is_sysctl(text: &str) -> bool {
    let segment = |part: &str| framed(part, lower, |letter| matches!(letter, b'-' | b'_'));
    text.len() <= SYSCTL_MAX && text.split(['.', '/']).all(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for (text, six) in [
            ("10.0.0.1", Some(false)),
            ("010.000.00.1", Some(false)),
            ("::1", Some(true)),
            ("1.2.3", None),
            ("1.2.3.", None),
            ("300.1.1.1", None),
            ("", None),
            ("fe80::1%eth0", None),
        ] {
            assert_eq!(parse_ip(text), six, "{text}");
        }
    }

    #[test]
    fn forms_accept_and_refuse() {
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert!(dns_label("a-b").is_empty());
        assert_eq!(dns_subdomain("-a").len(), 1);
        assert_eq!(qualified_name("a/b/c").len(), 1);
        assert_eq!(qualified_name("/b"), ["prefix part must be non-empty"]);
        assert!(label_value("").is_empty());
        assert_eq!(label_value("-a").len(), 1);
        assert!(config_key("a..b").is_empty());
        assert_eq!(config_key(".."), ["must not be '..'"]);
        assert_eq!(port_name("-a--b-").len(), 2);
        assert!(is_sysctl("net/ipv4/ip_forward") && !is_sysctl("Net.x") && !is_sysctl(""));
        assert_eq!(mask_trailing_dash("ab-"), "aa");
        assert_eq!(mask_trailing_dash("-"), "-");
    }
}
