//! What each kind gets, as manifests in and JSON out.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    LimitRange, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec, PodTemplate, ResourceQuota, Secret,
    Service,
};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

use crate::model::decode::{FieldValidation, Format, body};
use crate::model::kind::Kind;
use crate::model::object::{Object, Resource};

fn defaulted<T: Resource>(manifest: &str) -> Object {
    let kind = Kind::of::<T>();
    let decoded =
        body(kind, manifest.as_bytes(), Format::Yaml, FieldValidation::Strict).expect("the manifest is right");
    (kind.ops.default)(&decoded.object)
}

#[track_caller]
fn gets<T: Resource>(manifest: &str, pointer: &str, expected: Value) {
    let object = defaulted::<T>(manifest);
    assert_eq!(object.to_value().pointer(pointer), Some(&expected), "{manifest} at {pointer}");
}

#[test]
fn a_job_gets_one_pod_and_six_retries() {
    let spec = defaulted::<Job>("{}").to_value()["spec"].clone();
    assert_eq!((&spec["parallelism"], &spec["completions"]), (&json!(1), &json!(1)));
    assert_eq!(spec["backoffLimit"], 6);
    assert_eq!(spec["podReplacementPolicy"], "TerminatingOrFailed");
}

#[test]
fn a_work_queue_keeps_its_completions_open() {
    let spec = defaulted::<Job>("{spec: {parallelism: 3}}").to_value()["spec"].clone();
    assert_eq!(spec.get("completions"), None);
}

#[test]
fn retries_per_index_lift_the_limit_of_all() {
    gets::<Job>("{spec: {backoffLimitPerIndex: 1}}", "/spec/backoffLimit", json!(i32::MAX));
}

#[test]
fn a_failure_policy_waits_for_the_end_of_pods() {
    gets::<Job>("{spec: {podFailurePolicy: {rules: []}}}", "/spec/podReplacementPolicy", json!("Failed"));
    gets::<CronJob>(
        "{spec: {jobTemplate: {spec: {podFailurePolicy: {rules: [{onPodConditions: [{type: X}]}]}}}}}",
        "/spec/jobTemplate/spec/podFailurePolicy/rules/0/onPodConditions/0/status",
        json!("True"),
    );
}

#[test]
fn a_cron_job_leaves_its_jobs_alone() {
    gets::<CronJob>("{}", "/spec/concurrencyPolicy", json!("Allow"));
    gets::<CronJob>("{}", "/spec/successfulJobsHistoryLimit", json!(3));
    let template = defaulted::<CronJob>("{}").to_value()["spec"]["jobTemplate"]["spec"].clone();
    assert_eq!(template.get("backoffLimit"), None);
    assert_eq!(template["template"]["spec"]["restartPolicy"], "Always");
}

#[test]
fn probes_get_their_numbers() {
    let probe = "{spec: {containers: [{livenessProbe: {httpGet: {port: 80}}, startupProbe: {grpc: {port: 1}}}]}}";
    gets::<Pod>(
        probe,
        "/spec/containers/0/livenessProbe",
        json!({
            "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
            "failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1,
        }),
    );
    gets::<Pod>(probe, "/spec/containers/0/startupProbe/grpc", json!({"port": 1, "service": ""}));
}

#[test]
fn volumes_get_their_modes() {
    let volume = |source: &str| format!("{{spec: {{volumes: [{{name: v{source}}}]}}}}");
    let cases = [
        ("", "/emptyDir", json!({})),
        (", secret: {secretName: s}", "/secret/defaultMode", json!(420)),
        (", configMap: {name: c, defaultMode: 0400}", "/configMap/defaultMode", json!(256)),
        (", hostPath: {path: /x}", "/hostPath/type", json!("")),
        (
            ", downwardAPI: {items: [{path: p, fieldRef: {fieldPath: x}}]}",
            "/downwardAPI/items/0/fieldRef/apiVersion",
            json!("v1"),
        ),
        (
            ", projected: {sources: [{serviceAccountToken: {path: t}}]}",
            "/projected/sources/0/serviceAccountToken/expirationSeconds",
            json!(3600),
        ),
        (", image: {reference: busybox}", "/image/pullPolicy", json!("Always")),
        (", image: {reference: 'busybox:1'}", "/image/pullPolicy", json!("IfNotPresent")),
        (", iscsi: {iqn: i, lun: 0, targetPortal: t}", "/iscsi/iscsiInterface", json!("default")),
        (", azureDisk: {diskName: d, diskURI: u}", "/azureDisk/kind", json!("Shared")),
        (", scaleIO: {gateway: g, system: s, secretRef: {name: x}}", "/scaleIO/fsType", json!("xfs")),
        (
            ", ephemeral: {volumeClaimTemplate: {spec: {}}}",
            "/ephemeral/volumeClaimTemplate/spec/volumeMode",
            json!("Filesystem"),
        ),
    ];
    for (source, field, expected) in cases {
        gets::<Pod>(&volume(source), &format!("/spec/volumes/0{field}"), expected);
    }
}

