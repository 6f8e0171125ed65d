//! PersistentVolumeClaims, PersistentVolumes and StorageClasses.

use super::kinds::{of, update};
use super::*;

fn claim(fragment: &str) -> Value {
    let spec = "spec: {accessModes: [ReadWriteOnce], volumeMode: Filesystem, resources: {requests: {storage: 1Gi}}}";
    with(with(of("v1", "PersistentVolumeClaim"), spec), fragment)
}

fn volume(fragment: &str) -> Value {
    let spec = "metadata: {namespace: null}, spec: {accessModes: [ReadWriteOnce], volumeMode: Filesystem, capacity: \
                {storage: 1Gi}, persistentVolumeReclaimPolicy: Retain, hostPath: {path: /srv, type: ''}}";
    with(with(of("v1", "PersistentVolume"), spec), fragment)
}

fn class(fragment: &str) -> Value {
    let fields = "metadata: {namespace: null}, provisioner: p, reclaimPolicy: Delete, volumeBindingMode: Immediate";
    with(with(of("storage.k8s.io/v1", "StorageClass"), fields), fragment)
}

const MODES: &str = "supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"";

#[test]
fn claims_are_checked() {
    check(
        |fragment| claim(&format!("spec: {{{fragment}}}")),
        "spec.",
        &[
            ("", &[]),
            ("storageClassName: '', volumeName: v, accessModes: [ReadWriteOncePod]", &[]),
            ("accessModes: []", &["accessModes: Required value: at least 1 access mode is required"]),
            ("accessModes: [Some]", &[&format!("accessModes: Unsupported value: \"Some\": {MODES}")]),
            (
                "accessModes: [ReadWriteOnce, ReadWriteOncePod]",
                &["accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
            ),
            ("resources: null", &["resources[storage]: Required value"]),
            (
                "resources: {requests: {storage: '0'}}",
                &["resources[storage]: Invalid value: \"0\": must be greater than zero"],
            ),
            (
                "storageClassName: A_",
                &["storageClassName: Invalid value: \"A_\": a lowercase RFC 1123 subdomain must…"],
            ),
            (
                "volumeMode: Tape",
                &["volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\""],
            ),
            ("selector: {matchLabels: {'a b': c}}", &["selector.matchLabels: Invalid value: \"a b\": name part must…"]),
            (
                "dataSource: {kind: Pod, name: a}",
                &["dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default \
                   apiGroup"],
            ),
        ],
    );
    let fixed = "spec: Forbidden: spec is immutable after creation except resources.requests and \
                 volumeAttributesClassName for bound claims…";
    let modes = "spec: {accessModes: [ReadWriteMany]}";
    assert_same(modes, update(claim(modes), claim("")), &[fixed]);
    let larger = "spec: {resources: {requests: {storage: 2Gi}}}";
    assert_same(larger, update(claim(larger), claim("")), &[fixed]);
    let bound = "spec: {volumeName: v}, status: {phase: Bound, capacity: {storage: 1Gi}}";
    let bound = |more: &str| with(claim(bound), more);
    assert_same("a bound claim may grow", update(bound(larger), bound("")), &[]);
    let shrunk = "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity";
    assert_same("and not shrink", update(bound(""), bound(larger)), &[shrunk]);
    assert_same("a class may come later", update(claim("spec: {storageClassName: a}"), claim("")), &[]);
}

#[test]
fn volumes_are_checked() {
    check(
        |fragment| volume(&format!("spec: {{{fragment}}}")),
        "spec.",
        &[
            ("", &[]),
            ("accessModes: []", &["accessModes: Required value"]),
            ("accessModes: [Some]", &[&format!("accessModes: Unsupported value: \"Some\": {MODES}")]),
            (
                "capacity: null",
                &["capacity: Required value", "capacity: Unsupported value: {}: supported values: \"storage\""],
            ),
            ("capacity: {cpu: '1'}", &["capacity: Unsupported value: …"]),
            ("capacity: {storage: '0'}", &["capacity[storage]: Invalid value: \"0\": must be greater than zero"]),
            (
                "capacity: {storage: -1Ki}",
                &[
                    "capacity[storage]: Invalid value: -1024: must be a valid resource quantity",
                    "capacity[storage]: Invalid value: \"-1Ki\": must be greater than zero",
                ],
            ),
            (
                "persistentVolumeReclaimPolicy: Burn",
                &["persistentVolumeReclaimPolicy: Unsupported value: \"Burn\": supported values: \"Delete\", \
                   \"Recycle\", \"Retain\""],
            ),
            (
                "persistentVolumeReclaimPolicy: Recycle, hostPath: {path: /}",
                &["persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
            ),
            ("hostPath: {path: /a/../b}", &["hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
            ("nfs: {server: s, path: /}", &["nfs: Forbidden: may not specify more than 1 volume type"]),
            (
                "hostPath: null, local: {path: /d}",
                &["nodeAffinity: Required value: Local volume requires node affinity"],
            ),
            ("hostPath: null, csi: {driver: d, volumeHandle: ''}", &["csi.volumeHandle: Required value"]),
            (
                "storageClassName: A_",
                &["storageClassName: Invalid value: \"A_\": a lowercase RFC 1123 subdomain must…"],
            ),
            (
                "volumeMode: Tape",
                &["volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\""],
            ),
            ("nodeAffinity: {}", &["nodeAffinity.required: Required value: must specify required node constraints"]),
        ],
    );
    assert_same(
        "none",
        create_errors(volume("spec: {hostPath: null}")),
        &["spec: Required value: must specify a volume type"],
    );
    let moved = update(volume("spec: {hostPath: {path: /other}}"), volume(""));
    let words = "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation…";
    assert_same("hostPath", moved, &[words]);
    let block = update(volume("spec: {volumeMode: Block}"), volume(""));
    assert_same("volumeMode", block, &["volumeMode: Invalid value: \"Block\": field is immutable"]);
    let more = "spec: {capacity: {storage: 2Gi}, persistentVolumeReclaimPolicy: Delete, storageClassName: a}";
    assert_same(more, update(volume(more), volume("")), &[]);
}

#[test]
fn storage_classes_are_checked() {
    let label = "{key: zone, values: [a, b]}";
    let topology = |terms: &str| format!("allowedTopologies: [{terms}]");
    let term = |expressions: &str| format!("{{matchLabelExpressions: [{expressions}]}}");
    check(
        class,
        "",
        &[
            ("", &[]),
            ("provisioner: example.com/P, parameters: {a: b}, volumeBindingMode: WaitForFirstConsumer", &[]),
            ("provisioner: ''", &["provisioner: Required value"]),
            ("provisioner: a b", &["provisioner: Invalid value: \"a b\": name part must consist of…"]),
            ("parameters: {'': a}", &["parameters: Invalid value: \"\": field can not be empty."]),
            (
                "reclaimPolicy: Recycle",
                &["reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\""],
            ),
            ("volumeBindingMode: null", &["volumeBindingMode: Required value"]),
            (
                "volumeBindingMode: Later",
                &["volumeBindingMode: Unsupported value: \"Later\": supported values: \"Immediate\", \
                   \"WaitForFirstConsumer\""],
            ),
            (&topology(&term(label)), &[]),
            (
                &topology(&term("{key: zone, values: []}")),
                &["allowedTopologies[0].matchLabelExpressions[0].values: Required value"],
            ),
            (
                &topology(&term("{key: zone, values: [a, a]}")),
                &["allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\""],
            ),
            (
                &topology(&term(&format!("{label}, {label}"))),
                &["allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"zone\""],
            ),
            (
                &topology(&format!("{}, {}", term(label), term("{key: zone, values: [b, a]}"))),
                &["allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""],
            ),
        ],
    );
    let changed =
        class("provisioner: q, parameters: {a: b}, reclaimPolicy: Retain, volumeBindingMode: WaitForFirstConsumer");
    let words = [
        "parameters: Forbidden: updates to parameters are forbidden.",
        "provisioner: Forbidden: updates to provisioner are forbidden.",
        "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
        "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
    ];
    assert_same("all", update(changed, class("")), &words);
    assert_same("expansion", update(class("allowVolumeExpansion: true"), class("")), &[]);
}
