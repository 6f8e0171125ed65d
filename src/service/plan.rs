//! PURE. Owns the Endpoints and EndpointSlices that a Service should have, and the writes that bring them about.
//! Never touches those of a Service without a selector: their author keeps them.
//!
//! Parity: `syncService` of `pkg/controller/endpoint`, `podToEndpoint` and `reconcile` of the endpointslice library.
//! Differs: there is no annotation with the time of the last change, and Endpoints without a selector are not mirrored
//! into slices: names read both.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{self as discovery, Endpoint, EndpointConditions, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::model::object::Object;
use crate::model::phase;
use crate::model::service as meaning;
use crate::store::{Expected, Write};

/// Label of slices: who keeps them.
const LABEL_KEEPER: &str = "endpointslice.kubernetes.io/managed-by";
/// Parity: the name of upstream's controller, by which clients know slices that follow a selector.
const SLICE_KEEPER: &str = "endpointslice-controller.k8s.io";
/// Label of Endpoints since 1.33: who keeps them.
const LABEL_ENDPOINTS_KEEPER: &str = "endpoints.kubernetes.io/managed-by";
const ENDPOINTS_KEEPER: &str = "endpoint-controller";
/// Label of what belongs to a Service without an address.
const LABEL_HEADLESS: &str = "service.kubernetes.io/headless";
/// Endpoints in a slice. Parity: `--max-endpoints-per-slice`.
const SLICE_MAX: usize = 100;
/// Addresses in Endpoints. Parity: `maxCapacity`.
const ENDPOINTS_MAX: usize = 1000;
/// Annotation of Endpoints that do not hold all addresses.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// What decides about one Service.
#[derive(Debug)]
pub struct ServiceFacts<'a> {
    /// The Service; it has a selector.
    pub service: &'a Service,
    /// The pods that it selects and that can be reached, by name.
    pub pods: Vec<&'a PodSeen>,
    /// Its Endpoints.
    pub endpoints: Option<&'a Object>,
    /// Its slices that are kept here.
    pub slices: Vec<&'a Object>,
}

/// A pod as a Service sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its address.
    pub ip: String,
    /// Its node.
    pub node: Option<String>,
    /// Its host name and the Service that gives it a name of its own.
    pub hostname: Option<(String, String)>,
    /// It is ready.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// Ports that have names, for a Service that asks by name: by name and protocol.
    pub named_ports: BTreeMap<(String, String), i32>,
}

impl PodSeen {
    /// The pod, where it can be reached. Parity: `ShouldPodBeInEndpoints` with terminating pods included.
    pub fn of(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref()?;
        if phase::is_over(pod) {
            return None;
        }
        let ip = status.pod_ip.clone().filter(|ip| !ip.is_empty())?;
        let spec = pod.spec.as_ref()?;
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let ready = status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Some(Self {
            name: text(&pod.metadata.name),
            namespace: text(&pod.metadata.namespace),
            uid: text(&pod.metadata.uid),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            ip,
            node: filled(&spec.node_name),
            hostname: filled(&spec.hostname).zip(filled(&spec.subdomain)),
            ready,
            terminating: pod.metadata.deletion_timestamp.is_some(),
            named_ports: meaning::named_ports(spec),
        })
    }
}

/// The writes that make it so; none where all is as it should be.
pub fn plan(facts: &ServiceFacts<'_>) -> Vec<Write> {
    let none = ServiceSpec::default();
    let spec = facts.service.spec.as_ref().unwrap_or(&none);
    let mut writes: Vec<Write> = endpoints(facts, spec).into_iter().collect();
    writes.extend(slices(facts, spec));
    writes
}

/// Ports of a pod behind a Service, each with the Service's port.
type Ports = Vec<(Option<String>, i32, String, Option<String>)>;

