//! PURE. Owns the text of a pod's hosts file: the kubelet's part (the pod's own name, its host aliases) and the names
//! of Services, which stand there because every C library reads the file at each look-up, on any engine.
//! Never writes it: `hosts_files` does.
//!
//! ```text
//!  head (this pod, fixed once its address is known)  +  names (all Services, the same for every pod of a namespace)
//! ```
//!
//! Parity: `managedHostsFileContent` of `pkg/kubelet/kubelet_pods.go` for the head; the records that a cluster's DNS
//! serves (`kubernetes/dns` specification) for the names. Differs: a hosts file has no search domains, so each name
//! stands there in all its forms; it has no aliases, so an ExternalName is followed where it leads to another Service,
//! to an address or to `host.docker.internal`; there are no SRV records.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Endpoints, Pod, PodSpec, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::facts::NodeFacts;
use super::spec;
use crate::model::service::{self as meaning, CLUSTER_DOMAIN, HOST_NAME, LABEL_SERVICE};
use crate::model::validation::names::parse_ip;

/// The longest full name that the kernel takes for a host. Parity: `validateFQDN` through `sethostname`.
const FQDN_MAX: usize = 64;
/// How many aliases lead on from one to the next before they are taken for a circle.
const ALIASES_MAX: usize = 8;

/// The full name of a pod that has a subdomain. Parity: `GeneratePodHostNameAndDomain`.
pub fn full_name(pod: &Pod, spec: &PodSpec) -> Option<String> {
    let subdomain = spec.subdomain.as_deref().filter(|name| !name.is_empty() && spec.hostname_override.is_none())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Some(format!("{}.{subdomain}.{namespace}.svc.{CLUSTER_DOMAIN}", spec::hostname(pod, spec)))
}

/// What is wrong with the name that the pod asks its host to have.
pub fn unusable_name(pod: &Pod, spec: &PodSpec) -> Option<String> {
    let name = full_name(pod, spec).filter(|_| spec.set_hostname_as_fqdn == Some(true))?;
    (name.len() > FQDN_MAX).then(|| {
        format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long ({FQDN_MAX} \
             characters is the max, {} characters requested)",
            name.len()
        )
    })
}

/// The part of the file that is about this pod. `machine` is the machine's own file, for a pod in its network.
pub fn head(pod: &Pod, spec: &PodSpec, node: &NodeFacts, ip: &str, machine: Option<&str>) -> String {
    let mut out = match machine {
        Some(text) => format!("# Kubernetes-managed hosts file (host network).\n{}\n", text.trim_end()),
        None => {
            let mut out = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
                           ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
                           fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
                .to_owned();
            let host = spec::hostname(pod, spec);
            let full = full_name(pod, spec).map(|name| format!("{name}\t")).unwrap_or_default();
            if !ip.is_empty() {
                out.push_str(&format!("{ip}\t{full}{host}\n"));
            }
            if !node.gateway.is_empty() {
                out.push_str(&format!("{}\t{HOST_NAME}\n", node.gateway));
            }
            out
        }
    };
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        out.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        out.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.clone().unwrap_or_default().join("\t")));
    }
    out
}

/// Who has which addresses: every Service, and in it every pod that has a name of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Zone {
    services: BTreeMap<Name, Entry>,
    gateway: String,
}

/// A Service: its namespace and its name.
type Name = (String, String);

#[derive(Clone, Debug, Default, PartialEq)]
struct Entry {
    /// Its addresses.
    addresses: BTreeSet<String>,
    /// Addresses of hosts in it.
    hosts: BTreeMap<String, BTreeSet<String>>,
    /// Where its name leads instead.
    alias: Option<String>,
}

