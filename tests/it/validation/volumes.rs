//! Volumes: names, one source each, and each source.

use super::*;

/// The source of a volume `v`, and errors below that volume's path.
#[track_caller]
fn sources(cases: &[Case<'_>]) {
    let base =
        |fragment: &str| with(job(), &format!("spec: {{template: {{spec: {{volumes: [{{name: v, {fragment}}}]}}}}}}"));
    check(base, "spec.template.spec.volumes[0]", cases);
}

#[test]
fn names_are_unique_labels() {
    templates(&[
        ("volumes: [{name: V, emptyDir: {}}]", &["volumes[0].name: Invalid value: \"V\": a lowercase RFC 1123 label…"]),
        ("volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]", &["volumes[1].name: Duplicate value: \"v\""]),
    ]);
}

#[test]
fn there_is_one_source() {
    sources(&[
        ("nope: 1", &[": Required value: must specify a volume type"]),
        (
            "emptyDir: {}, hostPath: {path: /a}, cephfs: {monitors: [a]}, downwardAPI: {}",
            &[
                ".hostPath: Forbidden: may not specify more than 1 volume type",
                ".cephFS: Forbidden: may not specify more than 1 volume type",
                ".downwarAPI: Forbidden: may not specify more than 1 volume type",
            ],
        ),
    ]);
}

#[test]
fn local_sources_are_checked() {
    sources(&[
        (
            "emptyDir: {sizeLimit: '-1'}",
            &[".emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"],
        ),
        ("hostPath: {path: ''}", &[".hostPath.path: Required value"]),
        ("hostPath: {path: /a/../b}", &[".hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
        (
            "hostPath: {path: /a, type: Dir}",
            &[".hostPath.type: Unsupported value: \"Dir\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \
               \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\""],
        ),
        ("secret: {secretName: s, defaultMode: -1}", &[".secret.defaultMode: Invalid value: -1: must be a number…"]),
        (
            "secret: {secretName: s, items: [{key: '', path: ''}]}",
            &[".secret.items[0].key: Required value", ".secret.items[0].path: Required value"],
        ),
        (
            "configMap: {name: c, items: [{key: k, path: ..x, mode: 512}]}",
            &[
                ".configMap.items[0].path: Invalid value: \"..x\": must not start with '..'",
                ".configMap.items[0].mode: Invalid value: 512: must be a number between 0 and 0777 (octal), both \
                 inclusive",
            ],
        ),
        ("configMap: {name: ''}", &[".configMap.name: Required value"]),
        (
            "gitRepo: {repository: '', directory: ../x}",
            &[
                ".gitRepo.repository: Required value",
                ".gitRepo.directory: Invalid value: \"../x\": must not contain '..'",
            ],
        ),
        ("image: {reference: ''}", &[".image.pullPolicy: Required value"]),
    ]);
}

#[test]
fn downward_files_show_one_fact() {
    let item = |fields: &str| format!("downwardAPI: {{items: [{{path: p, {fields}}}]}}");
    sources(&[
        (&item("fieldRef: {apiVersion: v1, fieldPath: metadata.labels}"), &[]),
        (&item("mode: 0"), &[".downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"]),
        (
            &item("fieldRef: {apiVersion: v1, fieldPath: status.podIP}"),
            &[".downwardAPI.fieldRef.fieldPath: Unsupported value: \"status.podIP\": supported values: \
               \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \
               \"metadata.uid\""],
        ),
        (
            &item("resourceFieldRef: {resource: limits.cpu}"),
            &[".downwardAPI.resourceFieldRef.containerName: Required value"],
        ),
        (
            &item(
                "fieldRef: {apiVersion: v1, fieldPath: metadata.name}, \
                 resourceFieldRef: {containerName: main, resource: limits.cpu}",
            ),
            &[".downwardAPI: Invalid value: \"resource\": fieldRef and resourceFieldRef can not be specified \
               simultaneously"],
        ),
    ]);
}

#[test]
fn projections_are_checked() {
    let of = |sources: &str| format!("projected: {{sources: [{sources}]}}");
    sources(&[
        (
            &of("{serviceAccountToken: {path: '', expirationSeconds: 599}}"),
            &[
                ".projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a \
                 duration less than 10 minutes",
                ".projected.path: Required value",
            ],
        ),
        (
            &of("{serviceAccountToken: {path: /t, expirationSeconds: 4294967297}}"),
            &[
                ".projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not \
                 specify a duration larger than 2^32 seconds",
                ".projected.path: Invalid value: \"/t\": must be a relative path",
            ],
        ),
        (
            &of("{secret: {name: s}, configMap: {name: c}}"),
            &[".projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"],
        ),
        (
            &of("{secret: {name: s, items: [{key: k, path: p}]}}, {configMap: {name: c, items: [{key: k, path: p}]}}"),
            &[".projected: Invalid value: \"c\": conflicting duplicate paths"],
        ),
        (
            &of("{clusterTrustBundle: {path: p}}"),
            &[".projected.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified"],
        ),
    ]);
}

#[test]
fn remote_sources_are_checked() {
    let required = |path: &str| format!("{path}: Required value");
    for (fragment, paths) in [
        ("gcePersistentDisk: {pdName: ''}", &[".persistentDisk.pdName"][..]),
        ("awsElasticBlockStore: {volumeID: ''}", &[".awsElasticBlockStore.volumeID"]),
        ("glusterfs: {}", &[".glusterfs.endpoints", ".glusterfs.path"]),
        ("rbd: {}", &[".rbd.monitors", ".rbd.image"]),
        ("cinder: {secretRef: {}}", &[".cinder.volumeID", ".cinder.secretRef.name"]),
        ("cephfs: {}", &[".cephfs.monitors"]),
        ("flexVolume: {}", &[".flexVolume.driver"]),
        ("azureFile: {}", &[".azureFile.secretName", ".azureFile.shareName"]),
        ("vsphereVolume: {}", &[".vsphereVolume.volumePath"]),
        ("photonPersistentDisk: {}", &[".photonPersistentDisk.pdID"]),
        ("portworxVolume: {}", &[".portworxVolume.volumeID"]),
        ("storageos: {secretRef: {}}", &[".storageos.volumeName", ".storageos.secretRef.name"]),
        ("scaleIO: {}", &[".scaleIO.gateway", ".scaleIO.system", ".scaleIO.volumeName"]),
        ("iscsi: {}", &[".iscsi.targetPortal", ".iscsi.iqn"]),
    ] {
        let expected: Vec<String> = paths.iter().map(|path| required(path)).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        sources(&[(fragment, &expected)]);
    }
}

#[test]
fn remote_sources_have_forms() {
    sources(&[
        (
            "gcePersistentDisk: {pdName: d, partition: 256}",
            &[".persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive"],
        ),
        ("iscsi: {targetPortal: p, iqn: 'iqn.2001-04.com.example:storage', lun: 1}", &[]),
        (
            "iscsi: {targetPortal: p, iqn: x, lun: 256, chapAuthSession: true}",
            &[
                ".iscsi.iqn: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa",
                ".iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                ".iscsi.secretRef: Required value",
            ],
        ),
        (
            "iscsi: {targetPortal: p, iqn: eui.1, initiatorName: iqn.x}",
            &[
                ".iscsi.iqn: Invalid value: \"eui.1\": must be valid format",
                ".iscsi.initiatorname: Invalid value: \"iqn.x\": must be valid format",
            ],
        ),
        ("flocker: {}", &[".flocker: Required value: one of datasetName and datasetUUID is required"]),
        (
            "flocker: {datasetName: a/b, datasetUUID: u}",
            &[
                ".flocker: Invalid value: \"resource\": datasetName and datasetUUID can not be specified \
                 simultaneously",
                ".flocker.datasetName: Invalid value: \"a/b\": must not contain '/'",
            ],
        ),
        (
            "quobyte: {registry: a, volume: v}",
            &[
                ".quobyte.registry: Invalid value: \"a\": must be a host:port pair or multiple pairs separated by commas",
            ],
        ),
        ("fc: {}", &[".fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"]),
        (
            "fc: {targetWWNs: [a], wwids: [b]}",
            &[
                ".fc.targetWWNs: Invalid value: []string{\"a\"}: targetWWNs and wwids can not be specified \
                 simultaneously",
                ".fc.lun: Required value: lun is required if targetWWNs is specified",
            ],
        ),
        (
            "flexVolume: {driver: d, options: {x.k8s.io/a: b}}",
            &[".flexVolume.options[x.k8s.io/a]: Invalid value: \"x.k8s.io/a\": kubernetes.io and k8s.io namespaces \
               are reserved"],
        ),
        (
            "azureDisk: {diskName: d, diskURI: x, cachingMode: Some, kind: Managed}",
            &[
                ".azureDisk.cachingMode: Unsupported value: \"Some\": supported values: \"None\", \"ReadOnly\", \
                 \"ReadWrite\"",
                ".azureDisk.diskURI: Unsupported value: \"x\": supported values: \"/subscriptions/{sub-id}/…",
            ],
        ),
        (
            "csi: {driver: '', nodePublishSecretRef: {name: S}}",
            &[
                ".csi.driver: Required value",
                ".csi.driver: Invalid value: \"\": a lowercase RFC 1123 subdomain…",
                ".csi.name: Invalid value: \"S\": a lowercase RFC 1123 subdomain…",
            ],
        ),
        (&format!("csi: {{driver: {}}}", "d".repeat(64)), &[".csi.driver: Too long: may not be more than 63 bytes"]),
    ]);
}

#[test]
fn claims_made_for_pods_are_checked() {
    let claim = |metadata: &str, spec: &str| {
        format!("ephemeral: {{volumeClaimTemplate: {{metadata: {{{metadata}}}, spec: {{{spec}}}}}}}")
    };
    let good = "accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}";
    let at = ".ephemeral.volumeClaimTemplate";
    sources(&[
        (&claim("labels: {a: b}", good), &[]),
        (&claim("name: nn", good), &[&format!("{at}.metadata.name: Forbidden: cannot be set")]),
        (
            &claim("", ""),
            &[
                &format!("{at}.spec.accessModes: Required value: at least 1 access mode is required"),
                &format!("{at}.spec.resources[storage]: Required value"),
            ],
        ),
        (
            &claim("", "accessModes: [Some, ReadWriteOncePod, ReadOnlyMany], resources: {requests: {storage: '0'}}"),
            &[
                &format!(
                    "{at}.spec.accessModes: Unsupported value: \"Some\": supported values: \"ReadOnlyMany\", \
                     \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\""
                ),
                &format!("{at}.spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"),
                &format!("{at}.spec.resources[storage]: Invalid value: \"0\": must be greater than zero"),
            ],
        ),
        (
            &claim("", &format!("{good}, volumeMode: Raw, dataSource: {{kind: X, name: nn}}")),
            &[
                &format!(
                    "{at}.spec.volumeMode: Unsupported value: \"Raw\": supported values: \"Block\", \"Filesystem\""
                ),
                &format!(
                    "{at}.spec.dataSource: Invalid value: \"X\": must be 'PersistentVolumeClaim' when referencing the \
                     default apiGroup"
                ),
            ],
        ),
    ]);
    alone(&[(
        "spec: {volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], \
         resources: {requests: {storage: 1Gi}}}}}}, {name: w, persistentVolumeClaim: {claimName: pod-v}}]}",
        &["spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: \"pod-v\": must not reference a PVC that \
           gets created for an ephemeral volume"],
    )]);
}
