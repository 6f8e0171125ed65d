//! Owns what is known of the shape of every API type: Go's view (`go_types.txt`) and the JSON schemas.
//! Never decodes a value: `decode` walks with what it finds here, as do patches (merge keys) and OpenAPI.
//!
//! Two sources, because neither says all: the JSON schemas of `k8s-openapi` carry the words for people, Go's struct
//! tags carry pointers, `omitempty`, type names and merge keys. A test holds them to the same fields.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::kind::{KINDS, Kind};

/// A Go type, as far as JSON can tell types apart.
#[derive(Debug, PartialEq, Eq)]
pub enum GoType {
    /// `bool`
    Bool,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `string`
    Text,
    /// `[]byte`, base64 in JSON
    Bytes,
    /// A named type that is no struct: its name (`core/v1.RestartPolicy`) and what it is.
    Named(&'static str, Box<GoType>),
    /// A pointer: absent and zero differ.
    Pointer(Box<GoType>),
    /// A slice.
    List(Box<GoType>),
    /// A map: the key's type as Go prints it, and the values' type.
    Map(String, Box<GoType>),
    /// A struct, by its name in the table: `core/v1.PodSpec`.
    Struct(&'static str),
    /// `resource.Quantity`
    Quantity,
    /// `intstr.IntOrString`
    IntOrString,
    /// `metav1.Time`: RFC 3339, whole seconds
    Time,
    /// `metav1.MicroTime`: RFC 3339, six decimals
    MicroTime,
    /// Any JSON, kept as it is; the name that Go gives it.
    Raw(&'static str),
}

impl GoType {
    /// The type below pointers and names.
    pub fn base(&self) -> &Self {
        let mut ty = self;
        while let Self::Pointer(of) | Self::Named(_, of) = ty {
            ty = of;
        }
        ty
    }

    /// The struct that this is, below pointers.
    pub fn as_struct(&self) -> Option<&'static Struct> {
        if let Self::Struct(name) = self.base() { Some(get(name)) } else { None }
    }

    fn parse(text: &'static str) -> Self {
        if let Some(rest) = text.strip_prefix('*') {
            return Self::Pointer(Box::new(Self::parse(rest)));
        }
        if text == "[]byte" {
            return Self::Bytes;
        }
        if let Some(rest) = text.strip_prefix("[]") {
            return Self::List(Box::new(Self::parse(rest)));
        }
        if let Some((key, value)) = text.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
            return Self::Map(Self::parse(key).to_string(), Box::new(Self::parse(value)));
        }
        if let Some((name, of)) = text.split_once('=') {
            return Self::Named(name, Box::new(Self::parse(of)));
        }
        match text {
            "bool" => Self::Bool,
            "int32" => Self::Int32,
            "int64" | "int" => Self::Int64,
            "string" => Self::Text,
            "api/resource.Quantity" => Self::Quantity,
            "util/intstr.IntOrString" => Self::IntOrString,
            "meta/v1.Time" => Self::Time,
            "meta/v1.MicroTime" => Self::MicroTime,
            "meta/v1.FieldsV1" | "runtime.RawExtension" => Self::Raw(text),
            name => Self::Struct(name),
        }
    }
}

/// As Go's `reflect.Type` prints itself: `int32`, `[]v1.Container`, `map[string]string`, `v1.ResourceList`.
impl fmt::Display for GoType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => out.write_str("bool"),
            Self::Int32 => out.write_str("int32"),
            Self::Int64 => out.write_str("int64"),
            Self::Text => out.write_str("string"),
            Self::Bytes => out.write_str("[]uint8"),
            Self::Named(name, _) | Self::Struct(name) | Self::Raw(name) => out.write_str(printed(name)),
            Self::Pointer(of) => write!(out, "*{of}"),
            Self::List(of) => write!(out, "[]{of}"),
            Self::Map(key, value) => write!(out, "map[{key}]{value}"),
            Self::Quantity => out.write_str("resource.Quantity"),
            Self::IntOrString => out.write_str("intstr.IntOrString"),
            Self::Time => out.write_str("v1.Time"),
            Self::MicroTime => out.write_str("v1.MicroTime"),
        }
    }
}

