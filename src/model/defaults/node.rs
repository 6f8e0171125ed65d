//! Owns the defaults of Nodes and what an update of one leaves as it was. Never measures a machine.

use k8s_openapi::api::core::v1::Node;

use super::containers::resource_list;

/// `SetDefaults_NodeStatus`: all there is can be given out unless something else is said.
pub fn node(node: &mut Node) {
    let status = node.status.get_or_insert_default();
    resource_list(status.capacity.as_mut());
    if status.allocatable.is_none() {
        status.allocatable.clone_from(&status.capacity);
    }
    resource_list(status.allocatable.as_mut());
}

/// What an update leaves as it was: the status.
pub fn prepare_update(new: &mut Node, old: &Node) {
    new.status.clone_from(&old.status);
}

/// What a status update leaves as it was: the spec.
pub fn prepare_status_update(new: &mut Node, old: &Node) {
    new.spec.clone_from(&old.spec);
}
