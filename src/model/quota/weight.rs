//! Owns how much of each resource one object counts for, and within which quotas' scopes it falls.
//! Never adds objects up.
//!
//! Parity: upstream's quota evaluators for pods, services and claims, and the generic one that counts objects.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, Event, PersistentVolumeClaim, Pod, PodAffinityTerm, PodSpec, ResourceQuota,
    ScopedResourceSelectorRequirement, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::super::claims;
use super::super::kind::{KINDS, Kind};
use super::super::object::Object;
use super::super::phase;
use super::super::qos;
use super::super::quantity::Quantity;
use super::super::validation::resources::{HUGE_PAGES, is_extended};

/// What comes before a plural where its objects are counted: `count/jobs.batch`.
const COUNT: &str = "count/";
const REQUESTS: &str = "requests.";
const LIMITS: &str = "limits.";
/// Resources whose requests and limits quotas know.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Parity: `validationSet`: what a quota measures of these, each container must say.
const DEMANDED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// Kinds that are counted by their plural alone too.
const BY_PLURAL: [&str; 5] = ["configmaps", "persistentvolumeclaims", "resourcequotas", "secrets", "services"];
const SERVICE_PORTS: &str = "services.nodeports";
const SERVICE_BALANCERS: &str = "services.loadbalancers";
const CLAIMS: &str = "persistentvolumeclaims";
const CLAIMED: &str = "requests.storage";
/// What stands between a storage class and what of it is measured: `fast.storageclass.storage.k8s.io/requests.storage`.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

/// Amounts by resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// What quotas see of an object.
#[derive(Clone, Debug)]
pub struct Weight {
    kind: &'static Kind,
    /// How much it counts for of each resource.
    pub amounts: Amounts,
    traits: Option<Traits>,
}

/// What scopes ask of an object.
#[derive(Clone, Debug)]
enum Traits {
    Pod(PodTraits),
    /// A claim's classes of attributes: those that it has, had and is to have.
    Claim(BTreeSet<String>),
}

#[derive(Clone, Debug)]
struct PodTraits {
    is_terminating: bool,
    is_best_effort: bool,
    looks_abroad: bool,
    class: Option<String>,
}

impl Weight {
    /// None for what no quota counts: events, and what lives in no namespace.
    pub fn of(object: &Object) -> Option<Self> {
        let kind = object.kind();
        if !is_weighed(kind) {
            return None;
        }
        let mut amounts = Amounts::from([(count_name(kind), one())]);
        if kind.group.is_empty() && BY_PLURAL.contains(&kind.plural) {
            amounts.insert(kind.plural.to_owned(), one());
        }
        if let Some(service) = object.typed::<Service>() {
            add(&mut amounts, &of_service(service));
        }
        if let Some(claim) = object.typed::<PersistentVolumeClaim>() {
            add(&mut amounts, &of_claim(claim));
        }
        let claim = object.typed::<PersistentVolumeClaim>().map(|claim| Traits::Claim(attributes(claim)));
        let pod = object.typed::<Pod>();
        // Parity: `QuotaV1Pod`. Differs: a pod that is being deleted counts until it is gone, however long that takes.
        if let Some(spec) = pod.filter(|pod| !phase::is_over(pod)).and_then(|pod| pod.spec.as_ref()) {
            add(&mut amounts, &compute(&sum(spec, false), &sum(spec, true)));
        }
        let pod = pod.and_then(|pod| pod.spec.as_ref()).map(|spec| Traits::Pod(PodTraits::of(spec)));
        Some(Self { kind, amounts, traits: claim.or(pod) })
    }

    /// Whether objects of this kind can count for a resource.
    pub(super) fn measures(&self, resource: &str) -> bool {
        is_measured_by(self.kind, resource)
    }

    /// Whether the object falls into all of a quota's scopes. Parity: only pods and claims fall into
    /// any.
    pub(super) fn is_within(&self, quota: &ResourceQuota) -> bool {
        let Some(spec) = &quota.spec else { return true };
        let named = spec.scopes.iter().flatten().map(|scope| ScopedResourceSelectorRequirement {
            scope_name: scope.clone(),
            operator: "Exists".to_owned(),
            values: None,
        });
        let terms =
            spec.scope_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten()).cloned();
        named.chain(terms).all(|term| self.traits.as_ref().is_some_and(|traits| traits.fit(&term)))
    }
}

impl Traits {
    fn fit(&self, term: &ScopedResourceSelectorRequirement) -> bool {
        match self {
            Self::Pod(pod) => pod.fit(term),
            Self::Claim(_) if term.scope_name != "VolumeAttributesClass" => false,
            Self::Claim(names) if names.is_empty() => is_selected(term, None),
            Self::Claim(names) => names.iter().any(|name| is_selected(term, Some(name))),
        }
    }
}

