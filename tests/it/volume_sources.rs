//! Every source of a volume that the newest API knows: it is mounted, or it is refused by its name and nobody waits for
//! it for ever.

use std::collections::{BTreeMap, BTreeSet};

use jobdock::pod::environment::Context;
use jobdock::pod::facts::{NodeFacts, Sources};
use jobdock::pod::volumes;
use jobdock::pod::volumes_plan::{VolumeWork, work};
use jobdock::runtime::fake::Fake;
use jobdock::storage::provision;
use jobdock::token::Signer;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Pod, Secret, ServiceAccount, Volume,
    VolumeProjection,
};
use schemars::{JsonSchema, schema_for};

use super::pod_docker::with_house;
use super::pod_docker_volumes::{end, keeper};
use super::pod_house::{from_yaml, pod, tell};
use super::support::cli::{Place, job};
use super::support::image;

/// What is mounted: the field, an example, and what a container finds in it.
const HONOURED: [(&str, &str, &str); 9] = [
    ("configMap", "{name: map}", "key"),
    ("downwardAPI", "{items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}", "name"),
    ("emptyDir", "{}", ""),
    ("ephemeral", EPHEMERAL, ""),
    ("hostPath", "{path: /etc/hostname, type: File}", "/vol/hostPath"),
    ("image", IMAGE, "bin"),
    ("persistentVolumeClaim", "{claimName: claim}", ""),
    ("projected", PROJECTED, "key\ntoken"),
    ("secret", "{secretName: secret}", "key"),
];
const EPHEMERAL: &str = "{volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], storageClassName: standard, \
                         resources: {requests: {storage: 1Mi}}}}}";
/// The image of all tests, which is there.
const IMAGE: &str = "{reference: IMAGE, pullPolicy: Never}";
const PROJECTED: &str = "{sources: [{configMap: {name: map}}, {serviceAccountToken: {path: token}}]}";

/// What is refused: drivers and file servers that only a cluster has.
const REFUSED: [(&str, &str); 21] = [
    ("awsElasticBlockStore", "{volumeID: v}"),
    ("azureDisk", "{diskName: d, diskURI: 'https://blob.example.com/d.vhd'}"),
    ("azureFile", "{secretName: s, shareName: h}"),
    ("cephfs", "{monitors: [m]}"),
    ("cinder", "{volumeID: v}"),
    ("csi", "{driver: d.example.com}"),
    ("fc", "{targetWWNs: [w], lun: 1}"),
    ("flexVolume", "{driver: a/b}"),
    ("flocker", "{datasetName: d}"),
    ("gcePersistentDisk", "{pdName: p}"),
    ("gitRepo", "{repository: r}"),
    ("glusterfs", "{endpoints: e, path: p}"),
    ("iscsi", "{targetPortal: '192.0.2.1:3260', iqn: 'iqn.2001-04.com.example:storage', lun: 0}"),
    ("nfs", "{server: s, path: /p}"),
    ("photonPersistentDisk", "{pdID: p}"),
    ("portworxVolume", "{volumeID: v}"),
    ("quobyte", "{registry: 'r:1', volume: v}"),
    ("rbd", "{monitors: [m], image: i}"),
    ("scaleIO", "{gateway: g, system: s, secretRef: {name: s}, volumeName: v}"),
    ("storageos", "{volumeName: v}"),
    ("vsphereVolume", "{volumePath: p}"),
];

/// Fields of a persistent volume that say where it is, for those that a pod's volume has in another form.
const PERSISTENT: [(&str, &str); 2] =
    [("csi", "{driver: d.example.com, volumeHandle: h}"), ("scaleIO", "{gateway: g, system: s, secretRef: {}}")];

