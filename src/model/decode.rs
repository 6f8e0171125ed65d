//! Owns reading what clients send: bytes, a kind and a strictness in; an object, or upstream's refusal, out.
//! Never defaults and never validates: `defaults` and the strategies do.
//!
//! ```text
//!  bytes --json/yaml--> tree --version and kind--> walk with Go's types --canonical--> JSON --> typed object
//!            |                       |                      |
//!            +----- 400 text --------+----------------------+   (unknown and duplicate fields: by strictness)
//! ```
//!
//! Parity: apimachinery's JSON serializer under the versioning codec, and the API server's `transformDecodeError`.

mod registered;
mod walk;

use serde_json::Value;

use super::canonical;
use super::go_text::quote;
use super::json;
use super::kind::{KINDS, Kind};
use super::object::Object;
use super::schema::{self, Struct};
use super::tree::{Node, Tree};
use super::yaml::{self, Document, Duplicate};

pub use self::walk::{Problem, Sort, Walked, name_of, walk};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
}

/// What becomes of unknown and duplicate fields: the request's `fieldValidation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Nothing is said.
    Ignore,
    /// Each gives a warning. What a request gets that does not ask.
    #[default]
    Warn,
    /// They are errors.
    Strict,
}

/// An object as it was sent.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The object; absent and null are one, zero values are dropped as Go drops them, nothing is defaulted.
    pub object: Object,
    /// Texts of `Warning` headers.
    pub warnings: Vec<String>,
}

/// As much of a body as a refusal quotes.
const QUOTED: usize = 30;

/// Reads a request's body as an object of `kind`. The error is the message of the 400 that upstream answers.
pub fn body(kind: &'static Kind, body: &[u8], format: Format, validation: FieldValidation) -> Result<Decoded, String> {
    let unrecognized = |why: &str| {
        format!("the object provided is unrecognized (must be of type {}): {why} ({})", kind.kind, summary(body))
    };
    let (node, duplicates) = parse(body, format).map_err(|why| unrecognized(&why))?;
    let named = interpret(&node).map_err(|why| unrecognized(&why))?;
    document(kind, &node, &duplicates, &named.or(kind), validation)
}

/// Reads a manifest file's document as an object of `kind`, with the messages that a server would give.
pub fn manifest(kind: &'static Kind, content: &Document, validation: FieldValidation) -> Result<Decoded, String> {
    let named = interpret(&content.node)?;
    document(kind, &content.node, &content.duplicates, &named.or(kind), validation)
}

/// Reads an object that is already JSON (the result of a patch) as one of `kind`: its problems are the caller's to
/// word, its strictness too.
pub fn value(kind: &'static Kind, value: &Value) -> Walked {
    let mut walked = walk(&Node::from_value(value), schema::of(kind));
    keep_reset(&mut walked.value);
    canonical::tidy(&mut walked.value, schema::of(kind));
    walked
}

/// What a manifest file's document says it is: the kind's row, or why it is none.
pub fn kind_of(document: &Document) -> Result<&'static Kind, String> {
    let named = interpret(&document.node)?;
    if named.kind.is_empty() {
        return Err("Object 'Kind' is missing".to_owned());
    }
    if named.version.is_empty() {
        return Err("Object 'apiVersion' is missing".to_owned());
    }
    KINDS
        .iter()
        .find(|row| row.kind == named.kind && row.group == named.group && row.version == named.version)
        .ok_or_else(|| format!("no matches for kind {} in version {}", quote(&named.kind), quote(&named.api_version())))
}

fn parse(body: &[u8], format: Format) -> Result<(Node, Vec<Duplicate>), String> {
    match format {
        Format::Yaml => {
            let document = yaml::first(body).map_err(|error| error.message)?;
            Ok((document.node, document.duplicates))
        }
        Format::Json => {
            let text = String::from_utf8_lossy(body);
            let node = json::parse(&text)
                .map_err(|error| format!("couldn't get version/kind; json parse error: {}", error.message))?;
            Ok((node, Vec::new()))
        }
    }
}

fn document(
    kind: &'static Kind,
    node: &Node,
    duplicates: &[Duplicate],
    named: &Named,
    validation: FieldValidation,
) -> Result<Decoded, String> {
    if !named.is(kind) {
        return Err(foreign(kind, node, named));
    }
    let unhandled = |why: String| named.unhandled(kind, &why);
    let (value, warnings) = fit(node, schema::of(kind), duplicates, validation).map_err(unhandled)?;
    let object = typed(kind, value).map_err(|error| named.unhandled(kind, &error.to_string()))?;
    Ok(Decoded { object, warnings })
}

/// A tree as Go writes it back once it has read it as a struct, and the texts of `Warning` headers. The error is why it
/// does not fit.
pub fn fit(
    node: &Node,
    ty: &'static Struct,
    duplicates: &[Duplicate],
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), String> {
    let mut walked = walk(node, ty);
    keep_reset(&mut walked.value);
    if let Some(problem) = walked.refusal() {
        return Err(problem.message.clone());
    }
    let mut strict: Vec<String> = yaml::strict_error(duplicates).into_iter().collect();
    strict.extend(walked.strict());
    let warnings = match validation {
        FieldValidation::Strict if !strict.is_empty() => {
            return Err(format!("strict decoding error: {}", strict.join(", ")));
        }
        FieldValidation::Warn => strict.iter().flat_map(|error| yaml::apart(error)).collect(),
        FieldValidation::Ignore | FieldValidation::Strict => Vec::new(),
    };
    canonical::tidy(&mut walked.value, ty);
    Ok((walked.value, warnings))
}