/// Whether a term selects an object by the class that it names.
fn is_selected(term: &ScopedResourceSelectorRequirement, class: Option<&String>) -> bool {
    let is_named = class.is_some_and(|class| term.values.iter().flatten().any(|value| value == class));
    match term.operator.as_str() {
        "Exists" => class.is_some(),
        "DoesNotExist" => class.is_none(),
        "In" => is_named,
        "NotIn" => !is_named,
        _unknown => false,
    }
}

/// Parity: `getReferencedVACNames` of the claims' evaluator.
fn attributes(claim: &PersistentVolumeClaim) -> BTreeSet<String> {
    let asked = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone());
    let status = claim.status.as_ref();
    let present = status.and_then(|status| status.current_volume_attributes_class_name.clone());
    let target =
        status.and_then(|status| status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.clone());
    [asked, present, target].into_iter().flatten().filter(|name| !name.is_empty()).collect()
}

impl PodTraits {
    fn of(spec: &PodSpec) -> Self {
        Self {
            is_terminating: spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0),
            is_best_effort: qos::class(spec) == "BestEffort",
            looks_abroad: affinity_terms(spec).any(|term| {
                term.namespace_selector.is_some() || term.namespaces.as_ref().is_some_and(|names| !names.is_empty())
            }),
            class: spec.priority_class_name.clone().filter(|name| !name.is_empty()),
        }
    }

    fn fit(&self, term: &ScopedResourceSelectorRequirement) -> bool {
        match term.scope_name.as_str() {
            "Terminating" => self.is_terminating,
            "NotTerminating" => !self.is_terminating,
            "BestEffort" => self.is_best_effort,
            "NotBestEffort" => !self.is_best_effort,
            "CrossNamespacePodAffinity" => self.looks_abroad,
            "PriorityClass" => is_selected(term, self.class.as_ref()),
            _unknown => false,
        }
    }
}

/// Whether anything here counts for a resource. Parity: what nothing counts for stands in `hard` and not in `used`.
pub fn is_counted(resource: &str) -> bool {
    KINDS.iter().any(|kind| is_weighed(kind) && is_measured_by(kind, resource))
}

fn is_weighed(kind: &Kind) -> bool {
    kind.namespaced && kind.face.is_none() && *kind != *Kind::of::<Event>()
}

fn is_measured_by(kind: &Kind, resource: &str) -> bool {
    if resource == count_name(kind) {
        return true;
    }
    match (kind.group, kind.plural) {
        ("", "pods") => is_of_pods(resource),
        ("", CLAIMS) => [CLAIMS, CLAIMED].contains(&resource) || is_of_class(resource),
        ("", "services") => ["services", SERVICE_PORTS, SERVICE_BALANCERS].contains(&resource),
        ("", plural) => plural == resource && BY_PLURAL.contains(&plural),
        _ => false,
    }
}

fn is_of_pods(resource: &str) -> bool {
    let asked = resource.strip_prefix(REQUESTS);
    let bare = asked.or_else(|| resource.strip_prefix(LIMITS)).unwrap_or(resource);
    resource == "pods"
        || COMPUTE.contains(&bare)
        || resource.starts_with(HUGE_PAGES)
        || asked.is_some_and(|asked| asked.starts_with(HUGE_PAGES) || is_extended(asked))
}

/// `count/pods`, `count/jobs.batch`.
fn count_name(kind: &Kind) -> String {
    format!("{COUNT}{}", kind.resource())
}

fn of_service(service: &Service) -> Amounts {
    let spec = service.spec.as_ref();
    let kind = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or_default();
    let ports = spec.and_then(|spec| spec.ports.as_ref()).map_or(0, Vec::len);
    let ports = Quantity::from_units(i64::try_from(ports).unwrap_or(i64::MAX));
    match kind {
        "NodePort" => Amounts::from([(SERVICE_PORTS.to_owned(), ports)]),
        "LoadBalancer" => Amounts::from([(SERVICE_PORTS.to_owned(), ports), (SERVICE_BALANCERS.to_owned(), one())]),
        _ => Amounts::new(),
    }
}

/// Of every class of storage, by its name.
fn is_of_class(resource: &str) -> bool {
    resource.split_once(OF_CLASS).is_some_and(|(_, what)| [CLAIMS, CLAIMED].contains(&what))
}

/// Parity: a claim that is being made larger counts for what was set aside for it already, where that is more.
fn of_claim(claim: &PersistentVolumeClaim) -> Amounts {
    let asked = claims::size(claim).and_then(|text| Quantity::parse(&text.0).ok());
    let allocated = claim.status.as_ref().and_then(|status| status.allocated_resources.as_ref()?.get("storage"));
    let allocated = allocated.and_then(|text| Quantity::parse(&text.0).ok());
    let size = asked.map(|asked| allocated.filter(|more| more.compare(&asked).is_gt()).unwrap_or(asked));
    let mut amounts = Amounts::new();
    let class = claims::class_of(claim);
    if !class.is_empty() {
        amounts.insert(format!("{class}{OF_CLASS}{CLAIMS}"), one());
        amounts.extend(size.clone().map(|size| (format!("{class}{OF_CLASS}{CLAIMED}"), size)));
    }
    amounts.extend(size.map(|size| (CLAIMED.to_owned(), size)));
    amounts
}

