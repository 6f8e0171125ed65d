//! Owns how lists merge: upstream's `patchStrategy`, `patchMergeKey`, `listType` and `listMapKey` markers for the types
//! that served kinds contain. Strategic merge patch, server-side apply and OpenAPI are driven by this table.
//! Never merges: see `strategic`.
//!
//! To serve another kind, add the rows of its types.

/// One marked field of one type.
#[derive(Debug, PartialEq, Eq)]
pub struct Merge {
    /// The type, without its package: `PodSpec`. Names are unique among the served kinds.
    pub owner: &'static str,
    /// The field's JSON name.
    pub field: &'static str,
    /// What a strategic merge patch does to it.
    pub patch: PatchStrategy,
    /// The element's field that tells elements apart in a strategic merge; empty for scalars.
    pub key: &'static str,
    /// What server-side apply takes it for.
    pub list: ListType,
}

/// Upstream's `patchStrategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchStrategy {
    /// A patch's list takes the place of the list (upstream's default).
    Replace,
    /// Elements are merged by key.
    Merge,
    /// As `Merge`, and kubectl sends `$retainKeys` for the elements.
    MergeRetainKeys,
}

impl PatchStrategy {
    /// The value of `x-kubernetes-patch-strategy`; none for the default.
    pub fn text(self) -> Option<&'static str> {
        match self {
            Self::Replace => None,
            Self::Merge => Some("merge"),
            Self::MergeRetainKeys => Some("merge,retainKeys"),
        }
    }

    /// Whether lists are merged element by element.
    pub fn merges(self) -> bool {
        match self {
            Self::Replace => false,
            Self::Merge | Self::MergeRetainKeys => true,
        }
    }
}

/// Upstream's `listType` with its `listMapKey`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// One owner for the whole list.
    Atomic,
    /// Elements are owned one by one; scalars.
    Set,
    /// Elements are owned one by one and told apart by these fields.
    Map(&'static [&'static str]),
}

/// The markers of a field; none where upstream has none.
pub fn of(owner: &str, field: &str) -> Option<&'static Merge> {
    let owner = owner.rsplit('.').next().unwrap_or(owner);
    MERGES.iter().find(|row| row.owner == owner && row.field == field)
}

