//! Storage on a real engine: claims give volumes that pods share and that outlive them, and what ConfigMaps say reaches
//! pods that run.

use std::sync::Arc;

use jiff::Timestamp;
use jobdock::model::deletion::{self, Deletion, Propagation};
use jobdock::model::object::Key;
use jobdock::model::strategy::Strategy;
use jobdock::runtime::Runtime;
use jobdock::runtime::docker::Docker;
use jobdock::storage::{self, provision};
use jobdock::store::{Expected, Store, Write};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim};
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
fn keeper(store: &Store, engine: &Arc<Docker>) -> (JoinHandle<()>, CancellationToken) {
    let stop = CancellationToken::new();
    let engine = Arc::clone(engine) as Arc<dyn Runtime>;
    (tokio::spawn(storage::run(store.clone(), Some(engine), NODE.to_owned(), stop.clone())), stop)
}

async fn end((task, stop): (JoinHandle<()>, CancellationToken)) {
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
