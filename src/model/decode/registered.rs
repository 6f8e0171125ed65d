//! Owns the list of kinds that an API server knows beside those it is asked for: a Deployment sent to the Jobs' address
//! is answered otherwise than a kind that nobody knows.
//! Never grows with the kinds that jobdock serves: it only serves error texts.
//!
//! Parity: the scheme of a 1.32 API server, stable versions and `batch/v1beta1`.

const KINDS: &[(&str, &str)] = &[
    (
        "v1",
        "Pod PodStatusResult PodTemplate ReplicationController Service Endpoints Node Binding Event LimitRange \
         ResourceQuota Namespace Secret ServiceAccount PersistentVolume PersistentVolumeClaim ComponentStatus \
         SerializedReference RangeAllocation ConfigMap",
    ),
    ("apps/v1", "Deployment StatefulSet DaemonSet ReplicaSet ControllerRevision"),
    ("autoscaling/v1", "HorizontalPodAutoscaler Scale"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("batch/v1", "Job CronJob"),
    ("batch/v1beta1", "CronJob"),
    ("certificates.k8s.io/v1", "CertificateSigningRequest"),
    ("coordination.k8s.io/v1", "Lease"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("events.k8s.io/v1", "Event"),
    ("networking.k8s.io/v1", "Ingress IngressClass NetworkPolicy"),
    ("node.k8s.io/v1", "RuntimeClass"),
    ("policy/v1", "PodDisruptionBudget Eviction"),
    ("rbac.authorization.k8s.io/v1", "Role RoleBinding ClusterRole ClusterRoleBinding"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("storage.k8s.io/v1", "StorageClass VolumeAttachment CSINode CSIDriver CSIStorageCapacity"),
];

/// Whether an API server knows the kind in that version (`apps/v1`, `Deployment`).
pub fn knows(api_version: &str, kind: &str) -> bool {
    let single = kind.strip_suffix("List").unwrap_or(kind);
    KINDS.iter().any(|(version, kinds)| {
        *version == api_version
            && (kinds.split(' ').any(|known| known == single) || (*version == "v1" && kind == "List"))
    })
}