/// What requests and limits count for.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut out = Amounts::from([("pods".to_owned(), one())]);
    for (name, amount) in requests {
        let is_compute = COMPUTE.contains(&name.as_str());
        if is_compute || name.starts_with(HUGE_PAGES) {
            out.insert(name.clone(), amount.clone());
        }
        if is_compute || name.starts_with(HUGE_PAGES) || is_extended(name) {
            out.insert(format!("{REQUESTS}{name}"), amount.clone());
        }
    }
    for (name, amount) in limits.iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        out.insert(format!("{LIMITS}{name}"), amount.clone());
    }
    out
}

/// What each container must say and does not: `limits.cpu for: main`.
pub(super) fn lacking(pod: &Pod, measured: &[&str]) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut out = Vec::new();
    for resource in measured.iter().filter(|resource| DEMANDED.contains(resource)) {
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let silent = containers.filter(|container| {
            !compute(&amounts(container, false), &amounts(container, true)).contains_key(*resource)
        });
        let mut names: Vec<&str> = silent.map(|container| container.name.as_str()).collect();
        names.sort_unstable();
        if !names.is_empty() {
            out.push(format!("{resource} for: {}", names.join(",")));
        }
    }
    out
}

/// What a pod's containers request, or are limited to, in all. Parity: `PodRequests` and `PodLimits`.
fn sum(spec: &PodSpec, limits: bool) -> Amounts {
    let mut all = Amounts::new();
    spec.containers.iter().for_each(|container| add(&mut all, &amounts(container, limits)));
    let (mut sidecars, mut most) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let own = amounts(container, limits);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut all, &own);
            add(&mut sidecars, &own);
            raise(&mut most, &sidecars);
        } else {
            let mut step = own;
            add(&mut step, &sidecars);
            raise(&mut most, &step);
        }
    }
    raise(&mut all, &most);
    if let Some(whole) = &spec.resources {
        all.extend(read(if limits { whole.limits.as_ref() } else { whole.requests.as_ref() }));
    }
    let overhead = read(spec.overhead.as_ref());
    let counts = |name: &String| !limits || all.get(name).is_some_and(|amount| !amount.is_zero());
    let overhead: Amounts = overhead.into_iter().filter(|(name, _)| counts(name)).collect();
    add(&mut all, &overhead);
    all
}

fn amounts(container: &Container, limits: bool) -> Amounts {
    let resources = container.resources.as_ref();
    read(resources.and_then(|given| if limits { given.limits.as_ref() } else { given.requests.as_ref() }))
}

fn read(list: Option<&BTreeMap<String, Text>>) -> Amounts {
    let parsed = list.into_iter().flatten().map(|(name, text)| Some((name.clone(), Quantity::parse(&text.0).ok()?)));
    parsed.flatten().collect()
}

/// Adds the other's amounts.
pub(super) fn add(all: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let sum = all.get(name).map_or_else(|| amount.clone(), |sum| sum.plus(amount));
        all.insert(name.clone(), sum);
    }
}

/// What is more than before.
pub(super) fn growth(now: &Amounts, before: &Amounts) -> Amounts {
    let more = |(name, amount): (&String, &Quantity)| {
        let more = before.get(name).map_or_else(|| amount.clone(), |before| amount.less(before));
        (!more.is_zero()).then(|| (name.clone(), more))
    };
    now.iter().filter_map(more).collect()
}

/// At least the other's amounts.
fn raise(all: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if all.get(name).is_none_or(|most| amount.compare(most).is_gt()) {
            all.insert(name.clone(), amount.clone());
        }
    }
}

fn affinity_terms(spec: &PodSpec) -> impl Iterator<Item = &PodAffinityTerm> {
    let affinity = spec.affinity.as_ref();
    let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let far = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let required = near.and_then(|near| near.required_during_scheduling_ignored_during_execution.as_ref());
    let barred = far.and_then(|far| far.required_during_scheduling_ignored_during_execution.as_ref());
    let wanted = near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_ref());
    let unwanted = far.and_then(|far| far.preferred_during_scheduling_ignored_during_execution.as_ref());
    let weighted = wanted.into_iter().chain(unwanted).flatten().map(|weighted| &weighted.pod_affinity_term);
    required.into_iter().chain(barred).flatten().chain(weighted)
}

fn one() -> Quantity {
    Quantity::from_units(1)
}
