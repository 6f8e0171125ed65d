//! Owns what a YAML scalar means: YAML 1.1 as go-yaml reads it (`yes` is true, `0644` is 420, `08` is 8.0).
//! Never sees structure: `compose` calls it for each scalar.
//!
//! Parity: go-yaml v2's `resolve`, through sigs.k8s.io/yaml 1.4.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::go_text::{json_float, key_float, quote};
use super::super::tree::Tree;

/// The prefix of the tags that YAML itself defines.
const CORE: &str = "tag:yaml.org,2002:";

/// A scalar's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer that fits 64 bits with sign.
    Int(i64),
    /// A larger one.
    Uint(u64),
    /// A float.
    Float(f64),
    /// A string, or a time, which is kept as it was written.
    Text(String),
}

impl Scalar {
    /// The value as JSON; the error is the encoder's where JSON has no such number.
    pub fn to_tree(&self) -> Result<Tree, String> {
        Ok(match self {
            Self::Null => Tree::Null,
            Self::Bool(value) => Tree::Bool(*value),
            Self::Int(value) => Tree::Number(value.to_string()),
            Self::Uint(value) => Tree::Number(value.to_string()),
            Self::Float(value) if value.is_finite() => Tree::Number(json_float(*value)),
            Self::Float(value) => return Err(format!("json: unsupported value: {}", infinite(*value))),
            Self::Text(text) => Tree::Text(text.clone()),
        })
    }

    /// The scalar as a JSON object's key, where it can be one.
    pub fn to_key(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Int(value) => Some(value.to_string()),
            Self::Float(value) => Some(key_float(*value)),
            Self::Bool(value) => Some(value.to_string()),
            Self::Null | Self::Uint(_) => None,
        }
    }

    /// As `%#v` prints it.
    pub fn dump(&self) -> String {
        match self {
            Self::Null => "interface {}(nil)".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Uint(value) => format!("{value:#x}"),
            Self::Float(value) => json_float(*value),
            Self::Text(text) => quote(text),
        }
    }

    fn short_tag(&self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool(_) => "!!bool",
            Self::Int(_) | Self::Uint(_) => "!!int",
            Self::Float(_) => "!!float",
            Self::Text(_) => "!!str",
        }
    }
}

fn infinite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// What a scalar with this text and tag is. A quoted scalar without a tag is a string, and so is one with a tag of
/// somebody's own.
pub fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Scalar, String> {
    let Some(tag) = tag else {
        return Ok(if plain { untagged(text, true) } else { Scalar::Text(text.to_owned()) });
    };
    let Some(core) = tag.strip_prefix(CORE) else { return Ok(Scalar::Text(text.to_owned())) };
    let wrong = |found: &Scalar| Err(format!("cannot decode {} `{text}` as a !!{core}", found.short_tag()));
    match core {
        "binary" => match STANDARD.decode(text.replace(['\n', '\r'], "")) {
            Ok(bytes) => Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned())),
            Err(_) => Err("!!binary value contains invalid base64 data".to_owned()),
        },
        "bool" | "int" | "float" | "null" | "timestamp" => {
            let found = untagged(text, core == "timestamp");
            match (core, found) {
                ("float", Scalar::Int(value)) => {
                    #[expect(clippy::cast_precision_loss, reason = "upstream converts the same way")]
                    let value = value as f64;
                    Ok(Scalar::Float(value))
                }
                ("timestamp", found) if is_date(text) => Ok(found),
                ("timestamp", found) => wrong(&found),
                (wanted, found) if found.short_tag() == format!("!!{wanted}") => Ok(found),
                (_, found) => wrong(&found),
            }
        }
        _ => Ok(Scalar::Text(text.to_owned())),
    }
}

/// What a plain scalar without a tag is.
fn untagged(text: &str, dates: bool) -> Scalar {
    let as_text = || Scalar::Text(text.to_owned());
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' if is_float(text) => text.parse().map_or_else(|_| as_text(), Scalar::Float),
        b'+' | b'-' | b'0'..=b'9' if dates && is_date(text) => as_text(),
        b'+' | b'-' | b'0'..=b'9' => number(&text.replace('_', "")).unwrap_or_else(as_text),
        _ => as_text(),
    }
}