/// Pods by the ports that the Service's ports mean for them; pods that lack a named port have fewer.
fn by_ports<'a>(facts: &ServiceFacts<'a>, spec: &ServiceSpec) -> BTreeMap<Ports, Vec<&'a PodSeen>> {
    let mut groups: BTreeMap<Ports, Vec<&PodSeen>> = BTreeMap::new();
    for pod in &facts.pods {
        let ports = spec.ports.iter().flatten().filter_map(|port| {
            let number = meaning::pod_port(&pod.named_ports, port)?;
            let name = Some(port.name.clone().unwrap_or_default());
            Some((name, number, meaning::protocol(port).to_owned(), port.app_protocol.clone()))
        });
        groups.entry(ports.collect()).or_default().push(pod);
    }
    groups
}

fn publishes_unready(spec: &ServiceSpec) -> bool {
    spec.publish_not_ready_addresses == Some(true)
}

fn reference(pod: &PodSeen) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}

/// The host name that the pod has under this Service. Parity: `ShouldSetHostname`.
fn hostname(pod: &PodSeen, service: &Service) -> Option<String> {
    let (host, subdomain) = pod.hostname.as_ref()?;
    (service.metadata.name.as_ref() == Some(subdomain)).then(|| host.clone())
}

/// The Service's labels without those that have a meaning here.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    for key in [meaning::LABEL_SERVICE, LABEL_KEEPER, LABEL_HEADLESS] {
        labels.remove(key);
    }
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    if matches!(address, "" | meaning::NO_ADDRESS) {
        labels.insert(LABEL_HEADLESS.to_owned(), String::new());
    }
    labels
}

fn endpoints(facts: &ServiceFacts<'_>, spec: &ServiceSpec) -> Option<Write> {
    let service = facts.service;
    let mut labels = labels(service);
    labels.insert(LABEL_ENDPOINTS_KEEPER.to_owned(), ENDPOINTS_KEEPER.to_owned());
    let (subsets, cut) = subsets(facts, spec);
    let subsets = (!subsets.is_empty()).then_some(subsets);
    match facts.endpoints {
        None => {
            let annotations = cut.then(|| BTreeMap::from([(OVER_CAPACITY.to_owned(), "truncated".to_owned())]));
            let metadata = ObjectMeta {
                name: service.metadata.name.clone(),
                namespace: service.metadata.namespace.clone(),
                labels: Some(labels),
                annotations,
                ..ObjectMeta::default()
            };
            Some(Write::Create(Object::new(Endpoints { metadata, subsets })))
        }
        Some(object) => {
            let old = object.typed::<Endpoints>()?;
            let mut new = old.clone();
            new.metadata.labels = Some(labels);
            new.subsets = subsets;
            if cut {
                let annotations = new.metadata.annotations.get_or_insert_default();
                annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
            } else if let Some(annotations) = &mut new.metadata.annotations {
                annotations.remove(OVER_CAPACITY);
            }
            update(object, old, new)
        }
    }
}

fn update<T: crate::model::object::Resource>(object: &Object, old: &T, new: T) -> Option<Write> {
    let expected = Expected::Revision(object.revision());
    (*old != new).then(|| Write::Update { object: Object::new(new), expected })
}

/// One subset for each set of ports; says whether addresses had to be left out.
fn subsets(facts: &ServiceFacts<'_>, spec: &ServiceSpec) -> (Vec<EndpointSubset>, bool) {
    let mut out = Vec::new();
    let mut room = ENDPOINTS_MAX;
    let mut cut = false;
    for (ports, pods) in by_ports(facts, spec) {
        if ports.is_empty() && spec.ports.iter().flatten().next().is_some() {
            continue;
        }
        // Terminating pods are in slices only.
        let pods: Vec<&PodSeen> = pods.into_iter().filter(|pod| !pod.terminating || publishes_unready(spec)).collect();
        cut |= pods.len() > room;
        let kept = pods.into_iter().take(room);
        let (ready, unready): (Vec<_>, Vec<_>) = kept.partition(|pod| publishes_unready(spec) || pod.ready);
        room -= ready.len() + unready.len();
        if ready.is_empty() && unready.is_empty() {
            continue;
        }
        let addresses = |pods: Vec<&PodSeen>| {
            let all: Vec<_> = pods.into_iter().map(|pod| endpoint_address(pod, facts.service)).collect();
            (!all.is_empty()).then_some(all)
        };
        let ports: Vec<EndpointPort> = ports.into_iter().map(endpoint_port).collect();
        out.push(EndpointSubset {
            addresses: addresses(ready),
            not_ready_addresses: addresses(unready),
            ports: (!ports.is_empty()).then_some(ports),
        });
    }
    (out, cut)
}

