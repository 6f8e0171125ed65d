//! Owns the rules of a pod's DNS settings and host aliases.
//! Never writes a resolver's or a hosts file.
//!
//! Parity: core's `validatePodDNSConfig`, `validateDNSPolicy`, `ValidateHostAliases` at 1.32.

use k8s_openapi::api::core::v1::{HostAlias, PodSpec};

use super::{names, text};
use crate::model::field::{Errors, Path};

/// Most name servers, as resolvers have it.
const NAMESERVERS_MAX: usize = 3;
/// Most search domains.
const SEARCHES_MAX: usize = 32;
/// Most bytes of the search list, the spaces between counted.
const SEARCH_LIST_MAX: usize = 2048;

/// Which resolver settings a pod gets.
pub fn policy(errors: &mut Errors, policy: &str, path: &Path<'_>) {
    errors.required_one_of(path, policy, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
}

/// Resolver settings beside or instead of those.
pub fn config(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    let nameservers_path = path.child("nameservers");
    let no_policy = text(&spec.dns_policy) == "None";
    let Some(config) = &spec.dns_config else {
        if no_policy {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let nameservers = config.nameservers.as_deref().unwrap_or_default();
    if no_policy && nameservers.is_empty() {
        let words = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.required(&nameservers_path, words);
        return;
    }
    if nameservers.len() > NAMESERVERS_MAX {
        let words = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.invalid(&nameservers_path, &nameservers, &words);
    }
    for (index, address) in nameservers.iter().enumerate() {
        errors.invalid_each(&nameservers_path.index(index), address, names::ip(address));
    }
    searches(errors, config.searches.as_deref().unwrap_or_default(), &path.child("searches"));
    let options_path = path.child("options");
    for (index, option) in config.options.iter().flatten().enumerate() {
        if text(&option.name).is_empty() {
            errors.required(&options_path.index(index), "must not be empty");
        }
    }
}

fn searches(errors: &mut Errors, searches: &[String], path: &Path<'_>) {
    if searches.len() > SEARCHES_MAX {
        errors.invalid(path, &searches, &format!("must not have more than {SEARCHES_MAX} search paths"));
    }
    if searches.join(" ").len() > SEARCH_LIST_MAX {
        let words =
            format!("must not have more than {SEARCH_LIST_MAX} characters (including spaces) in the search list");
        errors.invalid(path, &searches, &words);
    }
    for (index, search) in searches.iter().enumerate() {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_each(&path.index(index), &search, names::dns_subdomain(search));
    }
}

/// Lines of the pod's hosts file.
pub fn host_aliases(errors: &mut Errors, aliases: &[HostAlias], path: &Path<'_>) {
    for (index, alias) in aliases.iter().enumerate() {
        let path = path.index(index);
        errors.invalid_each(&path.child("ip"), &alias.ip, names::ip(&alias.ip));
        let path = path.child("hostnames");
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            errors.invalid_each(&path.index(index), name, names::dns_subdomain(name));
        }
    }
}
