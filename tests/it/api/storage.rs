//! Claims over the API: the class that a claim gets, and whether it may grow.

use serde_json::{Value, json};

use super::face::Face;

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";

async fn class(face: &Face, name: &str, default: bool, grows: bool) {
    let annotation = json!({"storageclass.kubernetes.io/is-default-class": default.to_string()});
    let class = json!({"metadata": {"name": name, "annotations": annotation}, "provisioner": "p",
                       "allowVolumeExpansion": grows});
    face.post(CLASSES, class).await.is(201);
}

fn claim(name: &str, more: Value) -> Value {
    let mut claim = json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    json_patch::merge(&mut claim["spec"], &more);
    claim
}

#[tokio::test]
async fn a_claim_that_names_no_class_gets_the_default_one() {
    let face = Face::new().await;
    let none = face.post(CLAIMS, claim("none", json!({}))).await.is(201);
    assert_eq!(none["spec"]["storageClassName"], Value::Null, "there is no default");
    class(&face, "other", false, false).await;
    class(&face, "usual", true, false).await;
    let made = face.post(CLAIMS, claim("plain", json!({}))).await.is(201);
    assert_eq!(made["spec"]["storageClassName"], "usual");
    let made = face.post(CLAIMS, claim("named", json!({"storageClassName": "other"}))).await.is(201);
    assert_eq!(made["spec"]["storageClassName"], "other");
    let made = face.post(CLAIMS, claim("by-hand", json!({"storageClassName": ""}))).await.is(201);
    assert_eq!(made["spec"]["storageClassName"], "");
}

#[tokio::test]
async fn a_claim_grows_only_once_bound_and_where_its_class_lets_it() {
    let face = Face::new().await;
    class(&face, "stiff", false, false).await;
    class(&face, "soft", false, true).await;
    let more = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    for name in ["stiff", "soft"] {
        face.post(CLAIMS, claim(name, json!({"storageClassName": name}))).await.is(201);
        let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        face.patch(&format!("{CLAIMS}/{name}/status"), "merge-patch", bound).await.is(200);
    }
    let why = "persistentvolumeclaims \"stiff\" is forbidden: only dynamically provisioned pvc can be resized and the \
               storageclass that provisions the pvc must support resize";
    face.patch(&format!("{CLAIMS}/stiff"), "merge-patch", more.clone()).await.fails(403, "Forbidden", why);
    let same = json!({"metadata": {"labels": {"a": "b"}}});
    face.patch(&format!("{CLAIMS}/stiff"), "merge-patch", same).await.is(200);
    let grown = face.patch(&format!("{CLAIMS}/soft"), "merge-patch", more).await.is(200);
    assert_eq!(grown["spec"]["resources"]["requests"]["storage"], "2Gi");
}

#[tokio::test]
async fn a_claim_keeps_to_the_limits_of_its_namespace() {
    let face = Face::new().await;
    class(&face, "soft", false, true).await;
    let limit = json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}});
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [limit]}});
    face.post("/api/v1/namespaces/default/limitranges", range).await.is(201);
    let sized = |name: &str, size: &str| {
        claim(name, json!({"storageClassName": "soft", "resources": {"requests": {"storage": size}}}))
    };
    let refused = |name: &str, why: &str| format!("persistentvolumeclaims \"{name}\" is forbidden: {why}");
    let small = "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi";
    face.post(CLAIMS, sized("small", "1Mi")).await.fails(403, "Forbidden", &refused("small", small));
    let large = "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi";
    face.post(CLAIMS, sized("c", "3Gi")).await.fails(403, "Forbidden", &refused("c", large));
    face.post(CLAIMS, sized("c", "1Gi")).await.is(201);
    let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    face.patch(&format!("{CLAIMS}/c/status"), "merge-patch", bound).await.is(200);
    let more = json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}});
    face.patch(&format!("{CLAIMS}/c"), "merge-patch", more).await.fails(403, "Forbidden", &refused("c", large));
}