/// `v1.PodSpec` of `core/v1.PodSpec`: Go prints the last part of the package's path.
fn printed(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, last)| last)
}

/// A struct type and its fields, in Go's order.
#[derive(Debug)]
pub struct Struct {
    /// Package and name: `core/v1.PodSpec`.
    pub name: &'static str,
    /// Server-side apply replaces it whole.
    pub atomic: bool,
    /// Its fields in Go's order, embedded structs' fields included.
    pub fields: Vec<Field>,
}

impl Struct {
    /// Go's bare name, as `json: cannot unmarshal` messages print it: `PodSpec`.
    pub fn go_name(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, last)| last)
    }

    /// The field with this JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The key in the JSON schemas' definitions: `io.k8s.api.core.v1.PodSpec`.
    pub fn schema_name(&self) -> String {
        let (package, name) = self.name.rsplit_once('.').unwrap_or(("", self.name));
        match package {
            "meta/v1" => format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"),
            package => format!("io.k8s.api.{}.{name}", package.replace('/', ".")),
        }
    }
}

/// One field of a struct.
#[derive(Debug)]
pub struct Field {
    /// Its JSON name.
    pub name: &'static str,
    /// Its type.
    pub ty: GoType,
    /// Written even when zero (no `omitempty`).
    pub always: bool,
    /// How a strategic merge patch treats it.
    pub patch: Option<Patch>,
    /// How server-side apply treats the list.
    pub list: Option<ListType>,
    /// Server-side apply replaces the value whole.
    pub atomic: bool,
}

/// A field's `patchStrategy` and `patchMergeKey`.
#[derive(Debug, PartialEq, Eq)]
pub struct Patch {
    /// `merge`, `replace`, `retainKeys`; more than one where upstream gives more.
    pub strategies: Vec<&'static str>,
    /// The key by which list items are the same; none for lists of scalars.
    pub merge_key: Option<&'static str>,
}

/// A list's `x-kubernetes-list-type`.
#[derive(Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced whole.
    Atomic,
    /// Scalars, each once.
    Set,
    /// Items told apart by these fields.
    Map(Vec<&'static str>),
}

static TYPES: LazyLock<HashMap<&'static str, Struct>> = LazyLock::new(|| parse_table(include_str!("go_types.txt")));

fn parse_table(text: &'static str) -> HashMap<&'static str, Struct> {
    let mut types = HashMap::new();
    let mut current: Option<Struct> = None;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(field) = line.strip_prefix(' ') {
            let owner = current.as_mut().expect("the table's first line names a struct");
            owner.fields.push(parse_field(field));
            continue;
        }
        let mut words = line.split(' ');
        let name = words.next().expect("a split gives at least one part");
        let next = Struct { name, atomic: words.next() == Some("atomic"), fields: Vec::new() };
        if let Some(done) = current.replace(next) {
            types.insert(done.name, done);
        }
    }
    types.extend(current.map(|last| (last.name, last)));
    types
}

fn parse_field(line: &'static str) -> Field {
    let mut words = line.split(' ');
    let name = words.next().expect("a split gives at least one part");
    let ty = GoType::parse(words.next().expect("the table gives each field a type"));
    let mut field = Field { name, ty, always: false, patch: None, list: None, atomic: false };
    for word in words {
        match word.split_once('=') {
            Some(("patch", patch)) => {
                let (strategies, key) = patch.split_once(':').map_or((patch, None), |(all, key)| (all, Some(key)));
                field.patch = Some(Patch { strategies: strategies.split(',').collect(), merge_key: key });
            }
            Some(("list", "atomic")) => field.list = Some(ListType::Atomic),
            Some(("list", "set")) => field.list = Some(ListType::Set),
            Some(("list", map)) => {
                let keys = map.trim_start_matches("map").trim_start_matches(':');
                field.list = Some(ListType::Map(keys.split(',').collect()));
            }
            _ if word == "!" => field.always = true,
            _ if word == "atomic" => field.atomic = true,
            _ => {}
        }
    }
    field
}