impl Zone {
    /// Reads the names from the objects that tell of them; `gateway` is the address of the machine, empty where the
    /// engine itself knows its name.
    pub fn of(services: &[Service], slices: &[EndpointSlice], endpoints: &[Endpoints], gateway: &str) -> Self {
        let mut zone = Self { services: BTreeMap::new(), gateway: gateway.to_owned() };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        for service in services {
            let spec = service.spec.as_ref();
            let alias = spec.filter(|spec| meaning::is_alias(spec)).and_then(|spec| spec.external_name.clone());
            let name = (text(&service.metadata.namespace), text(&service.metadata.name));
            zone.services.insert(name, Entry { alias, ..Entry::default() });
        }
        for slice in slices.iter().filter(|slice| slice.address_type != "FQDN") {
            let label = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SERVICE));
            let name = (text(&slice.metadata.namespace), label.cloned().unwrap_or_default());
            for endpoint in slice.endpoints.iter().flatten() {
                let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false);
                for address in endpoint.addresses.iter().filter(|_| ready) {
                    zone.add(&name, endpoint.hostname.as_deref(), address);
                }
            }
        }
        for object in endpoints {
            let name = (text(&object.metadata.namespace), text(&object.metadata.name));
            let addresses = object.subsets.iter().flatten().flat_map(|subset| subset.addresses.iter().flatten());
            for address in addresses {
                zone.add(&name, address.hostname.as_deref(), &address.ip);
            }
        }
        zone
    }

    fn add(&mut self, service: &Name, host: Option<&str>, address: &str) {
        let Some(entry) = self.services.get_mut(service) else { return };
        entry.addresses.insert(address.to_owned());
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            entry.hosts.entry(host.to_owned()).or_default().insert(address.to_owned());
        }
    }

    /// The lines of the file for pods of a namespace.
    pub fn lines(&self, namespace: &str) -> String {
        let mut out = String::new();
        for (name, entry) in &self.services {
            let forms = forms(name, namespace);
            for (host, addresses) in &entry.hosts {
                let names: Vec<String> = forms.iter().map(|form| format!("{host}.{form}")).collect();
                addresses.iter().for_each(|address| line(&mut out, address, &names));
            }
            let followed = self.addresses(name, ALIASES_MAX);
            followed.iter().for_each(|address| line(&mut out, address, &forms));
        }
        if out.is_empty() { out } else { format!("\n# Entries added by Services.\n{out}") }
    }

    /// The addresses behind a name, through aliases.
    fn addresses(&self, name: &Name, more: usize) -> BTreeSet<String> {
        let Some(entry) = self.services.get(name) else { return BTreeSet::new() };
        let Some(alias) = entry.alias.as_deref().map(|alias| alias.trim_end_matches('.')) else {
            return entry.addresses.clone();
        };
        if alias == HOST_NAME {
            return BTreeSet::from([self.gateway.clone()]).into_iter().filter(|address| !address.is_empty()).collect();
        }
        if parse_ip(alias).is_some() {
            return BTreeSet::from([alias.to_owned()]);
        }
        let inside = alias.strip_suffix(CLUSTER_DOMAIN).and_then(|rest| rest.strip_suffix(".svc."));
        match inside.map(|inside| inside.split('.').collect::<Vec<_>>()).as_deref() {
            Some([service, namespace]) if more > 0 => {
                self.addresses(&((*namespace).to_owned(), (*service).to_owned()), more - 1)
            }
            Some([host, service, namespace]) => {
                let entry = self.services.get(&((*namespace).to_owned(), (*service).to_owned()));
                entry.and_then(|entry| entry.hosts.get(*host)).cloned().unwrap_or_default()
            }
            Some(_) | None => BTreeSet::new(),
        }
    }
}

/// Every form in which a Service can be named from a namespace, the full one first.
fn forms((of, name): &Name, namespace: &str) -> Vec<String> {
    let mut forms = vec![meaning::full_name(name, of), format!("{name}.{of}.svc"), format!("{name}.{of}")];
    if of == namespace {
        forms.push(name.clone());
    }
    forms
}

fn line(out: &mut String, address: &str, names: &[String]) {
    out.push_str(&format!("{address}\t{}\n", names.join("\t")));
}
