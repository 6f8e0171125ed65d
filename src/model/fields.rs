//! Owns field selectors: their text form, which fields each kind can be selected by, and whether an object matches.
//! Never reads labels: see `selector`.
//!
//! Parity: apimachinery's `fields.ParseSelector`; the fields are those of upstream's `AddFieldLabelConversions…` and
//! `…ToSelectableFields` per kind.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod, Secret, Service};

use super::kind::Kind;
use super::object::Object;

/// A conjunction of terms; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

/// Fields beyond `metadata.name` and `metadata.namespace` that a kind can be selected by.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "Pod",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
    ),
    (
        "Event",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    ("Namespace", &["status.phase"]),
    ("Node", &["spec.unschedulable"]),
    ("Secret", &["type"]),
    ("Service", &["spec.clusterIP", "spec.type"]),
    ("Job", &["status.successful"]),
];

impl FieldSelector {
    /// Reads `metadata.name=x,status.phase!=Failed` for a kind. The error is upstream's text.
    pub fn parse(kind: &Kind, text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for part in split(text) {
            let (field, value, equal) =
                term(&part).ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            let Some(field) = stored_name(kind, field) else { return Err(unsupported(kind, field)) };
            if !supported(kind, field) {
                return Err(unsupported(kind, field));
            }
            terms.push(Term { field: field.to_owned(), value: unescape(value)?, equal });
        }
        Ok(Self(terms))
    }

    /// What is selected of the objects of one name.
    #[must_use]
    pub fn and_name(mut self, name: &str) -> Self {
        self.0.push(Term { field: "metadata.name".to_owned(), value: name.to_owned(), equal: true });
        self
    }

    /// Whether the object is selected. It must be of the kind that the selector was parsed for.
    pub fn matches(&self, object: &Object) -> bool {
        self.0.iter().all(|term| (value(object, &term.field) == term.value) == term.equal)
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that `field` must equal, where the selector says so: lets a list read one object instead of all.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }
}

/// The field's name in the form in which objects are stored; none where this form of them has no such field.
fn stored_name<'a>(kind: &Kind, field: &'a str) -> Option<&'a str> {
    match kind.face {
        // Parity: what the field was called in 2014.
        None if field == "spec.host" && kind.kind == "Pod" => Some("spec.nodeName"),
        None => Some(field),
        Some(_) => super::events::FIELDS.iter().find(|(shown, _)| *shown == field).map(|(_, stored)| *stored),
    }
}

fn supported(kind: &Kind, field: &str) -> bool {
    matches!(field, "metadata.name" | "metadata.namespace")
        || FIELDS.iter().any(|(name, fields)| *name == kind.kind && fields.contains(&field))
}

fn unsupported(kind: &Kind, field: &str) -> String {
    match kind.kind {
        "Job" => format!("field label \"{field}\" not supported for Job"),
        name if FIELDS.iter().any(|(row, _)| *row == name) => format!("field label not supported: {field}"),
        _ => format!("\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""),
    }
}

/// Splits at commas that no backslash escapes; empty parts fall away.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        match c {
            ',' if !escaped => parts.push(String::new()),
            _ => parts.last_mut().expect("there is always a last part").push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn term(part: &str) -> Option<(&str, &str, bool)> {
    for (at, c) in part.char_indices() {
        let rest = &part[at..];
        if let Some(value) = rest.strip_prefix("!=") {
            return Some((&part[..at], value, false));
        }
        if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
            return Some((&part[..at], value, true));
        }
        if c == '\\' {
            return None;
        }
    }
    None
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                Some(next) => return Err(format!("invalid field selector: invalid escape sequence: \\{next}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            _ => out.push(c),
        }
    }
    Ok(out)
}

fn value(object: &Object, field: &str) -> String {
    let meta = object.meta();
    match field {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        _ => of_kind(object, field).unwrap_or_default(),
    }
}

fn of_kind(object: &Object, field: &str) -> Option<String> {
    if let Some(pod) = object.typed::<Pod>() {
        return of_pod(pod, field);
    }
    if let Some(event) = object.typed::<Event>() {
        return of_event(event, field);
    }
    if let Some(job) = object.typed::<Job>() {
        return Some(job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0).to_string());
    }
    if let Some(namespace) = object.typed::<Namespace>() {
        return namespace.status.as_ref().and_then(|status| status.phase.clone());
    }
    if let Some(node) = object.typed::<Node>() {
        return Some(node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false).to_string());
    }
    if let Some(service) = object.typed::<Service>() {
        let spec = service.spec.as_ref()?;
        return if field == "spec.type" { spec.type_.clone() } else { spec.cluster_ip.clone() };
    }
    object.typed::<Secret>().and_then(|secret| secret.type_.clone())
}

fn of_pod(pod: &Pod, field: &str) -> Option<String> {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    match field {
        "spec.nodeName" => spec?.node_name.clone(),
        "spec.restartPolicy" => spec?.restart_policy.clone(),
        "spec.schedulerName" => spec?.scheduler_name.clone(),
        "spec.serviceAccountName" => spec?.service_account_name.clone(),
        "spec.hostNetwork" => Some(spec?.host_network.unwrap_or(false).to_string()),
        "status.phase" => status?.phase.clone(),
        "status.podIP" => status?.pod_ip.clone(),
        "status.podIPs" => {
            let addresses: Vec<&str> = status?.pod_ips.iter().flatten().map(|address| address.ip.as_str()).collect();
            Some(addresses.join(","))
        }
        "status.nominatedNodeName" => status?.nominated_node_name.clone(),
        _ => None,
    }
}

fn of_event(event: &Event, field: &str) -> Option<String> {
    let about = &event.involved_object;
    match field {
        "involvedObject.kind" => about.kind.clone(),
        "involvedObject.namespace" => about.namespace.clone(),
        "involvedObject.name" => about.name.clone(),
        "involvedObject.uid" => about.uid.clone(),
        "involvedObject.apiVersion" => about.api_version.clone(),
        "involvedObject.resourceVersion" => about.resource_version.clone(),
        "involvedObject.fieldPath" => about.field_path.clone(),
        "reason" => event.reason.clone(),
        "reportingComponent" => event.reporting_component.clone(),
        "source" => {
            let component = event.source.as_ref().and_then(|source| source.component.clone());
            component.filter(|component| !component.is_empty()).or_else(|| event.reporting_component.clone())
        }
        "type" => event.type_.clone(),
        _ => None,
    }
}
