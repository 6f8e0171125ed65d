//! PURE. Owns a container's environment: `envFrom`, then `env` in order, from values, ConfigMaps, Secrets and fields.
//! Never reads the store: the sources are in the facts, and what is missing becomes the kubelet's error text.
//!
//! Parity: `makeEnvironmentVariables` of `pkg/kubelet`. Later entries replace earlier ones of the same name; a value may
//! use `$(NAME)` of what came before it.
//! Differs: upstream's order is that of a Go map; here it is the order of first mention.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};

use super::expand::expand;
use super::facts::{NodeFacts, Sources};
use super::{downward, env_file, links, restart, tokens};

/// Names of variables with their values, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment {
    order: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Environment {
    fn set(&mut self, name: &str, value: String) {
        if self.values.insert(name.to_owned(), value).is_none() {
            self.order.push(name.to_owned());
        }
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// `text` with its `$(NAME)`s replaced.
    pub fn expand(&self, text: &str) -> String {
        expand(text, |name| self.get(name))
    }

    /// `NAME=value` for each.
    pub fn lines(&self) -> Vec<String> {
        self.order.iter().map(|name| format!("{name}={}", self.values[name])).collect()
    }
}

/// What the environment is made from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its node.
    pub node: &'a NodeFacts,
    /// Its address, empty where it has none yet.
    pub pod_ip: &'a str,
    /// The ConfigMaps and Secrets that exist.
    pub sources: &'a Sources,
}

/// The environment of a container, or the kubelet's words for what is missing.
pub fn environment(context: Context<'_>, container: &Container) -> Result<Environment, String> {
    let mut env = Environment::default();
    // Parity: what the container says itself comes before what it is told of Services.
    for (name, value) in links::variables(&context.sources.services) {
        env.set(&name, value);
    }
    if let Some(spec) = &context.pod.spec {
        for (name, value) in tokens::environment(spec, &context.node.api) {
            env.set(name, value);
        }
    }
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match context.sources.config_maps.get(&reference.name) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        env.set(&format!("{prefix}{key}"), value.clone());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(missing("configmap", &reference.name)),
            }
        } else if let Some(reference) = &from.secret_ref {
            match context.sources.secrets.get(&reference.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        env.set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(missing("secret", &reference.name)),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = variable.value.as_deref().unwrap_or_default();
        if !value.is_empty() {
            let value = env.expand(value);
            env.set(&variable.name, value);
        } else if let Some(source) = &variable.value_from {
            if let Some(value) = resolve(context, container, source)? {
                env.set(&variable.name, value);
            }
        } else {
            env.set(&variable.name, String::new());
        }
    }
    Ok(env)
}

/// The kubelet's words for an object that is not there.
pub fn missing(resource: &str, name: &str) -> String {
    format!("{resource} \"{name}\" not found")
}

/// The value of a source; none where it is missing and optional.
fn resolve(context: Context<'_>, container: &Container, source: &EnvVarSource) -> Result<Option<String>, String> {
    let namespace = context.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(reference) = &source.field_ref {
        return downward::field(context.pod, context.node, context.pod_ip, &reference.field_path).map(Some);
    }
    if let Some(reference) = &source.resource_field_ref {
        return downward::resource(context.pod, Some(container), context.node, reference).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let map = context.sources.config_maps.get(&reference.name);
        let value = map.map(|map| map.data.as_ref().and_then(|data| data.get(&reference.key)).cloned());
        let place = Place { resource: "configmap", kind: "ConfigMap", namespace, name: &reference.name };
        return keyed(place, &reference.key, reference.optional, value);
    }
    if let Some(reference) = &source.secret_key_ref {
        let secret = context.sources.secrets.get(&reference.name);
        let value = secret.map(|secret| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(&reference.key));
            bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())
        });
        let place = Place { resource: "secret", kind: "Secret", namespace, name: &reference.name };
        return keyed(place, &reference.key, reference.optional, value);
    }
    if let Some(reference) = &source.file_key_ref {
        return env_file::value(context.sources, &container.name, reference);
    }
    Ok(Some(String::new()))
}

/// Where a value was looked for.
struct Place<'a> {
    resource: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
}

/// Outer none: no such object; inner none: no such key.
fn keyed(
    place: Place<'_>,
    key: &str,
    optional: Option<bool>,
    value: Option<Option<String>>,
) -> Result<Option<String>, String> {
    match value {
        Some(Some(value)) => Ok(Some(value)),
        Some(None) | None if optional == Some(true) => Ok(None),
        Some(None) => Err(format!("couldn't find key {key} in {} {}/{}", place.kind, place.namespace, place.name)),
        None => Err(missing(place.resource, place.name)),
    }
}

/// Names of the ConfigMaps and of the Secrets that the pod's containers and volumes name.
pub fn named_sources(pod: &Pod) -> (Vec<&str>, Vec<&str>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    let Some(spec) = &pod.spec else { return (maps, secrets) };
    for (_, container) in restart::containers(spec) {
        for from in container.env_from.iter().flatten() {
            maps.extend(from.config_map_ref.as_ref().map(|reference| reference.name.as_str()));
            secrets.extend(from.secret_ref.as_ref().map(|reference| reference.name.as_str()));
        }
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            maps.extend(source.config_map_key_ref.as_ref().map(|reference| reference.name.as_str()));
            secrets.extend(source.secret_key_ref.as_ref().map(|reference| reference.name.as_str()));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        maps.extend(volume.config_map.as_ref().map(|source| source.name.as_str()));
        secrets.extend(volume.secret.as_ref().and_then(|source| source.secret_name.as_deref()));
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            maps.extend(source.config_map.as_ref().map(|source| source.name.as_str()));
            secrets.extend(source.secret.as_ref().map(|source| source.name.as_str()));
        }
    }
    secrets.extend(spec.image_pull_secrets.iter().flatten().map(|reference| reference.name.as_str()));
    (maps, secrets)
}

/// Whether some variable is only known once the pod has an address.
pub fn needs_address(container: &Container) -> bool {
    let sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    sources.filter_map(|source| source.field_ref.as_ref()).any(|field| downward::needs_address(&field.field_path))
}