const fn map(owner: &'static str, field: &'static str, key: &'static str, keys: &'static [&'static str]) -> Merge {
    Merge { owner, field, patch: PatchStrategy::Merge, key, list: ListType::Map(keys) }
}

const fn retain(owner: &'static str, field: &'static str, key: &'static str, keys: &'static [&'static str]) -> Merge {
    Merge { owner, field, patch: PatchStrategy::MergeRetainKeys, key, list: ListType::Map(keys) }
}

const fn atomic(owner: &'static str, field: &'static str) -> Merge {
    Merge { owner, field, patch: PatchStrategy::Replace, key: "", list: ListType::Atomic }
}

const fn set(owner: &'static str, field: &'static str) -> Merge {
    Merge { owner, field, patch: PatchStrategy::Replace, key: "", list: ListType::Set }
}

/// A list that a strategic merge merges by key, but that has one owner in server-side apply.
const fn merged_atomic(owner: &'static str, field: &'static str, key: &'static str) -> Merge {
    Merge { owner, field, patch: PatchStrategy::Merge, key, list: ListType::Atomic }
}

/// Parity: the `+patchStrategy`, `+patchMergeKey`, `+listType`, `+listMapKey` markers of upstream's API types.
pub static MERGES: &[Merge] = &[
    // meta/v1
    map("ObjectMeta", "ownerReferences", "uid", &["uid"]),
    Merge { patch: PatchStrategy::Merge, ..set("ObjectMeta", "finalizers") },
    atomic("ObjectMeta", "managedFields"),
    atomic("LabelSelector", "matchExpressions"),
    atomic("LabelSelectorRequirement", "values"),
    // core/v1: the pod
    map("PodSpec", "containers", "name", &["name"]),
    map("PodSpec", "initContainers", "name", &["name"]),
    map("PodSpec", "ephemeralContainers", "name", &["name"]),
    retain("PodSpec", "volumes", "name", &["name"]),
    map("PodSpec", "imagePullSecrets", "name", &["name"]),
    map("PodSpec", "hostAliases", "ip", &["ip"]),
    map("PodSpec", "topologySpreadConstraints", "topologyKey", &["topologyKey", "whenUnsatisfiable"]),
    map("PodSpec", "schedulingGates", "name", &["name"]),
    retain("PodSpec", "resourceClaims", "name", &["name"]),
    atomic("PodSpec", "tolerations"),
    atomic("PodSpec", "readinessGates"),
    atomic("HostAlias", "hostnames"),
    atomic("PodDNSConfig", "nameservers"),
    atomic("PodDNSConfig", "options"),
    atomic("PodDNSConfig", "searches"),
    atomic("PodSecurityContext", "supplementalGroups"),
    atomic("PodSecurityContext", "sysctls"),
    atomic("TopologySpreadConstraint", "matchLabelKeys"),
    map("Container", "ports", "containerPort", &["containerPort", "protocol"]),
    map("Container", "env", "name", &["name"]),
    map("Container", "volumeMounts", "mountPath", &["mountPath"]),
    map("Container", "volumeDevices", "devicePath", &["devicePath"]),
    atomic("Container", "args"),
    atomic("Container", "command"),
    atomic("Container", "envFrom"),
    atomic("Container", "resizePolicy"),
    atomic("Container", "restartPolicyRules"),
    map("EphemeralContainer", "ports", "containerPort", &["containerPort", "protocol"]),
    map("EphemeralContainer", "env", "name", &["name"]),
    map("EphemeralContainer", "volumeMounts", "mountPath", &["mountPath"]),
    map("EphemeralContainer", "volumeDevices", "devicePath", &["devicePath"]),
    atomic("EphemeralContainer", "args"),
    atomic("EphemeralContainer", "command"),
    atomic("EphemeralContainer", "envFrom"),
    atomic("EphemeralContainer", "resizePolicy"),
    atomic("EphemeralContainer", "restartPolicyRules"),
    set("ContainerRestartRuleOnExitCodes", "values"),
    Merge { patch: PatchStrategy::Replace, key: "", ..map("ResourceRequirements", "claims", "", &["name"]) },
    atomic("Capabilities", "add"),
    atomic("Capabilities", "drop"),
    atomic("ExecAction", "command"),
    atomic("HTTPGetAction", "httpHeaders"),
    atomic("ConfigMapVolumeSource", "items"),
    atomic("SecretVolumeSource", "items"),
    atomic("DownwardAPIVolumeSource", "items"),
    atomic("ProjectedVolumeSource", "sources"),
    atomic("ConfigMapProjection", "items"),
    atomic("SecretProjection", "items"),
    atomic("DownwardAPIProjection", "items"),
    atomic("PersistentVolumeClaimSpec", "accessModes"),
    atomic("NodeSelector", "nodeSelectorTerms"),
    atomic("NodeSelectorTerm", "matchExpressions"),
    atomic("NodeSelectorTerm", "matchFields"),
    atomic("NodeSelectorRequirement", "values"),
    atomic("NodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution"),
    atomic("PodAffinity", "preferredDuringSchedulingIgnoredDuringExecution"),
    atomic("PodAffinity", "requiredDuringSchedulingIgnoredDuringExecution"),
    atomic("PodAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution"),
    atomic("PodAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"),
    atomic("PodAffinityTerm", "namespaces"),
    atomic("PodAffinityTerm", "matchLabelKeys"),
    atomic("PodAffinityTerm", "mismatchLabelKeys"),
    map("PodStatus", "conditions", "type", &["type"]),
    map("PodStatus", "podIPs", "ip", &["ip"]),
    merged_atomic("PodStatus", "hostIPs", "ip"),
    retain("PodStatus", "resourceClaimStatuses", "name", &["name"]),
    atomic("PodStatus", "containerStatuses"),
    atomic("PodStatus", "initContainerStatuses"),
    atomic("PodStatus", "ephemeralContainerStatuses"),
    map("ContainerStatus", "volumeMounts", "mountPath", &["mountPath"]),
    map("ContainerStatus", "allocatedResourcesStatus", "name", &["name"]),
    // core/v1: the rest
    atomic("NamespaceSpec", "finalizers"),
    map("NamespaceStatus", "conditions", "type", &["type"]),
    Merge { patch: PatchStrategy::Merge, ..set("NodeSpec", "podCIDRs") },
    atomic("NodeSpec", "taints"),
    map("NodeStatus", "conditions", "type", &["type"]),
    map("NodeStatus", "addresses", "type", &["type"]),
    atomic("NodeStatus", "images"),
    atomic("NodeStatus", "volumesInUse"),
    atomic("NodeStatus", "volumesAttached"),
    // batch/v1
    merged_atomic("JobStatus", "conditions", "type"),
    set("UncountedTerminatedPods", "failed"),
    set("UncountedTerminatedPods", "succeeded"),
    atomic("PodFailurePolicy", "rules"),
    atomic("PodFailurePolicyRule", "onPodConditions"),
    set("PodFailurePolicyOnExitCodesRequirement", "values"),
    atomic("SuccessPolicy", "rules"),
    atomic("CronJobStatus", "active"),
];