#[test]
fn only_pods_get_requests_from_limits() {
    let containers = "{containers: [{resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 0.0001}}}]}";
    let resources = "/spec/containers/0/resources/requests";
    gets::<Pod>(&format!("{{spec: {containers}}}"), resources, json!({"cpu": "1m", "memory": "1Gi"}));
    gets::<Job>(
        &format!("{{spec: {{template: {{spec: {containers}}}}}}}"),
        &format!("/spec/template{resources}"),
        json!({"cpu": "1m"}),
    );
}

#[test]
fn only_pods_get_host_ports_from_the_hosts_network() {
    let spec = "{hostNetwork: true, containers: [{ports: [{containerPort: 80}]}]}";
    gets::<Pod>(
        &format!("{{spec: {spec}}}"),
        "/spec/containers/0/ports/0",
        json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"}),
    );
    gets::<Job>(
        &format!("{{spec: {{template: {{spec: {spec}}}}}}}"),
        "/spec/template/spec/containers/0/ports/0",
        json!({"containerPort": 80, "protocol": "TCP"}),
    );
}

#[test]
fn both_names_of_the_service_account_say_the_same() {
    for manifest in ["{spec: {serviceAccount: a}}", "{spec: {serviceAccountName: a, serviceAccount: b}}"] {
        gets::<Pod>(manifest, "/spec/serviceAccount", json!("a"));
        gets::<Pod>(manifest, "/spec/serviceAccountName", json!("a"));
    }
}

#[test]
fn a_secrets_text_becomes_data() {
    let secret = defaulted::<Secret>("{data: {a: YQ==, b: YQ==}, stringData: {a: b}}").to_value();
    assert_eq!(secret["data"], json!({"a": "Yg==", "b": "YQ=="}));
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret.get("stringData"), None);
}

#[test]
fn a_namespace_is_labelled_with_its_name() {
    let name = "/metadata/labels/kubernetes.io~1metadata.name";
    gets::<Namespace>("{metadata: {name: x}}", name, json!("x"));
    gets::<Namespace>("{metadata: {name: x}}", "/status/phase", json!("Active"));
}

