//! Owns discovery: which groups, versions and resources there are, plain and aggregated. PURE: all of it follows from the
//! table of kinds and from the reviews, which are answered but not stored.
//! Never routes: `route` does, from the same table.

use serde_json::{Value, json};

use crate::model::kind::{KINDS, Kind};

/// A resource that can be created and read off the answer, but not stored.
pub struct Review {
    /// API group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// The kind's name.
    pub kind: &'static str,
    /// The name in URLs.
    pub plural: &'static str,
    /// The plural's singular.
    pub singular: &'static str,
    /// Whether it is asked in a namespace.
    pub namespaced: bool,
}

const fn review(group: &'static str, kind: &'static str, plural: &'static str, singular: &'static str) -> Review {
    Review { group, version: "v1", kind, plural, singular, namespaced: false }
}

/// Every review served.
pub const REVIEWS: &[Review] = &[
    review(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview"),
    review(AUTHENTICATION, "TokenReview", "tokenreviews", "tokenreview"),
    Review {
        namespaced: true,
        ..review(AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview")
    },
    review(AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview"),
    review(AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview"),
    review(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview"),
];

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
/// The group of evictions. It has no resource of its own here; kubectl's `drain` evicts only where it is there.
const POLICY: (&str, &str) = ("policy", "v1");

/// Group and version of a subresource's body, where they are not its kind's.
pub fn body_version(body: &str) -> Option<(&'static str, &'static str)> {
    match body {
        "Eviction" => Some(POLICY),
        "TokenRequest" => Some((AUTHENTICATION, "v1")),
        _ => None,
    }
}

/// Verbs of a stored kind, in upstream's order.
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Verbs of a subresource that becomes another protocol: POST and GET.
pub const CONNECT: &[&str] = &["create", "get"];

/// Subresources of a kind beside `status`: name, kind of its body, verbs.
pub fn subresources(kind: &Kind) -> Vec<(&'static str, &'static str, &'static [&'static str])> {
    let mut all: Vec<(&str, &str, &[&str])> = Vec::new();
    if kind.group.is_empty() && kind.kind == "Pod" {
        all.push(("attach", "PodAttachOptions", CONNECT));
        all.push(("binding", "Binding", &["create"]));
        all.push(("eviction", "Eviction", &["create"]));
        all.push(("exec", "PodExecOptions", CONNECT));
        all.push(("log", "Pod", &["get"]));
        all.push(("portforward", "PodPortForwardOptions", CONNECT));
        all.push(("resize", "Pod", &["get", "patch", "update"]));
    }
    if kind.group.is_empty() && kind.kind == "Namespace" {
        all.push(("finalize", "Namespace", &["update"]));
    }
    if kind.group.is_empty() && kind.kind == "ServiceAccount" {
        all.push(("token", "TokenRequest", &["create"]));
    }
    if kind.status {
        all.push(("status", kind.kind, &["get", "patch", "update"]));
    }
    all
}

/// Every (group, version), the core group first.
pub fn versions() -> Vec<(&'static str, &'static str)> {
    let mut all = Vec::new();
    let kinds = KINDS.iter().map(|kind| (kind.group, kind.version));
    for one in kinds.chain(REVIEWS.iter().map(|review| (review.group, review.version))).chain([POLICY]) {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

fn groups() -> Vec<&'static str> {
    let mut all: Vec<&str> = Vec::new();
    for (group, _) in versions() {
        if !group.is_empty() && !all.contains(&group) {
            all.push(group);
        }
    }
    all
}

/// `/api`. `address` is where the client reached us.
pub fn core_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`.
pub fn group_list() -> Value {
    let groups: Vec<Value> = groups().into_iter().map(group_entry).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; none where there is no such group.
pub fn group(name: &str) -> Option<Value> {
    let name = groups().into_iter().find(|group| *group == name)?;
    let mut group = group_entry(name);
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Some(group)
}

fn group_entry(group: &'static str) -> Value {
    let versions: Vec<Value> = versions()
        .into_iter()
        .filter(|(other, _)| *other == group)
        .map(|(_, version)| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions[0]})
}

/// `/api/v1` and `/apis/GROUP/VERSION`; none where there is no such version.
pub fn resource_list(group: &str, version: &str) -> Option<Value> {
    if !versions().contains(&(group, version)) {
        return None;
    }
    let mut resources = Vec::new();
    for kind in kinds_of(group, version) {
        resources.push(resource(kind));
        for (name, body, verbs) in subresources(kind) {
            let mut entry = json!({
                "name": format!("{}/{name}", kind.plural),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": body,
                "verbs": verbs,
            });
            if let Some((group, version)) = body_version(body) {
                entry["group"] = json!(group);
                entry["version"] = json!(version);
            }
            resources.push(entry);
        }
    }
    for review in reviews_of(group, version) {
        resources.push(json!({
            "name": review.plural,
            "singularName": review.singular,
            "namespaced": review.namespaced,
            "kind": review.kind,
            "verbs": ["create"],
        }));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources});
    if !group.is_empty() {
        // Parity: the core group's list carries no version of its own.
        list["apiVersion"] = json!("v1");
    }
    Some(list)
}

/// The kinds of a version, in the order of names.
fn kinds_of(group: &str, version: &str) -> Vec<&'static Kind> {
    let mut kinds: Vec<&Kind> = KINDS.iter().filter(|kind| kind.group == group && kind.version == version).collect();
    kinds.sort_by_key(|kind| kind.plural);
    kinds
}

fn reviews_of(group: &str, version: &str) -> impl Iterator<Item = &'static Review> {
    REVIEWS.iter().filter(move |review| review.group == group && review.version == version)
}

/// What can be done to a kind's objects. Parity: namespaces have no `deletecollection`.
pub fn verbs(kind: &Kind) -> Vec<&'static str> {
    let namespaces = kind.kind == "Namespace";
    VERBS.iter().copied().filter(|verb| !(namespaces && *verb == "deletecollection")).collect()
}

fn resource(kind: &Kind) -> Value {
    let mut entry = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs(kind),
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    entry
}

/// `/api` (`core`) or `/apis` as an `APIGroupDiscoveryList` of this version of `apidiscovery.k8s.io`.
pub fn aggregated(core: bool, version: &str) -> Value {
    let items: Vec<Value> = match core {
        true => vec![json!({"metadata": {"creationTimestamp": null}, "versions": aggregated_versions("")})],
        false => groups()
            .into_iter()
            .map(|group| {
                json!({
                    "metadata": {"name": group, "creationTimestamp": null},
                    "versions": aggregated_versions(group),
                })
            })
            .collect(),
    };
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn aggregated_versions(group: &str) -> Vec<Value> {
    let versions = versions().into_iter().filter(|(other, _)| *other == group);
    versions
        .map(|(group, version)| {
            let kinds = kinds_of(group, version).into_iter().map(aggregated_resource);
            let reviews = reviews_of(group, version).map(|review| {
                json!({
                    "resource": review.plural,
                    "responseKind": {"group": review.group, "version": review.version, "kind": review.kind},
                    "scope": if review.namespaced { "Namespaced" } else { "Cluster" },
                    "singularResource": review.singular,
                    "verbs": ["create"],
                })
            });
            json!({
                "version": version,
                "freshness": "Current",
                "resources": kinds.chain(reviews).collect::<Vec<Value>>(),
            })
        })
        .collect()
}

fn aggregated_resource(kind: &Kind) -> Value {
    let response = |name: &str| json!({"group": kind.group, "version": kind.version, "kind": name});
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": response(kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": verbs(kind),
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    let subresources: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|(name, body, verbs)| {
            let response = match body_version(body) {
                Some((group, version)) => json!({"group": group, "version": version, "kind": body}),
                None => response(body),
            };
            json!({"subresource": name, "responseKind": response, "verbs": verbs})
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = json!(subresources);
    }
    entry
}

/// The group of custom kinds, of which there are none.
const CUSTOM: &str = "apiextensions.k8s.io";

/// Whether this is where a cluster lists its custom kinds. It stands in no discovery, as none can be made here; but kubectl
/// looks there before it says what is wrong with a kind that it does not know how to validate.
pub fn is_custom_kinds(group: &str, version: &str, plural: &str) -> bool {
    (group, version, plural) == (CUSTOM, "v1", "customresourcedefinitions")
}

/// The list of custom kinds.
pub fn no_custom_kinds() -> Value {
    json!({
        "kind": "CustomResourceDefinitionList",
        "apiVersion": format!("{CUSTOM}/v1"),
        "metadata": {"resourceVersion": "0"},
        "items": [],
    })
}

/// `/`: what else there is.
pub fn root_paths() -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in groups() {
        paths.push(format!("/apis/{group}"));
    }
    for (group, version) in versions().into_iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}/{version}"));
    }
    paths.extend(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    json!({"paths": paths})
}