/// The fields of a type in the newest API.
fn fields<T: JsonSchema>() -> BTreeSet<String> {
    let schema = serde_json::to_value(schema_for!(T)).expect("a schema is JSON");
    schema["properties"].as_object().expect("it has fields").keys().cloned().collect()
}

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// What is made for the pod's volumes, or why it cannot be.
fn told(pod: &Pod, sources: &Sources) -> String {
    let node = NodeFacts { pod_dir: "/pods/uid".to_owned(), ..NodeFacts::default() };
    let lines = work(Context { pod, node: &node, pod_ip: "", sources }, "pause").into_iter().map(|item| match item {
        VolumeWork::Impossible { volume, message } => format!("{volume}: {message}"),
        made => format!("{made:?}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn mounting(source: &str) -> Pod {
    pod(&format!("{{metadata: {{name: p, uid: uid}}, spec: {{containers: [], volumes: [{{name: v, {source}}}]}}}}"))
}

#[test]
fn every_source_is_in_the_tables_and_those_that_are_refused_are_named() {
    let known = HONOURED.iter().map(|(field, ..)| *field).chain(REFUSED.iter().map(|(field, _)| *field));
    assert_eq!(names(known.chain(["name"])), fields::<Volume>());
    for (field, source) in REFUSED {
        let expected = format!(
            "v: volumes of type {field} are not supported by jobdock; supported are emptyDir, hostPath, configMap, \
             secret, downwardAPI, projected, persistentVolumeClaim, ephemeral, image"
        );
        assert_eq!(told(&mounting(&format!("{field}: {source}")), &Sources::default()), expected);
    }
}

#[test]
fn every_part_of_a_projected_volume_is_honoured_or_named() {
    let honoured = ["configMap", "downwardAPI", "secret", "serviceAccountToken"];
    let refused = [
        ("clusterTrustBundle", "{path: p, name: n}"),
        ("podCertificate", "{signerName: a/b, keyType: ED25519, credentialBundlePath: p}"),
    ];
    assert_eq!(names(honoured.into_iter().chain(refused.map(|(field, _)| field))), fields::<VolumeProjection>());
    for (field, source) in refused {
        let pod = mounting(&format!("projected: {{sources: [{{{field}: {source}}}]}}"));
        let expected = format!(
            "v: projected volumes with {field} are not supported by jobdock; supported are the sources configMap, \
             secret, downwardAPI and serviceAccountToken"
        );
        assert_eq!(told(&pod, &Sources::default()), expected);
    }
}

/// A claim that is bound to a volume, and that volume.
fn bound(spec: &str) -> Sources {
    let claim: PersistentVolumeClaim = from_yaml(
        "{metadata: {name: c, annotations: {pv.kubernetes.io/bind-completed: 'yes'}}, spec: {volumeName: pv}}",
    );
    let volume: PersistentVolume = from_yaml(&format!("{{metadata: {{name: pv}}, spec: {{{spec}}}}}"));
    Sources {
        claims: BTreeMap::from([("c".to_owned(), claim)]),
        volumes: BTreeMap::from([("pv".to_owned(), volume)]),
        ..Sources::default()
    }
}

const CLAIMED: &str = "persistentVolumeClaim: {claimName: c}";

#[test]
fn every_source_of_a_persistent_volume_is_mounted_or_refused_by_its_name() {
    let said = |spec: &str| told(&mounting(CLAIMED), &bound(spec));
    assert!(said("hostPath: {path: /srv}").contains("Host { volume: \"v\", path: \"/srv\""));
    assert!(said("local: {path: /srv}").contains("Local { volume: \"v\", path: \"/srv\""));
    let own = format!("csi: {{driver: {}, volumeHandle: h}}", jobdock::model::claims::PROVISIONER);
    assert!(said(&own).contains("Claimed { volume: \"v\""), "{}", said(&own));
    let sources = fields::<PersistentVolumeSpec>();
    let others = names([
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
        "hostPath",
        "local",
    ]);
    let examples: BTreeMap<&str, &str> = REFUSED.into_iter().chain(PERSISTENT).collect();
    for field in sources.difference(&others) {
        let source = examples.get(field.as_str()).unwrap_or_else(|| panic!("{field} is not in the tables"));
        let driver = if field == "csi" { " (driver d.example.com)" } else { "" };
        let expected = format!(
            "v: persistentvolume \"pv\" is of type {field}{driver}, which is not supported by jobdock; supported are \
             hostPath, local and volumes of the class of jobdock"
        );
        assert_eq!(
            said(&format!("capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce], {field}: {source}")),
            expected
        );
    }
}

#[test]
fn a_block_device_is_never_mounted_and_a_file_system_is_never_a_device() {
    let using = |how: &str| {
        pod(&format!(
            "{{metadata: {{name: p, uid: uid}}, spec: {{volumes: [{{name: v, {CLAIMED}}}], containers: [{{name: main{how}}}]}}}}"
        ))
    };
    let (mount, device) =
        (", volumeMounts: [{name: v, mountPath: /v}]", ", volumeDevices: [{name: v, devicePath: /dev/v}]");
    let (block, files) = ("volumeMode: Block, local: {path: /dev/sdz}", "local: {path: /srv}");
    for (how, spec, expected) in [
        (mount, block, "v: volume v has volumeMode Block, but is specified in volumeMounts"),
        (device, files, "v: volume v has volumeMode Filesystem, but is specified in volumeDevices"),
        (device, block, "v: block volumes are not supported by jobdock, only volumeMode Filesystem"),
        ("", block, "v: block volumes are not supported by jobdock, only volumeMode Filesystem"),
    ] {
        assert_eq!(told(&using(how), &bound(spec)), expected);
    }
    // A device of an init container counts, too.
    let init = format!(
        "{{metadata: {{name: p, uid: uid}}, spec: {{volumes: [{{name: v, {CLAIMED}}}], containers: [{{name: main}}], initContainers: [{{name: i{device}}}]}}}}"
    );
    assert!(told(&pod(&init), &bound(files)).contains("specified in volumeDevices"));
}

#[tokio::test]
async fn host_paths_are_made_or_checked_in_upstreams_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("dir")).expect("it can be made");
    std::fs::write(at("file"), "").expect("it can be written");
    let _listening = std::os::unix::net::UnixListener::bind(at("socket")).expect("it can be bound");
    let engine = Fake::new();
    for (path, check, is_not) in [
        (at("dir"), "", ""),
        (at("new"), "", ""),
        (at("deep/new"), "DirectoryOrCreate", ""),
        (at("dir"), "DirectoryOrCreate", ""),
        (at("dir"), "Directory", ""),
        (at("new-file"), "FileOrCreate", ""),
        (at("file"), "File", ""),
        (at("socket"), "Socket", ""),
        ("/dev/null".into(), "CharDevice", ""),
        (at("file"), "DirectoryOrCreate", "a directory"),
        (at("file"), "Directory", "a directory"),
        (at("none"), "Directory", "a directory"),
        (at("dir"), "FileOrCreate", "a file"),
        (at("none"), "File", "a file"),
        (at("file"), "Socket", "a socket file"),
        (at("file"), "CharDevice", "a character device"),
        ("/dev/null".into(), "BlockDevice", "a block device"),
    ] {
        let shown = path.display().to_string();
        let work = VolumeWork::Host { volume: "v".to_owned(), path, check: check.to_owned() };
        let outcome = volumes::prepare(&engine, dir.path(), vec![work]).await.map_err(|error| error.to_string());
        let expected = match is_not {
            "" => Ok(()),
            what => Err(format!("hostPath type check failed: {shown} is not {what}")),
        };
        assert_eq!(outcome, expected, "{check}");
    }
    assert!(at("deep/new").is_dir() && at("new-file").is_file() && !at("none").exists());
}

#[test]
fn a_run_ends_where_a_volume_of_a_pod_can_never_be_had() {
    let place = Place::fake();
    let mounting = |name: &str, volume: &str, use_: &str| {
        let text = job(name, "", "echo never")
            .replace("restartPolicy: Never", &format!("restartPolicy: Never\n      volumes: [{{name: v, {volume}}}]"));
        text.replace("command: [sh, -c]", &format!("{use_}\n          command: [sh, -c]"))
    };
    let mount = "volumeMounts: [{name: v, mountPath: /v}]";
    let mut jobs: Vec<String> = REFUSED
        .iter()
        .map(|(field, source)| mounting(&field.to_lowercase(), &format!("{field}: {source}"), mount))
        .collect();
    let claim = |name: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}}}\nspec: {{accessModes: [ReadWriteOnce], \
             resources: {{requests: {{storage: 1Mi}}}}{more}}}\n"
        )
    };
    jobs.push(claim("block", ", volumeMode: Block"));
    jobs.push(mounting(
        "block",
        "persistentVolumeClaim: {claimName: block}",
        "volumeDevices: [{name: v, devicePath: /dev/v}]",
    ));
    jobs.push(claim("files", ""));
    jobs.push(mounting(
        "files",
        "persistentVolumeClaim: {claimName: files}",
        "volumeDevices: [{name: v, devicePath: /dev/v}]",
    ));
    place.file("jobs.yaml", &jobs.join("---\n"));
    let ended = place.jobdock(&["run", "jobs.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    for (field, _) in REFUSED {
        let name = field.to_lowercase();
        assert!(ended.stderr.contains(&format!("Job default/{name} cannot start: deleted after")), "{ended:?}");
        assert!(ended.stderr.contains(&format!("volumes of type {field} are not supported by jobdock")), "{ended:?}");
    }
    for words in [
        "persistentvolumeclaim \"block\": failed to provision volume with StorageClass \"standard\": block volumes are \
         not supported by jobdock",
        "volume v has volumeMode Filesystem, but is specified in volumeDevices",
    ] {
        assert!(ended.stderr.contains(words), "{words}\n{}", ended.stderr);
    }
    assert!(!ended.stdout.contains("never"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_source_that_is_honoured_is_seen_in_a_container() {
    with_house(|house, engine| async move {
        let mut house = house.lock().await;
        house.sign(Signer::fresh().expect("a key")).await;
        house.create(provision::default_class()).await;
        house.create::<ServiceAccount>(from_yaml("{metadata: {name: robot, namespace: default}}")).await;
        house.create::<ConfigMap>(from_yaml("{metadata: {name: map, namespace: default}, data: {key: a}}")).await;
        house.create::<Secret>(from_yaml("{metadata: {name: secret, namespace: default}, data: {key: YQ==}}")).await;
        let claim = "{metadata: {name: claim, namespace: default}, spec: {accessModes: [ReadWriteOnce], storageClassName: \
                     standard, resources: {requests: {storage: 1Mi}}}}";
        house.create::<PersistentVolumeClaim>(from_yaml(claim)).await;
        let controller = keeper(&house.store, &engine);
        let each = |line: &dyn Fn(&str, &str) -> String| {
            HONOURED.map(|(field, source, _)| line(field, &source.replace("IMAGE", image::NAME))).join(", ")
        };
        let volumes = each(&|field, source| format!("{{name: {}, {field}: {source}}}", field.to_lowercase()));
        let mounts = each(&|field, _| format!("{{name: {}, mountPath: /vol/{field}}}", field.to_lowercase()));
        let object = house
            .pod(&format!(
                "{{metadata: {{name: all}}, spec: {{restartPolicy: Never, serviceAccountName: robot, volumes: [{volumes}], \
                 containers: [{{name: main, image: {}, imagePullPolicy: Never, volumeMounts: [{mounts}], command: [sh, -c, \
                 'for dir in /vol/*; do echo $dir; ls $dir; done']}}]}}}}",
                image::NAME
            ))
            .await;
        let pod = house.until_over("all").await;
        let log = house.log(&object, "main", 0).await;
        for (field, _, found) in HONOURED {
            let shown = format!("/vol/{field}\n{found}");
            assert!(log.contains(shown.trim_end()), "{shown}\nis missing in\n{log}\n{}", tell(Some(&pod)));
        }
        house.delete("all", Some(0)).await;
        house.until_gone("all").await;
        end(controller).await;
    })
    .await;
}