/// An integer with Go's prefixes (`0x`, `0b`, `0o`, and `0` for octal), else a float.
fn number(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if let Some(size) = magnitude(digits) {
        let signed = if negative { 0i128.checked_sub_unsigned(size) } else { i128::try_from(size).ok() };
        if let Some(value) = signed.and_then(|value| i64::try_from(value).ok()) {
            return Some(Scalar::Int(value));
        }
        // Go's ParseUint takes no sign, not even a plus.
        if let (true, Ok(value)) = (digits.len() == text.len(), u64::try_from(size)) {
            return Some(Scalar::Uint(value));
        }
    }
    if is_float(text) { text.parse().ok().filter(|value: &f64| value.is_finite()).map(Scalar::Float) } else { None }
}

fn magnitude(digits: &str) -> Option<u128> {
    let (radix, rest) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    let right = !rest.is_empty() && rest.chars().all(|digit| digit.is_digit(radix));
    right.then(|| u128::from_str_radix(rest, radix).ok()).flatten()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, part)| (whole, Some(part)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && fraction.is_none_or(digits)
        && !(whole.is_empty() && fraction.is_none_or(str::is_empty))
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// Whether it looks like a date or a time (`2001-12-14`, `2001-12-14T21:59:43Z`), which stays a string. Text of this
/// shape is no number either, so that only the shape matters.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let year = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let parts: Vec<&str> = text.split(['T', 't', ' ']).next().unwrap_or("").split('-').collect();
    year == 4
        && parts.len() == 3
        && parts[1..].iter().all(|part| matches!(part.len(), 1 | 2) && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(text: &str, expected: Scalar) {
        assert_eq!(resolve(text, true, None), Ok(expected), "{text}");
    }

    #[test]
    fn plain_scalars_are_read_as_yaml_1_1() {
        for text in ["yes", "y", "On", "TRUE"] {
            is(text, Scalar::Bool(true));
        }
        for text in ["no", "N", "off", "False"] {
            is(text, Scalar::Bool(false));
        }
        for text in ["", "~", "null", "NULL"] {
            is(text, Scalar::Null);
        }
        for text in ["yEs", "12:30:45", "1.2.3", "2020-01-01", "-", "+", ".", "0x", "1e", "--1", "0b2", "_"] {
            is(text, Scalar::Text(text.to_owned()));
        }
    }

    #[test]
    fn integers_have_gos_prefixes() {
        let cases =
            [("0644", 420), ("0o644", 420), ("0x1F", 31), ("0b11", 3), ("1_000", 1000), ("-017", -15), ("+5", 5)];
        for (text, value) in cases {
            is(text, Scalar::Int(value));
        }
        is("9223372036854775808", Scalar::Uint(9_223_372_036_854_775_808));
    }

    #[test]
    fn what_is_no_integer_may_be_a_float() {
        let cases = [("08", 8.0), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-1.5E2", -150.0)];
        for (text, value) in cases {
            is(text, Scalar::Float(value));
        }
        is("99999999999999999999", Scalar::Float(1e20));
    }

    #[test]
    fn tags_force_a_type_or_fail() {
        let tagged = |text: &str, tag: &str| resolve(text, true, Some(&format!("{CORE}{tag}")));
        assert_eq!(tagged("1", "str"), Ok(Scalar::Text("1".to_owned())));
        assert_eq!(tagged("1", "float"), Ok(Scalar::Float(1.0)));
        assert_eq!(tagged("aGk=", "binary"), Ok(Scalar::Text("hi".to_owned())));
        assert_eq!(tagged("x", "int"), Err("cannot decode !!str `x` as a !!int".to_owned()));
        assert_eq!(resolve("1", true, Some("!mine")), Ok(Scalar::Text("1".to_owned())));
    }
}
