//! Storage on a real engine: claims give volumes that pods share and that outlive them, and what ConfigMaps say reaches
//! pods that run.

use std::sync::Arc;

use jiff::Timestamp;
use jobdock::gc;
use jobdock::model::deletion::{self, Deletion, Propagation};
use jobdock::model::object::Key;
use jobdock::model::strategy::Strategy;
use jobdock::runtime::Runtime;
use jobdock::runtime::docker::Docker;
use jobdock::storage::{self, provision};
use jobdock::store::{Expected, Store, Write};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::pod_docker::with_house;
use super::pod_house::{House, NODE, from_yaml};
use super::support::image;

/// A pod of one container that runs a shell text with one volume at `/data`.
fn mounting(name: &str, script: &str, volume: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 0, volumes: [{{name: data, \
         {volume}}}], containers: [{{name: main, image: {}, imagePullPolicy: Never, command: [sh, -c, {}], volumeMounts: \
         [{{name: data, mountPath: /data}}]}}]}}}}",
        image::NAME,
        serde_json::to_string(script).expect("a text is JSON")
    )
}

/// The controller of claims, at work until the token is cancelled.
pub fn keeper(store: &Store, engine: &Arc<Docker>) -> (JoinHandle<()>, CancellationToken) {
    let stop = CancellationToken::new();
    let engine = Arc::clone(engine) as Arc<dyn Runtime>;
    (tokio::spawn(storage::run(store.clone(), Some(engine), NODE.to_owned(), stop.clone())), stop)
}

pub async fn end((task, stop): (JoinHandle<()>, CancellationToken)) {
    stop.cancel();
    task.await.expect("the controller ends in order");
}

async fn claim(house: &House, name: &str) {
    let mut claim: PersistentVolumeClaim = from_yaml(&format!(
        "{{metadata: {{name: {name}, namespace: default}}, spec: {{accessModes: [ReadWriteMany], storageClassName: standard, \
         resources: {{requests: {{storage: 1Mi}}}}}}}}"
    ));
    Strategy::default(&mut claim);
    claim.prepare_create();
    house.create(claim).await;
}

fn phase(house: &House, name: &str) -> Option<String> {
    let object = house.store.get(&Key::of::<PersistentVolumeClaim>("default", name)).expect("the store reads")?;
    object.typed::<PersistentVolumeClaim>()?.status.clone()?.phase
}

async fn delete_claim(house: &House, name: &str) {
    let key = Key::of::<PersistentVolumeClaim>("default", name);
    let object = house.store.get(&key).expect("the store reads").expect("the claim is there");
    let expected = Expected::Revision(object.revision());
    let deletion = deletion::delete(&object, None, Propagation::Background, Timestamp::now());
    let Deletion::Mark(object) = deletion else { panic!("a claim is protected: {deletion:?}") };
    house.store.commit(vec![Write::Update { object, expected }]).await.expect("it can be marked");
}