/// The struct of that name in the table (`core/v1.PodSpec`).
///
/// # Panics
/// If the table has no such struct; a test walks every reference in it.
pub fn get(name: &str) -> &'static Struct {
    find(name).expect("every struct that the table names has its lines there")
}

/// The struct of that name, if the table has it.
pub fn find(name: &str) -> Option<&'static Struct> {
    TYPES.get(name)
}

/// All structs of the table, in no order.
pub fn all() -> impl Iterator<Item = &'static Struct> {
    TYPES.values()
}

/// The struct of a kind's objects.
///
/// # Panics
/// If the table lacks the kind; a test walks all kinds.
pub fn of(kind: &Kind) -> &'static Struct {
    get(&format!("{}/{}.{}", group_package(kind.group), kind.version, kind.kind))
}

/// `coordination` of `coordination.k8s.io`, `core` of the empty group: what Go's packages are called.
pub fn group_package(group: &str) -> &str {
    match group {
        "" => "core",
        group => group.split('.').next().unwrap_or(group),
    }
}

static DEFINITIONS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let mut generator =
        schemars::generate::SchemaSettings::openapi3().with(|settings| settings.meta_schema = None).into_generator();
    for kind in KINDS {
        (kind.ops.schema)(&mut generator);
    }
    generator.take_definitions(true)
});

/// The JSON schemas of every kind and of every type that one uses, by name (`io.k8s.api.batch.v1.Job`); references
/// between them read `#/components/schemas/NAME`.
pub fn definitions() -> &'static Map<String, Value> {
    &DEFINITIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structs_of(ty: &GoType, found: &mut Vec<&'static str>) {
        match ty {
            GoType::Named(_, of) | GoType::Pointer(of) | GoType::List(of) | GoType::Map(_, of) => structs_of(of, found),
            GoType::Struct(name) => found.push(name),
            _ => {}
        }
    }

    #[test]
    fn every_struct_named_in_the_table_is_in_the_table() {
        for owner in all() {
            for field in &owner.fields {
                let mut found = Vec::new();
                structs_of(&field.ty, &mut found);
                for name in found {
                    assert!(find(name).is_some(), "{} names {name}", owner.name);
                }
            }
        }
        for kind in KINDS {
            of(kind);
        }
    }

    #[test]
    fn the_table_and_the_schemas_have_the_same_fields() {
        let mut checked = 0;
        for owner in all() {
            let Some(schema) = definitions().get(&owner.schema_name()) else { continue };
            let Some(properties) = schema["properties"].as_object() else { continue };
            let mut ours: Vec<&str> = owner.fields.iter().map(|field| field.name).collect();
            let mut theirs: Vec<&str> = properties.keys().map(String::as_str).collect();
            ours.sort_unstable();
            theirs.sort_unstable();
            assert_eq!(ours, theirs, "{}", owner.name);
            checked += 1;
        }
        assert!(checked > 150, "only {checked} structs have a schema");
    }

    #[test]
    fn types_print_as_go_prints_them() {
        let shown =
            |owner: &str, field: &str| get(owner).field(field).expect("the field is in the table").ty.to_string();
        assert_eq!(shown("core/v1.PodSpec", "containers"), "[]v1.Container");
        assert_eq!(shown("core/v1.PodSpec", "restartPolicy"), "v1.RestartPolicy");
        assert_eq!(shown("core/v1.ResourceRequirements", "limits"), "v1.ResourceList");
        assert_eq!(shown("core/v1.PodSpec", "nodeSelector"), "map[string]string");
        assert_eq!(shown("core/v1.Secret", "data"), "map[string][]uint8");
        assert_eq!(shown("batch/v1.JobSpec", "parallelism"), "*int32");
    }

    #[test]
    fn merge_keys_are_known() {
        let volumes = get("core/v1.PodSpec").field("volumes").expect("volumes is in the table");
        let patch = Patch { strategies: vec!["merge", "retainKeys"], merge_key: Some("name") };
        assert_eq!(volumes.patch, Some(patch));
        assert_eq!(volumes.list, Some(ListType::Map(vec!["name"])));
    }
}