/// An empty list of managed fields asks for their reset, as does one empty entry: the list would be dropped as zero.
fn keep_reset(value: &mut Value) {
    let managed = value.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
    if let Some(entries) = managed.filter(|entries| entries.is_empty()) {
        entries.push(Value::Object(serde_json::Map::new()));
    }
}

/// A tidy tree as an object, whatever it says of its version and kind.
pub fn typed(kind: &'static Kind, mut value: Value) -> Result<Object, serde_json::Error> {
    if let Value::Object(members) = &mut value {
        members.insert("apiVersion".to_owned(), kind.api_version().into());
        members.insert("kind".to_owned(), kind.kind.into());
    }
    Object::from_value(kind, value)
}

/// Why an object that is JSON already is none of `kind`, by what it says it is.
/// Differs: another served version of the kind, which upstream converts, is taken as it is.
pub fn misnamed(kind: &'static Kind, value: &Value) -> Option<String> {
    let named = match interpret(&Node::from_value(value)) {
        Ok(named) => named.or(kind),
        Err(why) => return Some(why),
    };
    if named.is(kind) {
        return None;
    }
    unregistered(&named).or_else(|| (named.kind != kind.kind).then(|| no_conversion(kind, &named)))
}

fn unregistered(named: &Named) -> Option<String> {
    let version = named.api_version();
    let scheme = quote("pkg/api/legacyscheme/scheme.go:30");
    (!registered::knows(&version, &named.kind)).then(|| {
        format!("no kind {} is registered for version {} in scheme {scheme}", quote(&named.kind), quote(&version))
    })
}

fn no_conversion(kind: &Kind, named: &Named) -> String {
    let (from, to, version) = (&named.kind, kind.kind, &named.version);
    format!("converting ({version}.{from}) to ({}.{to}): unknown conversion", schema::group_package(kind.group))
}

/// Why an object of another kind, or of another version of this kind, is refused.
fn foreign(kind: &Kind, node: &Node, named: &Named) -> String {
    let api_version = named.api_version();
    if let Some(why) = unregistered(named) {
        return named.unhandled(kind, &why);
    }
    let served = KINDS.iter().find(|row| row.kind == named.kind && row.api_version() == api_version);
    if let Some(problem) = served.and_then(|row| walk(node, schema::of(row)).refusal().cloned()) {
        return named.unhandled(kind, &problem.message);
    }
    if named.kind == kind.kind && named.group == kind.group {
        let expected = kind.api_version();
        return format!(
            "the API version in the data ({api_version}) does not match the expected API version ({expected})"
        );
    }
    named.unhandled(kind, &no_conversion(kind, named))
}

/// What an object says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Named {
    group: String,
    version: String,
    kind: String,
}

impl Named {
    /// What is not said is what the request's address says.
    fn or(mut self, kind: &Kind) -> Self {
        if self.kind.is_empty() {
            kind.kind.clone_into(&mut self.kind);
        }
        if self.version.is_empty() && self.group.is_empty() {
            kind.group.clone_into(&mut self.group);
        }
        if self.version.is_empty() && self.group == kind.group {
            kind.version.clone_into(&mut self.version);
        }
        self
    }

    fn is(&self, kind: &Kind) -> bool {
        (self.group.as_str(), self.version.as_str(), self.kind.as_str()) == (kind.group, kind.version, kind.kind)
    }

    fn api_version(&self) -> String {
        match (self.group.as_str(), self.version.as_str()) {
            ("", version) => version.to_owned(),
            (group, version) => format!("{group}/{version}"),
        }
    }

    fn unhandled(&self, kind: &Kind, why: &str) -> String {
        format!("{} in version {} cannot be handled as a {}: {why}", self.kind, quote(&self.version), kind.kind)
    }
}

/// Reads version and kind, as upstream does before it knows the type.
///
/// Parity: this one reader takes the keys in any case (`Kind`), because it is Go's own and not the strict fork.
fn interpret(node: &Node) -> Result<Named, String> {
    let fail = |why: String| Err(format!("couldn't get version/kind; json parse error: {why}"));
    let entries = match &node.tree {
        Tree::Null => return Ok(Named::default()),
        Tree::Map(entries) => entries,
        other => {
            let wanted = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
            return fail(format!("json: cannot unmarshal {} into Go value of type {wanted}", walk::name_of(other)));
        }
    };
    let (mut api_version, mut kind, mut wrong) = ("", "", None);
    for entry in entries {
        let (name, target) = match entry.key.to_lowercase().as_str() {
            "apiversion" => ("apiVersion", &mut api_version),
            "kind" => ("kind", &mut kind),
            _ => continue,
        };
        match &entry.value.tree {
            Tree::Text(text) => *target = text,
            Tree::Null => {}
            other => {
                let what = walk::name_of(other);
                wrong.get_or_insert(format!(
                    "json: cannot unmarshal {what} into Go struct field .{name} of type string"
                ));
            }
        }
    }
    if let Some(why) = wrong {
        return fail(why);
    }
    let (group, version) = match api_version.split('/').collect::<Vec<_>>()[..] {
        [version] => ("", version),
        [group, version] => (group, version),
        _ => return Err(format!("unexpected GroupVersion string: {api_version}")),
    };
    Ok(Named { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() })
}

/// How a refusal quotes the body: as text if it looks like JSON, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    let start = &body[..body.len().min(QUOTED)];
    let more = if body.len() > QUOTED { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(start)),
        Some(_) => {
            let hex: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
