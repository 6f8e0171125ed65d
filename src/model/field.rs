//! Owns validation errors: what is wrong, where, and how upstream says it; and the path of a field.
//! Never decides what is wrong: the rules stand in `validation`.
//!
//! Parity: texts and reasons of apimachinery's `field.Error`, values printed as Go prints them.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

pub use super::go_text::quote;

/// What sort of mistake it is; `reason` in the Status causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorType {
    /// A value must be given.
    Required,
    /// The value is malformed.
    Invalid,
    /// The value is not one of a closed set.
    NotSupported,
    /// The value is not allowed under these conditions.
    Forbidden,
    /// The value must be unique.
    Duplicate,
    /// Too many bytes.
    TooLong,
    /// Too many items.
    TooMany,
    /// The value names something that does not exist.
    NotFound,
    /// The value has the wrong type.
    TypeInvalid,
    /// jobdock's own fault.
    Internal,
}

impl ErrorType {
    /// The machine-readable reason of a Status cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    /// How a message begins.
    fn title(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }
}

/// One problem of one field, worded as upstream words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The sort of mistake.
    pub kind: ErrorType,
    /// Path of the field: `spec.template.spec.containers[0].name`.
    pub field: String,
    /// What a Status cause's `message` says: `Invalid value: "x": must be …`.
    pub message: String,
}

/// As in the message of a 422 Status: `spec.parallelism: Invalid value: -1: must be …`.
impl fmt::Display for FieldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.field, self.message)
    }
}

impl FieldError {
    fn build(kind: ErrorType, path: &Path<'_>, value: Option<&dyn GoValue>, detail: &str) -> Self {
        let mut message = kind.title().to_owned();
        if let Some(value) = value {
            message.push_str(": ");
            value.go(&mut message);
        }
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        Self { kind, field: path.to_string(), message }
    }

    /// A value must be given; the detail may be empty.
    pub fn required(path: &Path<'_>, detail: &str) -> Self {
        Self::build(ErrorType::Required, path, None, detail)
    }

    /// The value is malformed.
    pub fn invalid(path: &Path<'_>, value: &dyn GoValue, detail: &str) -> Self {
        Self::build(ErrorType::Invalid, path, Some(value), detail)
    }

    /// [`FieldError::invalid`] of a value that the message does not show.
    pub fn invalid_omitted(path: &Path<'_>, detail: &str) -> Self {
        Self::build(ErrorType::Invalid, path, None, detail)
    }

    /// The value is none of `supported`, which are listed in the order given.
    pub fn not_supported(path: &Path<'_>, value: &dyn GoValue, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|value| quote(value)).collect();
        let detail = if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
        Self::build(ErrorType::NotSupported, path, Some(value), &detail)
    }

    /// The field may not be set, or not so.
    pub fn forbidden(path: &Path<'_>, detail: &str) -> Self {
        Self::build(ErrorType::Forbidden, path, None, detail)
    }

    /// The value was given before.
    pub fn duplicate(path: &Path<'_>, value: &dyn GoValue) -> Self {
        Self::build(ErrorType::Duplicate, path, Some(value), "")
    }

    /// The value names something that is not there; the detail may be empty.
    pub fn not_found(path: &Path<'_>, value: &dyn GoValue, detail: &str) -> Self {
        Self::build(ErrorType::NotFound, path, Some(value), detail)
    }

    /// More than `limit` bytes.
    pub fn too_long(path: &Path<'_>, limit: usize) -> Self {
        let unit = if limit == 1 { "byte" } else { "bytes" };
        Self::build(ErrorType::TooLong, path, None, &format!("may not be more than {limit} {unit}"))
    }

    /// `count` items where `limit` are allowed.
    pub fn too_many(path: &Path<'_>, count: usize, limit: usize) -> Self {
        let unit = if limit == 1 { "item" } else { "items" };
        Self::build(ErrorType::TooMany, path, Some(&count), &format!("must have at most {limit} {unit}"))
    }

    /// jobdock's own fault.
    pub fn internal(path: &Path<'_>, detail: &str) -> Self {
        Self::build(ErrorType::Internal, path, None, detail)
    }
}

/// Most errors that are kept of one object: more than anybody reads, and it bounds the answer to a hostile manifest.
const ERRORS_MAX: usize = 1000;

/// The errors found so far, in upstream's order; each method adds one.
#[derive(Debug, Default)]
pub struct Errors {
    kept: Vec<FieldError>,
    found: usize,
}

