//! ResourceQuotas over the API: who is let in, what is counted.

use std::sync::Arc;
use std::time::Duration;

use jobdock::quota;
use jobdock::store::Store;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::face::Face;

const QUOTA: &str = "/api/v1/namespaces/default/resourcequotas/q";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// How long a test waits for what must come; only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A face whose quotas are counted.
async fn counted(hard: Value) -> (Arc<Face>, DropGuard) {
    let store = Store::in_memory().unwrap();
    let face = Arc::new(Face::over(store.clone()).await);
    let stop = CancellationToken::new();
    tokio::spawn(quota::run(store, stop.clone()));
    let made = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    face.post("/api/v1/namespaces/default/resourcequotas", made).await.is(201);
    (face, stop.drop_guard())
}

async fn until_used(face: &Face, resource: &str, wanted: &str) {
    let waiting = async {
        while face.get(QUOTA).await.json()["status"]["used"][resource] != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{resource} is never {wanted}");
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_at_the_same_time_never_take_more_than_a_quota_has() {
    let (face, _stop) = counted(json!({"configmaps": "5", "count/secrets": "0"})).await;
    until_used(&face, "configmaps", "0").await;
    let creates = (0..40).map(|index| {
        let face = Arc::clone(&face);
        tokio::spawn(async move { face.post(MAPS, map(&format!("m{index}"))).await.code })
    });
    let mut codes = Vec::new();
    for create in creates {
        codes.push(create.await.unwrap());
    }
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 5, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 403).count(), 35, "{codes:?}");
    assert_eq!(face.get(QUOTA).await.json()["status"]["used"]["configmaps"], "5");
}

#[tokio::test]
async fn room_comes_back_with_what_is_deleted_and_goes_with_what_the_quota_takes_away() {
    let (face, _stop) = counted(json!({"configmaps": "1"})).await;
    until_used(&face, "configmaps", "0").await;
    face.post(&format!("{MAPS}?dryRun=All"), map("tried")).await.is(201);
    assert_eq!(face.get(QUOTA).await.json()["status"]["used"]["configmaps"], "0", "a dry run takes nothing");
    face.post(MAPS, map("one")).await.is(201);
    assert_eq!(face.get(QUOTA).await.json()["status"]["used"]["configmaps"], "1", "it is charged at once");
    face.post(MAPS, map("two")).await.fails(
        403,
        "Forbidden",
        "configmaps \"two\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1",
    );
    let applied = "{apiVersion: v1, kind: ConfigMap, metadata: {name: two}}";
    let apply = format!("{MAPS}/two?fieldManager=me");
    let headers = [("content-type", "application/apply-patch+yaml")];
    assert_eq!(face.send(http::Method::PATCH, &apply, &headers, applied).await.code, 403);
    face.delete(&format!("{MAPS}/one")).await.is(200);
    until_used(&face, "configmaps", "0").await;
    face.patch(QUOTA, "merge-patch", json!({"spec": {"hard": {"configmaps": "0", "secrets": "3"}}})).await.is(200);
    until_used(&face, "secrets", "0").await;
    assert_eq!(face.post(MAPS, map("two")).await.code, 403);
    face.delete(QUOTA).await.is(200);
    face.post(MAPS, map("two")).await.is(201);
}

#[tokio::test]
async fn claims_are_held_to_what_a_namespace_may_store() {
    let of_class = "fast.storageclass.storage.k8s.io/persistentvolumeclaims";
    let (face, _stop) = counted(json!({"requests.storage": "3Gi", of_class: "1"})).await;
    until_used(&face, of_class, "0").await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = |name: &str, size: &str| {
        json!({"metadata": {"name": name}, "spec": {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"],
               "resources": {"requests": {"storage": size}}}})
    };
    face.post(claims, claim("one", "1Gi")).await.is(201);
    let why = "persistentvolumeclaims \"two\" is forbidden: exceeded quota: q, requested: \
               fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,requests.storage=3Gi, used: \
               fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,requests.storage=1Gi, limited: \
               fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,requests.storage=3Gi";
    face.post(claims, claim("two", "3Gi")).await.fails(403, "Forbidden", why);
    until_used(&face, "requests.storage", "1Gi").await;
}

#[tokio::test]
async fn a_pod_that_is_resized_and_a_claim_that_grows_are_held_to_their_quotas() {
    let (face, _stop) = counted(json!({"requests.cpu": "2", "requests.storage": "3Gi"})).await;
    until_used(&face, "requests.cpu", "0").await;
    let of = |cpu: &str| json!({"name": "a", "image": "i", "resources": {"requests": {"cpu": cpu}}});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"restartPolicy": "Never", "containers": [of("1")]}});
    face.post("/api/v1/namespaces/default/pods", pod).await.is(201);
    let resize = "/api/v1/namespaces/default/pods/p/resize";
    let grown = |cpu: &str| json!({"spec": {"containers": [of(cpu)]}});
    face.patch(resize, "strategic-merge-patch", grown("1500m")).await.is(200);
    assert_eq!(face.get(QUOTA).await.json()["status"]["used"]["requests.cpu"], "1500m", "it is charged at once");
    let why = "pods \"p\" is forbidden: exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=1500m, limited: \
               requests.cpu=2";
    face.patch(resize, "strategic-merge-patch", grown("2500m")).await.fails(403, "Forbidden", why);
    face.patch(resize, "strategic-merge-patch", grown("500m")).await.is(200);
    until_used(&face, "requests.cpu", "500m").await;

    let class = json!({"metadata": {"name": "fast"}, "provisioner": "x.io/y", "allowVolumeExpansion": true});
    face.post("/apis/storage.k8s.io/v1/storageclasses", class).await.is(201);
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let of = |size: &str| json!({"resources": {"requests": {"storage": size}}});
    let mut claim = json!({"metadata": {"name": "c"}, "spec": of("1Gi")});
    claim["spec"]["storageClassName"] = json!("fast");
    claim["spec"]["accessModes"] = json!(["ReadWriteOnce"]);
    face.post(claims, claim).await.is(201);
    let claim = format!("{claims}/c");
    let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    face.patch(&format!("{claim}/status"), "merge-patch", bound).await.is(200);
    face.patch(&claim, "merge-patch", json!({"spec": of("2Gi")})).await.is(200);
    let why = "persistentvolumeclaims \"c\" is forbidden: exceeded quota: q, requested: requests.storage=2Gi, used: \
               requests.storage=2Gi, limited: requests.storage=3Gi";
    face.patch(&claim, "merge-patch", json!({"spec": of("4Gi")})).await.fails(403, "Forbidden", why);
}
