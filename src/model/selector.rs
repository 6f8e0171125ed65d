//! Owns label selectors: the text form of query parameters (equality and set forms), the object form
//! (`metav1.LabelSelector`), and whether labels match. Never reads objects: see `fields` for field selectors.
//!
//! Parity: apimachinery's `labels.Parse`, its grammar and its error texts.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// A conjunction of requirements; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

/// What a label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Equals(String),
    /// Also true where the label is missing.
    NotEquals(String),
    In(Vec<String>),
    /// Also true where the label is missing.
    NotIn(Vec<String>),
    Exists,
    Missing,
    Above(i64),
    Below(i64),
}

/// Why a selector could not be read, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl Selector {
    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        Parser { tokens: tokens(text), at: 0 }.selector()
    }

    /// The object form; an absent selector selects nothing, so callers decide about `None`.
    pub fn of(selector: &LabelSelector) -> Result<Self, Unreadable> {
        let labels = selector.match_labels.iter().flatten();
        let mut all: Vec<Requirement> =
            labels.map(|(key, value)| Requirement { key: key.clone(), test: Test::Equals(value.clone()) }).collect();
        for expression in selector.match_expressions.iter().flatten() {
            all.push(Requirement::of(expression)?);
        }
        all.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(Self(all))
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.and_then(|labels| labels.get(&requirement.key)).map(String::as_str);
            requirement.test.holds(value)
        })
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Requirement {
    fn of(expression: &LabelSelectorRequirement) -> Result<Self, Unreadable> {
        let values = expression.values.clone().unwrap_or_default();
        let test = match expression.operator.as_str() {
            "In" => Test::In(values),
            "NotIn" => Test::NotIn(values),
            "Exists" => Test::Exists,
            "DoesNotExist" => Test::Missing,
            other => return Err(Unreadable(format!("\"{other}\" is not a valid label selector operator"))),
        };
        Ok(Self { key: expression.key.clone(), test })
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Equals(wanted) => value == Some(wanted),
            Self::NotEquals(unwanted) => value != Some(unwanted),
            Self::In(wanted) => value.is_some_and(|value| wanted.iter().any(|one| one == value)),
            Self::NotIn(unwanted) => !value.is_some_and(|value| unwanted.iter().any(|one| one == value)),
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
            Self::Above(limit) => number().is_some_and(|number| number > *limit),
            Self::Below(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

/// Upstream's text form, as tables show selectors: `a=b,c in (d,e),!f`.
impl fmt::Display for Selector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.0.iter().enumerate() {
            if at > 0 {
                out.write_str(",")?;
            }
            let key = &requirement.key;
            match &requirement.test {
                Test::Equals(value) => write!(out, "{key}={value}")?,
                Test::NotEquals(value) => write!(out, "{key}!={value}")?,
                Test::In(values) => write!(out, "{key} in ({})", sorted(values))?,
                Test::NotIn(values) => write!(out, "{key} notin ({})", sorted(values))?,
                Test::Exists => write!(out, "{key}")?,
                Test::Missing => write!(out, "!{key}")?,
                Test::Above(limit) => write!(out, "{key}>{limit}")?,
                Test::Below(limit) => write!(out, "{key}<{limit}")?,
            }
        }
        Ok(())
    }
}

fn sorted(values: &[String]) -> String {
    let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
    values.sort_unstable();
    values.join(",")
}

/// One lexical unit; symbols and words stand as they were written, the end is empty.
fn tokens(text: &str) -> Vec<&str> {
    // What ends a word. Parity: a form feed is part of a word, as upstream's `isWhitespace` does not know it.
    const ENDS: [char; 11] = ['=', '!', '(', ')', ',', '>', '<', ' ', '\t', '\r', '\n'];
    let mut out = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', '\r', '\n']);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '=' if rest.starts_with("==") => 2,
            '!' if rest.starts_with("!=") => 2,
            '=' | '!' | '(' | ')' | ',' | '>' | '<' => 1,
            _ => rest.find(ENDS).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        out.push(token);
        rest = after.trim_start_matches([' ', '\t', '\r', '\n']);
    }
    out
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.starts_with(['=', '!', '(', ')', ',', '>', '<'])
}

/// Recursive descent over the tokens.
struct Parser<'a> {
    tokens: Vec<&'a str>,
    at: usize,
}

const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

