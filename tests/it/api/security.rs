//! Pod Security Standards over the API: who is refused, who is warned, what a namespace's labels may be.

use http::Method;
use serde_json::{Value, json};

use super::face::{Face, JOBS, job};

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEFAULT: &str = "/api/v1/namespaces/default";
const HOST: &str = "host namespaces (hostPID=true)";
const PLAIN: &str = "allowPrivilegeEscalation != false (container \"main\" must set \
    securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"main\" must set \
    securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"main\" must set \
    securityContext.runAsNonRoot=true), seccompProfile (pod or container \"main\" must set \
    securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";

/// A face whose namespace has these labels, of `pod-security.kubernetes.io/`.
async fn labelled(labels: &[(&str, &str)]) -> Face {
    let face = Face::new().await;
    label(&face, DEFAULT, labels).await.is(200);
    face
}

async fn label(face: &Face, path: &str, labels: &[(&str, &str)]) -> super::face::Reply {
    let all: serde_json::Map<String, Value> =
        labels.iter().map(|(mode, value)| (format!("pod-security.kubernetes.io/{mode}"), json!(value))).collect();
    face.patch(path, "merge-patch", json!({"metadata": {"labels": all}})).await
}

fn pod(name: &str, more: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"restartPolicy": "Never",
                         "containers": [{"name": "main", "image": "busybox"}]}});
    json_patch::merge(&mut pod["spec"], &more);
    pod
}

fn would(standard: &str, what: &str) -> String {
    let escaped = format!("would violate PodSecurity \"{standard}\": {what}").replace('"', "\\\"");
    format!("299 - \"{escaped}\"")
}

#[tokio::test]
async fn a_pod_that_breaks_what_is_enforced_is_refused_however_it_comes() {
    let face = labelled(&[("enforce", "baseline")]).await;
    let why = format!("pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": {HOST}");
    let bad = pod("p", json!({"hostPID": true}));
    let refused = face.post(PODS, bad.clone()).await.fails(403, "Forbidden", &why);
    assert_eq!(refused["details"], json!({"name": "p", "kind": "pods"}));
    face.post(&format!("{PODS}?dryRun=All"), bad.clone()).await.fails(403, "Forbidden", &why);
    let mut applied = bad;
    applied["apiVersion"] = json!("v1");
    applied["kind"] = json!("Pod");
    let apply = format!("{PODS}/p?fieldManager=me");
    let headers = [("content-type", "application/apply-patch+yaml")];
    face.send(Method::PATCH, &apply, &headers, applied.to_string()).await.fails(403, "Forbidden", &why);
    let made = face.post(PODS, pod("p", json!({}))).await;
    made.is(201);
    assert!(made.warnings().is_empty());
}

#[tokio::test]
async fn who_makes_a_pod_or_what_makes_pods_is_warned() {
    let face = labelled(&[("warn", "restricted"), ("warn-version", "v1.30")]).await;
    let warning = would("restricted:v1.30", PLAIN);
    let made = face.post(PODS, pod("p", json!({}))).await;
    made.is(201);
    assert_eq!(made.warnings(), [&warning]);
    let made = face.post(JOBS, job("j")).await;
    made.is(201);
    assert_eq!(made.warnings(), [&warning]);
    let cron = json!({"metadata": {"name": "c"}, "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": job("j")["spec"]}}});
    let made = face.post("/apis/batch/v1/namespaces/default/cronjobs", cron).await;
    made.is(201);
    assert_eq!(made.warnings(), [&warning]);
    let template = json!({"metadata": {"name": "t"}, "template": {"spec": pod("p", json!({}))["spec"]}});
    let made = face.post("/api/v1/namespaces/default/podtemplates", template).await;
    made.is(201);
    assert_eq!(made.warnings(), [&warning]);
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let job = face.patch(&format!("{JOBS}/j"), "merge-patch", labels.clone()).await;
    assert_eq!(job.warnings(), [&warning], "as upstream, at every update");
    assert!(face.patch(&format!("{PODS}/p"), "merge-patch", labels).await.warnings().is_empty());
    let image = json!({"spec": {"containers": [{"name": "main", "image": "alpine"}]}});
    assert_eq!(face.patch(&format!("{PODS}/p"), "strategic-merge-patch", image).await.warnings(), [&warning]);
    let status = json!({"status": {"message": "x"}});
    assert!(face.patch(&format!("{PODS}/p/status"), "merge-patch", status).await.warnings().is_empty());
}

#[tokio::test]
async fn a_job_is_not_held_to_what_is_enforced_its_pods_are() {
    let face = labelled(&[("enforce", "restricted")]).await;
    let made = face.post(JOBS, job("j")).await;
    made.is(201);
    assert!(made.warnings().is_empty());
}

#[tokio::test]
async fn an_update_that_stays_within_is_let_be_and_one_of_the_image_is_looked_at() {
    let face = labelled(&[]).await;
    face.post(PODS, pod("p", json!({"hostPID": true}))).await.is(201);
    label(&face, DEFAULT, &[("enforce", "baseline")]).await.is(200);
    let path = format!("{PODS}/p");
    face.patch(&path, "merge-patch", json!({"metadata": {"labels": {"a": "b"}}})).await.is(200);
    let image = json!({"spec": {"containers": [{"name": "main", "image": "alpine"}]}});
    let why = format!("pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": {HOST}");
    face.patch(&path, "strategic-merge-patch", image).await.fails(403, "Forbidden", &why);
}

#[tokio::test]
async fn the_labels_of_a_namespace_are_checked_and_its_pods_looked_at() {
    let face = Face::new().await;
    let error = "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted";
    let body = json!({"metadata": {"name": "n", "labels": {"pod-security.kubernetes.io/enforce": "strict"}}});
    let status = face.post("/api/v1/namespaces", body).await;
    let status = status.fails(422, "Invalid", &format!("Namespace \"n\" is invalid: {error}"));
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.labels[pod-security.kubernetes.io/enforce]");
    let status = label(&face, DEFAULT, &[("enforce", "strict")]).await;
    status.fails(422, "Invalid", &format!("Namespace \"default\" is invalid: {error}"));
    for (name, more) in [("b", json!({"hostPID": true})), ("a", json!({"hostPID": true})), ("c", json!({}))] {
        face.post(PODS, pod(name, more)).await.is(201);
    }
    let warned = label(&face, DEFAULT, &[("enforce", "baseline"), ("enforce-version", "v1.20")]).await;
    warned.is(200);
    let words = r#"299 - "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:v1.20\"""#;
    assert_eq!(warned.warnings(), [words, "299 - \"a (and 1 other pod): host namespaces\""]);
    assert!(label(&face, DEFAULT, &[("warn", "restricted")]).await.warnings().is_empty(), "the same is enforced");
    assert!(label(&face, DEFAULT, &[("enforce", "privileged")]).await.warnings().is_empty());
}

#[tokio::test]
async fn no_namespace_is_exempt() {
    let face = Face::new().await;
    face.namespace("kube-system").await;
    label(&face, "/api/v1/namespaces/kube-system", &[("enforce", "baseline")]).await.is(200);
    let reply = face.post("/api/v1/namespaces/kube-system/pods", pod("p", json!({"hostPID": true}))).await;
    assert_eq!(reply.code, 403, "{}", reply.body);
}
