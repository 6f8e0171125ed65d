//! PURE. Owns what a LimitRange does to a pod, default requests and limits, and what a pod or a claim breaks of it.
//!
//! Parity: the LimitRanger admission plugin at 1.32, its texts included. Resources are walked in the order of their
//! names, where upstream's order is random.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::model::quantity::Quantity;

/// Tells which defaults a pod got.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Amounts by resource.
type Amounts = BTreeMap<String, Text>;

/// Fills in the defaults of containers, and says so in an annotation.
pub(super) fn fill(pod: &mut Pod, range: &LimitRange) {
    let items = || range.spec.iter().flat_map(|spec| &spec.limits).filter(|item| item.type_ == "Container");
    let merged = |pick: fn(&LimitRangeItem) -> &Option<Amounts>| -> Amounts {
        items()
            .flat_map(|item| pick(item).iter().flatten())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let (requests, limits) = (merged(|item| &item.default_request), merged(|item| &item.default));
    let Some(spec) = &mut pod.spec else { return };
    let mut said = Vec::new();
    let regular = spec.containers.iter_mut().map(|container| (container, "container"));
    let init = spec.init_containers.iter_mut().flatten().map(|container| (container, "init container"));
    for (container, what) in regular.chain(init) {
        let given = container.resources.get_or_insert_default();
        for (list, defaults, field) in
            [(&mut given.requests, &requests, "request"), (&mut given.limits, &limits, "limit")]
        {
            let set = missing(list, defaults);
            if !set.is_empty() {
                said.push(format!("{} {field} for {what} {}", set.join(", "), container.name));
            }
        }
    }
    if !said.is_empty() {
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        pod.metadata.annotations.get_or_insert_default().insert(ANNOTATION.to_owned(), text);
    }
}

/// Adds what a list lacks; the names of what was added.
fn missing(list: &mut Option<Amounts>, defaults: &Amounts) -> Vec<String> {
    let mut set = Vec::new();
    for (name, value) in defaults {
        let list = list.get_or_insert_default();
        if !list.contains_key(name) {
            list.insert(name.clone(), value.clone());
            set.push(name.clone());
        }
    }
    set
}

/// Everything that a pod breaks of a range, in upstream's words.
pub(super) fn broken(pod: &Pod, range: &LimitRange) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut out = Vec::new();
    for item in range.spec.iter().flat_map(|spec| &spec.limits) {
        match item.type_.as_str() {
            "Container" => {
                for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
                    measure(item, &amounts(container, false), &amounts(container, true), &mut out);
                }
            }
            "Pod" => measure(item, &total(spec, false), &total(spec, true), &mut out),
            _other => {}
        }
    }
    out
}

/// Everything that a claim breaks of a range. Parity: what limits it names itself is nobody's matter.
pub(super) fn broken_by_claim(claim: &PersistentVolumeClaim, range: &LimitRange) -> Vec<String> {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = resources.and_then(|resources| resources.requests.clone()).unwrap_or_default();
    let mut out = Vec::new();
    let items = range.spec.iter().flat_map(|spec| &spec.limits);
    for item in items.filter(|item| item.type_ == "PersistentVolumeClaim") {
        let of = &item.type_;
        for (name, least) in item.min.iter().flatten() {
            let what = below(least, requests.get(name), None);
            out.extend(what.map(|what| format!("minimum {name} usage per {of} is {}{what}", least.0)));
        }
        for (name, most) in item.max.iter().flatten() {
            let what = match requests.get(name) {
                None => Some(".  No request is specified".to_owned()),
                Some(request) => asks_too_much(most, request),
            };
            out.extend(what.map(|what| format!("maximum {name} usage per {of} is {}{what}", most.0)));
        }
    }
    out
}

fn asks_too_much(most: &Text, request: &Text) -> Option<String> {
    read(request).compare(&read(most)).is_gt().then(|| format!(", but request is {}", request.0))
}

fn amounts(container: &Container, limits: bool) -> Amounts {
    let resources = container.resources.as_ref();
    let list = resources.and_then(|given| if limits { given.limits.clone() } else { given.requests.clone() });
    list.unwrap_or_default()
}

/// What all containers together ask for, or the init container that asks for most.
fn total(spec: &PodSpec, limits: bool) -> Amounts {
    let mut sums: BTreeMap<String, Quantity> = BTreeMap::new();
    for (name, value) in spec.containers.iter().flat_map(|container| amounts(container, limits)) {
        let sum = sums.entry(name).or_insert_with(|| Quantity::from_units(0));
        *sum = sum.plus(&read(&value));
    }
    for (name, value) in spec.init_containers.iter().flatten().flat_map(|container| amounts(container, limits)) {
        let sum = sums.entry(name).or_insert_with(|| Quantity::from_units(0));
        if read(&value).compare(sum).is_gt() {
            *sum = read(&value);
        }
    }
    sums.into_iter().map(|(name, sum)| (name, Text(sum.canonical()))).collect()
}

fn read(text: &Text) -> Quantity {
    Quantity::parse(&text.0).unwrap_or_else(|_| Quantity::from_units(0))
}

fn measure(item: &LimitRangeItem, requests: &Amounts, limits: &Amounts, out: &mut Vec<String>) {
    let of = &item.type_;
    for (name, least) in item.min.iter().flatten() {
        out.extend(
            below(least, requests.get(name), limits.get(name))
                .map(|what| format!("minimum {name} usage per {of} is {}{what}", least.0)),
        );
    }
    for (name, most) in item.max.iter().flatten() {
        out.extend(
            above(most, requests.get(name), limits.get(name))
                .map(|what| format!("maximum {name} usage per {of} is {}{what}", most.0)),
        );
    }
    for (name, most) in item.max_limit_request_ratio.iter().flatten() {
        out.extend(
            apart(most, requests.get(name), limits.get(name))
                .map(|what| format!("{name} max limit to request ratio per {of} is {}, but {what}", most.0)),
        );
    }
}

fn below(least: &Text, request: Option<&Text>, limit: Option<&Text>) -> Option<String> {
    let Some(request) = request else { return Some(".  No request is specified".to_owned()) };
    if read(request).compare(&read(least)).is_lt() {
        return Some(format!(", but request is {}", request.0));
    }
    let limit = limit.filter(|limit| read(limit).compare(&read(least)).is_lt())?;
    Some(format!(", but limit is {}", limit.0))
}

fn above(most: &Text, request: Option<&Text>, limit: Option<&Text>) -> Option<String> {
    let Some(limit) = limit else { return Some(".  No limit is specified".to_owned()) };
    if read(limit).compare(&read(most)).is_gt() {
        return Some(format!(", but limit is {}", limit.0));
    }
    asks_too_much(most, request?)
}

fn apart(most: &Text, request: Option<&Text>, limit: Option<&Text>) -> Option<String> {
    let amount = |text: Option<&Text>| text.map(|text| read(text).milli()).filter(|amount| *amount != 0);
    let Some(request) = amount(request) else { return Some("no request is specified or request is 0".to_owned()) };
    let Some(limit) = amount(limit) else { return Some("no limit is specified or limit is 0".to_owned()) };
    // Amounts of resources are far below what a float holds exactly.
    let ratio = limit as f64 / request as f64;
    (ratio * 1000.0 > read(most).milli() as f64).then(|| format!("provided ratio is {ratio:.6}"))
}
