//! PURE. Owns a pod's resolver settings: what `dnsPolicy` and `dnsConfig` come to, as settings of the engine.
//! Never reads the machine's file: its text is in the facts.
//!
//! Parity: `GetPodDNS` and `appendDNSConfig` of `pkg/kubelet/network/dns`. Differs: there is no DNS server of a
//! cluster, so ClusterFirst is Default: names of Services stand in the hosts file, and search domains that nobody
//! serves would only make every other look-up slower.

use k8s_openapi::api::core::v1::PodSpec;

use super::facts::NodeFacts;
use crate::runtime::Dns;

/// Most name servers that resolvers read.
const SERVERS_MAX: usize = 3;
/// Most search domains. Parity: `MaxDNSSearchPaths`.
const SEARCHES_MAX: usize = 32;
/// The engine's word for "no search domain".
const NO_SEARCH: &str = ".";

/// The settings; empty ones leave all to the engine, which takes the machine's.
pub fn settings(spec: &PodSpec, node: &NodeFacts) -> Dns {
    let none = spec.dns_policy.as_deref() == Some("None");
    let Some(config) = &spec.dns_config else { return Dns::default() };
    let mut out = if none { Dns::default() } else { machine(&node.resolv_conf) };
    out.servers.extend(config.nameservers.iter().flatten().cloned());
    once(&mut out.servers, SERVERS_MAX);
    out.searches.extend(config.searches.iter().flatten().cloned());
    once(&mut out.searches, SEARCHES_MAX);
    for option in config.options.iter().flatten() {
        let Some(name) = option.name.as_deref().filter(|name| !name.is_empty()) else { continue };
        out.options.retain(|old| old.split(':').next() != Some(name));
        out.options.push(match &option.value {
            Some(value) => format!("{name}:{value}"),
            None => name.to_owned(),
        });
    }
    if none && out.searches.is_empty() {
        out.searches.push(NO_SEARCH.to_owned());
    }
    out
}

/// The machine's settings, without servers that only the machine itself reaches.
fn machine(text: &str) -> Dns {
    let mut out = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => out.servers.extend(words.next().filter(|ip| !is_loopback(ip)).map(str::to_owned)),
            Some("search" | "domain") => out.searches = words.map(str::to_owned).collect(),
            Some("options") => out.options.extend(words.map(str::to_owned)),
            Some(_) | None => {}
        }
    }
    out
}

fn is_loopback(ip: &str) -> bool {
    ip.starts_with("127.") || ip == "::1"
}

/// Each once, in order, and no more than the limit.
fn once(list: &mut Vec<String>, limit: usize) {
    let mut kept: Vec<String> = Vec::new();
    for item in list.drain(..) {
        if kept.len() < limit && !kept.contains(&item) {
            kept.push(item);
        }
    }
    *list = kept;
}
