//! Owns which credentials a pull is tried with: those of the pod's pull secrets that fit the image, then those of the
//! user's docker configuration. Never pulls: `images` does.
//!
//! Parity: `MakeDockerKeyring` of `pkg/credentialprovider/secrets`, of which every credential that fits is tried.

use k8s_openapi::api::core::v1::{Pod, Secret};

use super::core::Core;
use crate::model::object::Key;
use crate::runtime::RegistryAuth;
use crate::runtime::endpoint::Surroundings;
use crate::runtime::reference::Reference;
use crate::runtime::registry_auth::{self, Keyring};

/// All that fit, in the order in which to try them. Without any, the pull is tried without.
pub async fn of_pod(core: &Core, pod: &Pod, image: &str) -> Vec<RegistryAuth> {
    let Ok(reference) = Reference::parse(image) else { return Vec::new() };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let named = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    let keyrings = named.filter_map(|reference| keyring(core, namespace, &reference.name));
    let mut found = Keyring::together(keyrings).matching(&reference);
    match registry_auth::of_docker_config(&Surroundings::of_process(), &reference).await {
        Ok(own) => found.extend(own),
        Err(error) => tracing::warn!(%error, "the docker configuration gives no credentials"),
    }
    let mut once: Vec<RegistryAuth> = Vec::with_capacity(found.len());
    for auth in found {
        if !once.contains(&auth) {
            once.push(auth);
        }
    }
    once
}

/// Parity: a secret that is not there, or is of another kind, is passed over.
fn keyring(core: &Core, namespace: &str, name: &str) -> Option<Keyring> {
    let secret = core.store.get(&Key::of::<Secret>(namespace, name)).ok().flatten()?;
    let data = secret.typed::<Secret>()?.data.as_ref()?;
    let keyring = match (data.get(".dockerconfigjson"), data.get(".dockercfg")) {
        (Some(text), _) => Keyring::from_config_json(&text.0),
        (None, Some(text)) => Keyring::from_dockercfg(&text.0),
        (None, None) => return None,
    };
    keyring.inspect_err(|fault| tracing::warn!(secret = %name, %fault, "a pull secret cannot be read")).ok()
}