#[test]
fn quality_of_service_follows_cpu_and_memory() {
    let qos = |resources: &str| {
        let pod = defaulted::<Pod>(&format!("{{spec: {{containers: [{{resources: {resources}}}]}}}}"));
        let created = (pod.kind().ops.prepare_create)(&pod).to_value();
        created["status"]["qosClass"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(qos("{}"), "BestEffort");
    assert_eq!(qos("{requests: {cpu: 0, ephemeral-storage: 1Gi}}"), "BestEffort");
    assert_eq!(qos("{limits: {cpu: 1, memory: 1Gi}}"), "Guaranteed");
    assert_eq!(qos("{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}"), "Burstable");
    assert_eq!(qos("{requests: {memory: 1Gi}}"), "Burstable");
}

#[test]
fn image_volumes_are_kept_with_their_mounts() {
    let text =
        "{volumes: [{name: v, image: {reference: a}}], containers: [{volumeMounts: [{name: v, mountPath: /v}]}]}";
    let spec: PodSpec = serde_saphyr::from_str(text).expect("a test's text is YAML");
    let mut kept = spec.clone();
    super::disabled::drop_disabled(&mut kept, None);
    assert_eq!(kept, spec);
}

#[test]
fn what_would_mean_something_is_not_dropped_in_silence() {
    let text = "{hostUsers: false, securityContext: {supplementalGroupsPolicy: Strict, seLinuxChangePolicy: Recursive}, \
                resourceClaims: [{name: c}], containers: [{securityContext: {procMount: Unmasked}, resources: {claims: \
                [{name: c}]}}], volumes: [{name: v, projected: {sources: [{clusterTrustBundle: {path: a}}]}}]}";
    let spec: PodSpec = serde_saphyr::from_str(text).expect("a test's text is YAML");
    let mut kept = spec.clone();
    super::disabled::drop_from_template(&mut kept, None);
    assert_eq!(kept, spec);
    kept.host_users = Some(true);
    super::disabled::drop_disabled(&mut kept, None);
    assert_eq!(kept.host_users, None, "as a 1.32 server answers; it is the default");
}

#[test]
fn a_containers_limits_fall_back_on_each_other() {
    let limit = |text: &str| {
        let range = defaulted::<LimitRange>(&format!("{{spec: {{limits: [{text}]}}}}"));
        range.to_value()["spec"]["limits"][0].clone()
    };
    let from_max = limit("{type: Container, max: {cpu: 2}}");
    assert_eq!((&from_max["default"], &from_max["defaultRequest"]), (&json!({"cpu": "2"}), &json!({"cpu": "2"})));
    let own = limit("{type: Container, max: {cpu: 2}, default: {cpu: 1}, min: {memory: 1Mi}}");
    let (default, request) = (json!({"cpu": "1"}), json!({"cpu": "1", "memory": "1Mi"}));
    assert_eq!((&own["default"], &own["defaultRequest"]), (&default, &request));
    assert_eq!(limit("{type: Pod, max: {cpu: 2}}"), json!({"type": "Pod", "max": {"cpu": "2"}}));
}

#[test]
fn storage_is_kept_and_bound_at_once_unless_it_says_otherwise() {
    let source = |text: &str| format!("{{spec: {{{text}}}}}");
    gets::<PersistentVolumeClaim>("{}", "/spec/volumeMode", json!("Filesystem"));
    gets::<PersistentVolumeClaim>("{}", "/status/phase", json!("Pending"));
    gets::<PersistentVolume>("{}", "/spec/volumeMode", json!("Filesystem"));
    gets::<PersistentVolume>("{}", "/spec/persistentVolumeReclaimPolicy", json!("Retain"));
    gets::<PersistentVolume>("{}", "/status/phase", json!("Pending"));
    gets::<PersistentVolume>(&source("hostPath: {path: /}"), "/spec/hostPath/type", json!(""));
    gets::<PersistentVolume>(
        &source("iscsi: {targetPortal: t, iqn: i, lun: 0}"),
        "/spec/iscsi/iscsiInterface",
        json!("default"),
    );
    gets::<PersistentVolume>(
        &source("rbd: {monitors: [m], image: i}"),
        "/spec/rbd/keyring",
        json!("/etc/ceph/keyring"),
    );
    gets::<PersistentVolume>(&source("azureDisk: {diskName: d, diskURI: u}"), "/spec/azureDisk/kind", json!("Shared"));
    gets::<PersistentVolume>(
        &source("scaleIO: {gateway: g, system: s, secretRef: {name: sec}}"),
        "/spec/scaleIO/storageMode",
        json!("ThinProvisioned"),
    );
    gets::<StorageClass>("{provisioner: p}", "/reclaimPolicy", json!("Delete"));
    gets::<StorageClass>("{provisioner: p}", "/volumeBindingMode", json!("Immediate"));
}

#[test]
fn small_kinds_get_what_upstream_gives_them() {
    gets::<PriorityClass>("{value: 1}", "/preemptionPolicy", json!("PreemptLowerPriority"));
    gets::<ResourceQuota>("{}", "/spec", json!({}));
    gets::<PodTemplate>(
        "{template: {spec: {containers: [{name: a}]}}}",
        "/template/spec/restartPolicy",
        json!("Always"),
    );
    let cluster = defaulted::<Service>("{spec: {ports: [{port: 80}]}}").to_value();
    assert_eq!(cluster["spec"]["ports"], json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]));
    assert_eq!((&cluster["spec"]["type"], &cluster["spec"]["sessionAffinity"]), (&json!("ClusterIP"), &json!("None")));
    assert_eq!(cluster["spec"]["internalTrafficPolicy"], "Cluster");
    assert_eq!(cluster["spec"].get("externalTrafficPolicy"), None);
    let balancer = defaulted::<Service>("{spec: {type: LoadBalancer, sessionAffinity: ClientIP}}").to_value();
    assert_eq!(balancer["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(balancer["spec"]["allocateLoadBalancerNodePorts"], true);
    assert_eq!(balancer["spec"]["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10800}}));
}
