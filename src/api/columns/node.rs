//! Owns the columns and cells of nodes. PURE. Never judges a node: its conditions do.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, Row, Text, or_none, text, wide};

const fn info(field: &'static str) -> Text {
    Text::Field("io.k8s.api.core.v1.NodeSystemInfo", field)
}

const ADDRESSES: Text = Text::Field("io.k8s.api.core.v1.NodeStatus", "addresses");

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    text("Status", Text::Own("The status of the node")),
    text("Roles", Text::Own("The roles of the node")),
    AGE,
    text("Version", info("kubeletVersion")),
    wide("Internal-IP", ADDRESSES),
    wide("External-IP", ADDRESSES),
    wide("OS-Image", info("osImage")),
    wide("Kernel-Version", info("kernelVersion")),
    wide("Container-Runtime", info("containerRuntimeVersion")),
];

/// Label whose suffix is a role.
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
/// Label whose value is a role.
const ROLE: &str = "kubernetes.io/role";

pub(super) fn cells(node: &Node, row: Row<'_>) -> Vec<Value> {
    let status = node.status.clone().unwrap_or_default();
    let info = status.node_info.unwrap_or_default();
    let addresses = status.addresses.unwrap_or_default();
    let address = |wanted: &str| {
        let found = addresses.iter().find(|address| address.type_ == wanted);
        json!(or_none(found.map(|address| address.address.as_str())))
    };
    let or_unknown = |text: &str| json!(if text.is_empty() { "<unknown>" } else { text });
    vec![
        json!(row.name),
        json!(state(node)),
        json!(roles(node)),
        json!(row.age),
        json!(info.kubelet_version),
        address("InternalIP"),
        address("ExternalIP"),
        or_unknown(&info.os_image),
        or_unknown(&info.kernel_version),
        or_unknown(&info.container_runtime_version),
    ]
}

fn state(node: &Node) -> String {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.rfind(|condition| condition.type_ == "Ready");
    let mut state = match ready.map(|condition| condition.status.as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        state.push_str(",SchedulingDisabled");
    }
    state
}

fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(label, value)| match label.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role).filter(|role| !role.is_empty()),
            None => (label == ROLE && !value.is_empty()).then_some(value.as_str()),
        })
        .collect();
    let roles: Vec<&str> = roles.into_iter().collect();
    or_none(Some(&roles.join(","))).to_owned()
}