impl Errors {
    /// No errors.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was found.
    pub fn into_vec(self) -> Vec<FieldError> {
        self.kept
    }

    /// How many were found.
    pub fn len(&self) -> usize {
        self.found
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// Adds one made elsewhere.
    pub fn push(&mut self, error: FieldError) {
        self.found += 1;
        if self.kept.len() < ERRORS_MAX {
            self.kept.push(error);
        }
    }

    /// [`FieldError::required`].
    pub fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(FieldError::required(path, detail));
    }

    /// [`FieldError::required`] without a detail, where the text is empty. Says whether it was.
    pub fn required_if_empty(&mut self, path: &Path<'_>, text: &str) -> bool {
        if text.is_empty() {
            self.required(path, "");
        }
        text.is_empty()
    }

    /// [`FieldError::invalid`].
    pub fn invalid(&mut self, path: &Path<'_>, value: &dyn GoValue, detail: &str) {
        self.push(FieldError::invalid(path, value, detail));
    }

    /// One [`FieldError::invalid`] for each detail.
    pub fn invalid_each(&mut self, path: &Path<'_>, value: &dyn GoValue, details: Vec<String>) {
        for detail in details {
            self.invalid(path, value, &detail);
        }
    }

    /// [`FieldError::invalid_omitted`].
    pub fn invalid_omitted(&mut self, path: &Path<'_>, detail: &str) {
        self.push(FieldError::invalid_omitted(path, detail));
    }

    /// [`FieldError::not_supported`].
    pub fn not_supported(&mut self, path: &Path<'_>, value: &dyn GoValue, supported: &[&str]) {
        self.push(FieldError::not_supported(path, value, supported));
    }

    /// [`FieldError::not_supported`] where the value is not one of `supported`.
    pub fn one_of(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.not_supported(path, &value, supported);
        }
    }

    /// [`Errors::one_of`] of a value that must also be given.
    pub fn required_one_of(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        if !self.required_if_empty(path, value) {
            self.one_of(path, value, supported);
        }
    }

    /// [`FieldError::forbidden`].
    pub fn forbidden(&mut self, path: &Path<'_>, detail: &str) {
        self.push(FieldError::forbidden(path, detail));
    }

    /// [`FieldError::duplicate`].
    pub fn duplicate(&mut self, path: &Path<'_>, value: &dyn GoValue) {
        self.push(FieldError::duplicate(path, value));
    }

    /// [`FieldError::not_found`] without a detail.
    pub fn not_found(&mut self, path: &Path<'_>, value: &dyn GoValue) {
        self.push(FieldError::not_found(path, value, ""));
    }

    /// [`FieldError::too_long`].
    pub fn too_long(&mut self, path: &Path<'_>, limit: usize) {
        self.push(FieldError::too_long(path, limit));
    }

    /// [`FieldError::too_many`].
    pub fn too_many(&mut self, path: &Path<'_>, count: usize, limit: usize) {
        self.push(FieldError::too_many(path, count, limit));
    }

    /// The number must not be negative.
    pub fn nonnegative(&mut self, path: &Path<'_>, value: impl Into<i64>) {
        let value = value.into();
        if value < 0 {
            self.invalid(path, &value, "must be greater than or equal to 0");
        }
    }

    /// [`Errors::nonnegative`] of a number that may be absent.
    pub fn nonnegative_if_set(&mut self, path: &Path<'_>, value: Option<impl Into<i64>>) {
        if let Some(value) = value {
            self.nonnegative(path, value);
        }
    }

    /// The field may not change: `old` is what is stored, `shown` what a message shows of the new value.
    pub fn immutable<T: Serialize + PartialEq>(&mut self, path: &Path<'_>, new: &T, old: &T, shown: &dyn GoValue) {
        if !same(new, old) {
            self.invalid(path, shown, "field is immutable");
        }
    }
}

/// Parity: apimachinery's semantic equality, where an empty list or map is the same as none.
pub fn same<T: Serialize + PartialEq>(one: &T, other: &T) -> bool {
    one == other || bare(one) == bare(other)
}

/// Fields that hold maps; an empty one is the same as none, other than an empty struct such as `emptyDir: {}`.
const MAPS: &[&str] = &[
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "options",
    "overhead",
    "requests",
    "volumeAttributes",
];