fn endpoint_address(pod: &PodSeen, service: &Service) -> EndpointAddress {
    EndpointAddress {
        ip: pod.ip.clone(),
        hostname: hostname(pod, service),
        node_name: pod.node.clone(),
        target_ref: Some(reference(pod)),
    }
}

fn endpoint_port((name, port, protocol, app_protocol): <Ports as IntoIterator>::Item) -> EndpointPort {
    EndpointPort { name: name.filter(|name| !name.is_empty()), port, protocol: Some(protocol), app_protocol }
}

/// Slices that are written anew, and those that nothing is left for. A slice is used again for whatever comes next, so
/// that names stay.
fn slices(facts: &ServiceFacts<'_>, spec: &ServiceSpec) -> Vec<Write> {
    let mut wanted: Vec<(Option<Vec<discovery::EndpointPort>>, Vec<Endpoint>)> = Vec::new();
    for (ports, pods) in by_ports(facts, spec) {
        let ports: Vec<discovery::EndpointPort> = ports.into_iter().map(slice_port).collect();
        for part in pods.chunks(SLICE_MAX) {
            let endpoints = part.iter().map(|pod| endpoint(pod, facts.service, spec)).collect();
            wanted.push(((!ports.is_empty()).then(|| ports.clone()), endpoints));
        }
    }
    if wanted.is_empty() {
        // Parity: a placeholder says that somebody keeps the slices of this Service.
        wanted.push((None, Vec::new()));
    }
    let mut writes = Vec::new();
    let mut spare = facts.slices.iter();
    for (ports, endpoints) in wanted {
        match spare.next() {
            Some(object) => {
                let Some(old) = object.typed::<EndpointSlice>() else { continue };
                let mut new = old.clone();
                new.metadata.labels = Some(slice_labels(facts.service));
                new.ports = ports;
                new.endpoints = Some(endpoints);
                writes.extend(update(object, old, new));
            }
            None => writes.push(Write::Create(Object::new(fresh_slice(facts.service, ports, endpoints)))),
        }
    }
    writes.extend(
        spare.map(|object| Write::Delete { key: object.key(), expected: Expected::Revision(object.revision()) }),
    );
    writes
}

fn slice_labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = labels(service);
    labels.insert(meaning::LABEL_SERVICE.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(LABEL_KEEPER.to_owned(), SLICE_KEEPER.to_owned());
    labels
}

/// Whether a slice is kept here for the Service of this name.
pub fn is_kept(slice: &ObjectMeta, service: &str) -> bool {
    let label = |key: &str| slice.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    label(LABEL_KEEPER) == Some(SLICE_KEEPER) && label(meaning::LABEL_SERVICE) == Some(service)
}

/// Whether Endpoints are kept here.
pub fn endpoints_are_kept(endpoints: &ObjectMeta) -> bool {
    let labels = endpoints.labels.as_ref();
    labels.and_then(|labels| labels.get(LABEL_ENDPOINTS_KEEPER)).is_some_and(|keeper| keeper == ENDPOINTS_KEEPER)
}

fn fresh_slice(
    service: &Service,
    ports: Option<Vec<discovery::EndpointPort>>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let name = service.metadata.name.clone().unwrap_or_default();
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        name: name.clone(),
        uid: service.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(slice_labels(service)),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints),
        ports,
    }
}

fn endpoint(pod: &PodSeen, service: &Service, spec: &ServiceSpec) -> Endpoint {
    Endpoint {
        addresses: vec![pod.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_unready(spec) || (pod.ready && !pod.terminating)),
            serving: Some(pod.ready),
            terminating: Some(pod.terminating),
        }),
        hostname: hostname(pod, service),
        node_name: pod.node.clone(),
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    }
}

fn slice_port((name, port, protocol, app_protocol): <Ports as IntoIterator>::Item) -> discovery::EndpointPort {
    discovery::EndpointPort { name, port: Some(port), protocol: Some(protocol), app_protocol }
}