fn volumes(house: &House) -> usize {
    let query = jobdock::store::Query::all(jobdock::model::kind::Kind::of::<PersistentVolume>());
    house.store.list(&query).expect("the store reads").objects.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_shared_by_pods_outlives_them_and_a_restart_and_goes_when_nothing_uses_it() {
    with_house(|house, engine| async move {
        let mut house = house.lock().await;
        house.create(provision::default_class()).await;
        let controller = keeper(&house.store, &engine);
        // Held back until there is such a claim, and told so.
        let shared = "persistentVolumeClaim: {claimName: shared}";
        house.pod(&mounting("writer", "echo kept > /data/a; until test -e /data/b; do sleep 0.1; done", shared)).await;
        let missing = "Warning FailedScheduling 0/1 nodes are available: persistentvolumeclaim \"shared\" not found. \
                       preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
        house.eventually(missing, || async { house.events("writer").contains(&missing.to_owned()) }).await;
        claim(&house, "shared").await;
        house.until_phase("writer", "Running").await;
        assert_eq!(phase(&house, "shared").as_deref(), Some("Bound"));
        // Another pod at the same time sees what the first wrote, as whoever it runs.
        let reader = mounting("reader", "until test -e /data/a; do sleep 0.1; done; cp /data/a /data/b", shared);
        house.pod(&reader.replace("restartPolicy", "securityContext: {runAsUser: 1000}, restartPolicy")).await;
        house.until_phase("reader", "Succeeded").await;
        house.until_phase("writer", "Succeeded").await;
        for name in ["writer", "reader"] {
            house.delete(name, Some(0)).await;
            house.until_gone(name).await;
        }
        // Everything of ours begins anew; the sweep at the start leaves the volume alone.
        house.end().await;
        end(controller).await;
        house.begin();
        let controller = keeper(&house.store, &engine);
        house.pod(&mounting("late", "grep -q kept /data/a && grep -q kept /data/b && sleep 600", shared)).await;
        house.until_phase("late", "Running").await;
        // Deleted while a pod uses it, it stays until the pod is gone; then the engine's volume goes too.
        delete_claim(&house, "shared").await;
        assert_eq!(engine.volumes().await.expect("the engine tells").len(), 1);
        assert_eq!(phase(&house, "shared").as_deref(), Some("Bound"));
        house.delete("late", Some(0)).await;
        house.until_empty().await;
        house
            .eventually("claim and volume are gone", || async {
                phase(&house, "shared").is_none() && volumes(&house) == 0
            })
            .await;
        assert!(engine.volumes().await.expect("the engine tells").is_empty());
        end(controller).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ephemeral_claim_is_the_pods_and_gives_it_a_volume() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        house.create(provision::default_class()).await;
        let controller = keeper(&house.store, &engine);
        let volume = "ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], storageClassName: standard, \
                      resources: {requests: {storage: 1Mi}}}}}";
        house.pod(&mounting("own", "echo a > /data/a && cat /data/a", volume)).await;
        house.until_phase("own", "Succeeded").await;
        assert_eq!(phase(&house, "own-data").as_deref(), Some("Bound"));
        let stop = CancellationToken::new();
        let collector = tokio::spawn(gc::run(house.store.clone(), stop.clone()));
        assert_eq!(engine.volumes().await.expect("the engine tells").len(), 1);
        house.delete("own", Some(0)).await;
        house.until_gone("own").await;
        house.until_empty().await;
        house.eventually("its claim is gone", || async { phase(&house, "own-data").is_none() }).await;
        end((collector, stop)).await;
        end(controller).await;
    })
    .await;
}

/// A volume that somebody entered, of 1 Gi and without a class.
fn entered(name: &str, spec: &str) -> PersistentVolume {
    let mut volume: PersistentVolume = from_yaml(&format!(
        "{{metadata: {{name: {name}}}, spec: {{accessModes: [ReadWriteOnce], capacity: {{storage: 1Gi}}, \
         persistentVolumeReclaimPolicy: Retain, {spec}}}}}"
    ));
    Strategy::default(&mut volume);
    volume.prepare_create();
    volume
}

/// A claim of 1 Gi without a class, with these further fields.
async fn claim_entered(house: &House, name: &str, spec: &str) {
    let mut claim: PersistentVolumeClaim = from_yaml(&format!(
        "{{metadata: {{name: {name}, namespace: default}}, spec: {{accessModes: [ReadWriteOnce], storageClassName: '', \
         resources: {{requests: {{storage: 1Gi}}}}{spec}}}}}"
    ));
    Strategy::default(&mut claim);
    claim.prepare_create();
    house.create(claim).await;
}

fn volume_phase(house: &House, name: &str) -> Option<String> {
    let object = house.store.get(&Key::of::<PersistentVolume>("", name)).expect("the store reads")?;
    object.typed::<PersistentVolume>()?.status.clone()?.phase
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_that_somebody_entered_are_bound_used_and_kept() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        let controller = keeper(&house.store, &engine);
        let dir = |name: &str| house.dir().join(name).display().to_string();
        std::fs::create_dir_all(dir("disk")).expect("it can be made");
        std::fs::write(house.dir().join("disk/a"), "from the disk\n").expect("it can be written");
        let node = "nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: \
                    In, values: [node]}]}]}}";
        house.create(entered("path", &format!("hostPath: {{path: {}, type: DirectoryOrCreate}}", dir("path")))).await;
        let local = |path: &str| format!("local: {{path: {}}}, {node}", dir(path));
        let kept = format!("claimRef: {{namespace: default, name: disk}}, {}", local("disk"));
        house.create(entered("disk", &kept)).await;
        house.create(entered("gone", &local("nowhere"))).await;
        claim_entered(&house, "path", ", volumeName: path").await;
        claim_entered(&house, "disk", "").await;
        claim_entered(&house, "gone", ", volumeName: gone").await;
        let claimed = |name: &str| format!("persistentVolumeClaim: {{claimName: {name}}}");
        let write = mounting("writer", "echo kept > /data/a", &claimed("path"));
        house.pod(&write).await;
        house.until_phase("writer", "Succeeded").await;
        assert_eq!(std::fs::read_to_string(dir("path/a")).expect("it is on the host"), "kept\n");
        let object = house.pod(&mounting("reader", "cat /data/a", &claimed("disk"))).await;
        house.until_phase("reader", "Succeeded").await;
        assert_eq!(house.log(&object, "main", 0).await, "from the disk\n");
        house.pod(&mounting("lost", "true", &claimed("gone"))).await;
        let words = format!("Warning FailedMount MountVolume.SetUp failed for volume \"data\" : path \"{}\" does not exist", dir("nowhere"));
        house.eventually(&words, || async { house.events("lost").contains(&words) }).await;
        // Only what jobdock made is ever removed.
        for name in ["writer", "reader", "lost"] {
            house.delete(name, Some(0)).await;
            house.until_gone(name).await;
        }
        delete_claim(&house, "path").await;
        house.eventually("it is released", || async { volume_phase(&house, "path").as_deref() == Some("Released") }).await;
        assert!(phase(&house, "path").is_none() && volume_phase(&house, "disk").as_deref() == Some("Bound"));
        assert!(std::fs::exists(dir("path/a")).expect("it can be seen"));
        end(controller).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_of_a_class_that_retains_stays_when_its_claim_goes() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        let retaining = StorageClass { reclaim_policy: Some("Retain".to_owned()), ..provision::default_class() };
        house.create(retaining).await;
        let controller = keeper(&house.store, &engine);
        claim(&house, "kept").await;
        house.pod(&mounting("writer", "echo a > /data/a", "persistentVolumeClaim: {claimName: kept}")).await;
        house.until_phase("writer", "Succeeded").await;
        house.delete("writer", Some(0)).await;
        house.until_gone("writer").await;
        let claim_of =
            house.store.get(&Key::of::<PersistentVolumeClaim>("default", "kept")).expect("readable").expect("there");
        let volume = format!("pvc-{}", claim_of.uid());
        delete_claim(&house, "kept").await;
        house
            .eventually("it is released", || async { volume_phase(&house, &volume).as_deref() == Some("Released") })
            .await;
        let names: Vec<String> =
            engine.volumes().await.expect("the engine tells").into_iter().map(|one| one.name).collect();
        assert_eq!(names, [format!("jobdock-{volume}")]);
        end(controller).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_config_map_reaches_a_pod_that_runs() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let map = |text: &str| {
            from_yaml::<ConfigMap>(&format!("{{metadata: {{name: map, namespace: default}}, data: {{key: {text}}}}}"))
        };
        house.create(map("old")).await;
        let script = "grep old /data/key || exit 1; until grep new /data/key; do sleep 0.1; done";
        let object = house.pod(&mounting("follower", script, "configMap: {name: map}")).await;
        // Running says that the program was started, not how far it is.
        house.eventually("the old key is read", || async { house.said(&object, "main", 0).await == "old\n" }).await;
        house.replace(Key::of::<ConfigMap>("default", "map"), map("new")).await;
        house.until_phase("follower", "Succeeded").await;
        house.delete("follower", Some(0)).await;
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_writes_more_than_it_may_is_evicted() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let fill = "dd if=/dev/zero of=$0 bs=1M count=2; sleep 600";
        let volume = mounting("volume", &fill.replace("$0", "/data/a"), "emptyDir: {sizeLimit: 1Mi}");
        house.pod(&volume).await;
        let own = mounting("own", &fill.replace("$0", "/tmp/a"), "emptyDir: {}");
        let limited = own.replace("volumeMounts", "resources: {limits: {ephemeral-storage: 1Mi}}, volumeMounts");
        house.pod(&limited).await;
        for (name, told) in [
            ("volume", "Usage of EmptyDir volume \"data\" exceeds the limit \"1Mi\". "),
            ("own", "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "),
        ] {
            let pod = house.until_phase(name, "Failed").await;
            let status = pod.status.expect("it has a status");
            assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some(told)));
            let target = status.conditions.into_iter().flatten().find(|one| one.type_ == "DisruptionTarget");
            assert_eq!(
                target, None,
                "as upstream: its own doing, which no podFailurePolicy may overlook as a disruption"
            );
            assert!(house.events(name).contains(&format!("Warning Evicted {told}")), "{:?}", house.events(name));
            house.delete(name, Some(0)).await;
        }
        house.until_empty().await;
    })
    .await;
}