fn bare<T: Serialize>(value: &T) -> serde_json::Value {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.retain(|name, field| {
                    strip(field);
                    !field.is_null()
                        && field.as_array().is_none_or(|list| !list.is_empty())
                        && !(MAPS.contains(&name.as_str()) && field.as_object().is_some_and(|map| map.is_empty()))
                });
            }
            serde_json::Value::Array(list) => list.iter_mut().for_each(strip),
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_) => {}
        }
    }
    // The Kubernetes types hold nothing that JSON cannot; were one to fail, two failures would compare as equal text.
    let mut value = serde_json::to_value(value).unwrap_or_default();
    strip(&mut value);
    value
}

/// The path of a field, made on the stack: each step borrows the step before it, nothing is allocated until printed.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// A path's first name. Names may hold dots: `status.conditions` is two steps in one.
    pub const fn new(name: &'a str) -> Self {
        Self { parent: None, step: Step::Name(name) }
    }

    /// `path.name`.
    pub fn child(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Name(name) }
    }

    /// `path[3]`.
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// `path[key]`.
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    fn is_empty(&self) -> bool {
        matches!(self.step, Step::Name("")) && self.parent.is_none_or(Path::is_empty)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = self.parent.filter(|parent| !parent.is_empty());
        if let Some(parent) = parent {
            write!(out, "{parent}")?;
        }
        match self.step {
            Step::Name("") => Ok(()),
            Step::Name(name) if parent.is_some() => write!(out, ".{name}"),
            Step::Name(name) => out.write_str(name),
            Step::Index(index) => write!(out, "[{index}]"),
            Step::Key(key) => write!(out, "[{key}]"),
        }
    }
}

/// A value as a message shows it.
pub trait GoValue {
    /// Appends what Go's `field.Error` prints of the value.
    fn go(&self, out: &mut String);
}

macro_rules! plain {
    ($($type:ty),*) => { $(impl GoValue for $type {
        fn go(&self, out: &mut String) {
            out.push_str(&self.to_string());
        }
    })* };
}
plain!(i32, i64, usize, bool);

/// Go's dump of an unsigned number: `0x0`.
impl GoValue for u64 {
    fn go(&self, out: &mut String) {
        out.push_str(&format!("{self:#x}"));
    }
}

impl GoValue for str {
    fn go(&self, out: &mut String) {
        out.push_str(&quote(self));
    }
}

impl GoValue for String {
    fn go(&self, out: &mut String) {
        self.as_str().go(out);
    }
}

impl<T: GoValue + ?Sized> GoValue for &T {
    fn go(&self, out: &mut String) {
        (**self).go(out);
    }
}

/// A pointer: what it points at, or `"null"`, which upstream prints with the quotes.
impl<T: GoValue> GoValue for Option<T> {
    fn go(&self, out: &mut String) {
        match self {
            Some(value) => value.go(out),
            None => out.push_str("\"null\""),
        }
    }
}

/// An empty map is one that nobody gave: decoding drops those that were given empty.
impl GoValue for BTreeMap<String, String> {
    fn go(&self, out: &mut String) {
        if self.is_empty() {
            return out.push_str("map[string]string(nil)");
        }
        let items: Vec<String> = self.iter().map(|(key, value)| format!("{}:{}", quote(key), quote(value))).collect();
        out.push_str(&format!("map[string]string{{{}}}", items.join(", ")));
    }
}

impl GoValue for [String] {
    fn go(&self, out: &mut String) {
        let items: Vec<String> = self.iter().map(|item| quote(item)).collect();
        out.push_str(&format!("[]string{{{}}}", items.join(", ")));
    }
}

impl GoValue for [i32] {
    fn go(&self, out: &mut String) {
        let items: Vec<String> = self.iter().map(i32::to_string).collect();
        out.push_str(&format!("[]int32{{{}}}", items.join(", ")));
    }
}

/// A quantity that is given as it is, not as its text: `1Gi` without quotes.
impl GoValue for Quantity {
    fn go(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

/// `2024-01-01 00:01:00 +0000 UTC`.
impl GoValue for Time {
    fn go(&self, out: &mut String) {
        out.push_str(&self.0.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string());
    }
}

/// A struct. Differs: upstream dumps the Go struct, jobdock prints the JSON that the client knows.
#[derive(Debug)]
pub struct Json<'a, T>(pub &'a T);

impl<T: Serialize> GoValue for Json<'_, T> {
    fn go(&self, out: &mut String) {
        // See `bare` for why this does not fail.
        out.push_str(&serde_json::to_string(self.0).unwrap_or_default());
    }
}

/// A list of strings as Go's `%q` writes it: `["a" "b"]`.
pub fn quote_list(items: &[&str]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
    format!("[{}]", items.join(" "))
}