impl<'a> Parser<'a> {
    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).copied().unwrap_or_default()
    }

    fn next(&mut self) -> &'a str {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn selector(mut self) -> Result<Selector, Unreadable> {
        let mut all = Vec::new();
        loop {
            match self.peek() {
                "" if all.is_empty() => return Ok(Selector(all)),
                token if token == "!" || is_word(token) => {}
                token => return Err(found(token, "!, identifier, or 'end of string'")),
            }
            let requirement =
                self.requirement().map_err(|Unreadable(why)| Unreadable(format!("unable to parse requirement: {why}")));
            all.push(requirement?);
            match self.next() {
                "" => {
                    all.sort_by(|left: &Requirement, right| left.key.cmp(&right.key));
                    return Ok(Selector(all));
                }
                "," if self.peek() == "!" || is_word(self.peek()) => {}
                "," => return Err(found(self.peek(), "identifier after ','")),
                token => return Err(found(token, "',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, Unreadable> {
        if self.peek() == "!" {
            self.next();
            let key = self.key()?;
            return Ok(Requirement { key, test: Test::Missing });
        }
        let key = self.key()?;
        let test = match self.peek() {
            "" | "," => Test::Exists,
            _ => self.test()?,
        };
        Ok(Requirement { key, test })
    }

    fn key(&mut self) -> Result<String, Unreadable> {
        let token = self.next();
        if !is_word(token) {
            return Err(found(token, "identifier"));
        }
        check_key(token)?;
        Ok(token.to_owned())
    }

    fn test(&mut self) -> Result<Test, Unreadable> {
        match self.next() {
            "=" | "==" => self.value().map(Test::Equals),
            "!=" => self.value().map(Test::NotEquals),
            "in" => self.values().map(Test::In),
            "notin" => self.values().map(Test::NotIn),
            ">" => self.number().map(Test::Above),
            "<" => self.number().map(Test::Below),
            token => Err(found(token, OPERATORS)),
        }
    }

    /// The value after `=`: a word, or nothing at all.
    fn value(&mut self) -> Result<String, Unreadable> {
        match self.peek() {
            "" | "," => Ok(String::new()),
            token if is_word(token) => {
                self.next();
                check_value(token)?;
                Ok(token.to_owned())
            }
            token => Err(found(token, "identifier")),
        }
    }

    fn number(&mut self) -> Result<i64, Unreadable> {
        let text = self.value()?;
        text.parse().map_err(|_| Unreadable("for 'Gt', 'Lt' operators, the value must be an integer".to_owned()))
    }

    fn values(&mut self) -> Result<Vec<String>, Unreadable> {
        match self.next() {
            "(" => {}
            token => return Err(found(token, "'('")),
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                // An empty place between commas is the empty value, as upstream reads it.
                token @ ("," | ")") => {
                    values.push(String::new());
                    if token == ")" {
                        return Ok(values);
                    }
                }
                token if is_word(token) => {
                    check_value(token)?;
                    values.push(token.to_owned());
                    match self.next() {
                        ")" => return Ok(values),
                        "," => {}
                        token => return Err(found(token, "',' or ')'")),
                    }
                }
                token => return Err(found(token, "',', ')' or identifier")),
            }
        }
    }
}

fn found(token: &str, expected: &str) -> Unreadable {
    Unreadable(format!("found '{token}', expected: {expected}"))
}

/// Longest name part of a label key, and longest label value.
const NAME_LIMIT: usize = 63;
/// Longest prefix of a label key.
const PREFIX_LIMIT: usize = 253;

fn check_key(key: &str) -> Result<(), Unreadable> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let bad = |why: &str| Err(Unreadable(format!("key: Invalid value: \"{key}\": {why}")));
    if prefix.is_some_and(|prefix| prefix.contains('/')) {
        return bad(
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. \
             'example.com/MyName')",
        );
    }
    match prefix {
        Some("") => return bad("prefix part must be non-empty"),
        Some(prefix) if prefix.len() > PREFIX_LIMIT => return bad("prefix part must be no more than 253 bytes"),
        Some(_) | None => {}
    }
    match name {
        "" => bad("name part must be non-empty"),
        name if name.len() > NAME_LIMIT => bad("name part must be no more than 63 bytes"),
        name if !is_name(name) => {
            bad("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')")
        }
        _ => Ok(()),
    }
}

fn check_value(value: &str) -> Result<(), Unreadable> {
    let bad = |why: &str| Err(Unreadable(format!("values[0][]: Invalid value: \"{value}\": {why}")));
    if value.len() > NAME_LIMIT {
        return bad("must be no more than 63 bytes");
    }
    if !value.is_empty() && !is_name(value) {
        return bad(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
             validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        );
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.ends_with(|last: char| last.is_ascii_alphanumeric())
}
