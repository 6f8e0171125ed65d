//! Owns the defaults of Namespaces and what the server sets on one before it is stored.
//! Never empties one.

use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};

use super::set_text;

/// Label with the namespace's own name, for selectors.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// The finalizer that holds a namespace until it is empty.
pub const FINALIZER: &str = "kubernetes";

/// `SetDefaults_Namespace` and `SetDefaults_NamespaceStatus`.
pub fn namespace(namespace: &mut Namespace) {
    if let Some(name) = namespace.metadata.name.clone().filter(|name| !name.is_empty()) {
        namespace.metadata.labels.get_or_insert_default().insert(NAME_LABEL.to_owned(), name);
    }
    set_text(&mut namespace.status.get_or_insert_default().phase, "Active");
}

/// What the server sets on a new namespace: its phase and its finalizer; the label again, for generated names.
pub fn prepare_create(new: &mut Namespace) {
    new.status = Some(NamespaceStatus::default());
    namespace(new);
    let finalizers = new.spec.get_or_insert_default().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|name| name == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
}

/// What an update leaves as it was: finalizers and status.
pub fn prepare_update(new: &mut Namespace, old: &Namespace) {
    new.spec.clone_from(&old.spec);
    new.status.clone_from(&old.status);
}

/// What a status update leaves as it was: the spec.
pub fn prepare_status_update(new: &mut Namespace, old: &Namespace) {
    new.spec.clone_from(&old.spec);
}
