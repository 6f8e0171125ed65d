//! Accounts, their tokens, who may do what; what a namespace holds its pods to; what is posted to pods and namespaces.

use axum::body::Body;
use axum::middleware::from_fn_with_state;
use base64::Engine as _;
use http::{Method, Request};
use http_body_util::BodyExt;
use jobdock::api::accounts::Accounts;
use jobdock::api::guard::{Guard, guard};
use jobdock::api::{ApiState, app};
use jobdock::store::Store;
use jobdock::token::Signer;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::face::{Face, JOBS, job};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}});
    for (field, value) in spec.as_object().unwrap() {
        pod["spec"][field] = value.clone();
    }
    pod
}

/// A guarded API: who calls is found out from the token.
struct Guarded {
    router: axum::Router,
    store: Store,
}

impl Guarded {
    async fn new(open: bool) -> (Face, Self) {
        let store = Store::in_memory().unwrap();
        let face = Face::over(store.clone()).await;
        let accounts = Accounts::new(store.clone()).with_admin("secret").with_signer(Signer::fresh().unwrap(), open);
        let state = ApiState::new(store.clone(), CancellationToken::new()).with_accounts(accounts.clone());
        let guards = Arc::new(Guard::new(accounts, vec!["localhost".to_owned()]));
        (face, Self { router: app(state).layer(from_fn_with_state(guards, guard)), store })
    }

    async fn call(&self, token: &str, method: Method, path: &str, more: &[(&str, &str)], body: Value) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
    }

    async fn get(&self, token: &str, path: &str) -> (u16, Value) {
        self.call(token, Method::GET, path, &[], Value::Null).await
    }

    async fn post(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        self.call(token, Method::POST, path, &[], body).await
    }

    /// A token for an account of `default`, made as an administrator makes it.
    async fn token(&self, account: &str, spec: Value) -> String {
        let (code, made) = self.post("secret", &format!("{ACCOUNTS}/{account}/token"), json!({"spec": spec})).await;
        assert_eq!(code, 201, "{made}");
        made["status"]["token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_pod_runs_as_its_account_and_gets_what_that_has() {
    let face = Face::new().await;
    let account = json!({"metadata": {"name": "robot"}, "imagePullSecrets": [{"name": "registry"}]});
    face.post(ACCOUNTS, account).await.is(201);
    let plain = face.post(PODS, pod("plain", json!({}))).await.is(201);
    assert_eq!(
        (&plain["spec"]["serviceAccountName"], &plain["spec"]["serviceAccount"], &plain["spec"]["volumes"]),
        (&json!("default"), &json!("default"), &Value::Null)
    );
    let named = face.post(PODS, pod("named", json!({"serviceAccountName": "robot"}))).await.is(201);
    assert_eq!(named["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
    let volume = &named["spec"]["volumes"][0];
    assert!(volume["name"].as_str().unwrap().starts_with("kube-api-access-"), "{volume}");
    assert_eq!(volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3607);
    let mount = &named["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    let refused = json!({"serviceAccountName": "robot", "automountServiceAccountToken": false});
    assert_eq!(face.post(PODS, pod("quiet", refused)).await.is(201)["spec"]["volumes"], Value::Null);
    face.post(PODS, pod("lost", json!({"serviceAccountName": "nobody"}))).await.fails(
        403,
        "Forbidden",
        "pods \"lost\" is forbidden: error looking up service account default/nobody: serviceaccount \"nobody\" not found",
    );
}

#[tokio::test]
async fn pods_are_held_to_the_limits_of_their_namespace() {
    let face = Face::new().await;
    let limits = json!([{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "100m"}, "default": {"cpu": "500m"},
                         "maxLimitRequestRatio": {"cpu": "4"}}]);
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": limits}});
    let made = face.post("/api/v1/namespaces/default/limitranges", range).await.is(201);
    assert_eq!(made["spec"]["limits"][0]["defaultRequest"]["cpu"], "500m", "{made}");
    let filled = face.post(PODS, pod("filled", json!({}))).await.is(201);
    assert_eq!(
        filled["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}})
    );
    assert_eq!(
        filled["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
    );
    for (resources, why) in [
        (json!({"limits": {"cpu": "2"}}), "[maximum cpu usage per Container is 1, but limit is 2]"),
        (
            json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "1"}}),
            "[minimum cpu usage per Container is 100m, but request is 50m, cpu max limit to request ratio per Container \
             is 4, but provided ratio is 20.000000]",
        ),
    ] {
        let mut asked = pod("big", json!({}));
        asked["spec"]["containers"][0]["resources"] = resources;
        let why = why
            .strip_prefix('[')
            .and_then(|why| why.strip_suffix(']'))
            .filter(|why| !why.contains(", cpu max"))
            .unwrap_or(why);
        face.post(PODS, asked).await.fails(403, "Forbidden", &format!("pods \"big\" is forbidden: {why}"));
    }
}

#[tokio::test]
async fn an_eviction_deletes_the_pod_and_says_that_it_was_disrupted() {
    let face = Face::new().await;
    face.post(PODS, pod("p", json!({"nodeName": "n"}))).await.is(201);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let path = format!("{PODS}/p/eviction");
    face.post(&format!("{path}?dryRun=All"), eviction.clone()).await.is(201);
    let before = face.get(&format!("{PODS}/p")).await.is(200);
    assert_eq!(
        (&before["metadata"]["deletionTimestamp"], &before["status"]["conditions"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(face.post(&path, eviction.clone()).await.is(201)["status"], "Success");
    let evicted = face.get(&format!("{PODS}/p")).await.is(200);
    assert!(evicted["metadata"]["deletionTimestamp"].is_string(), "{evicted}");
    let condition = &evicted["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"], &condition["message"]),
        (&json!("DisruptionTarget"), &json!("True"), &json!("EvictionByEvictionAPI"), &json!("Eviction API: evicting"))
    );
    let wrong = json!({"metadata": {"name": "q"}});
    face.post(&path, wrong).await.fails(400, "BadRequest", "name in URL does not match name in Eviction object");
    let nobody = json!({"metadata": {"name": "q"}});
    face.post(&format!("{PODS}/q/eviction"), nobody).await.fails(404, "NotFound", "pods \"q\" not found");
    assert_eq!(face.get(&path).await.code, 405);
}

#[tokio::test]
async fn a_binding_gives_a_pod_its_node_once() {
    let face = Face::new().await;
    face.post(PODS, pod("p", json!({}))).await.is(201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    face.post(&format!("{PODS}/p/binding"), binding.clone()).await.is(201);
    assert_eq!(face.get(&format!("{PODS}/p")).await.is(200)["spec"]["nodeName"], "n");
    face.post(&format!("{PODS}/p/binding"), binding).await.fails(
        409,
        "Conflict",
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n\"",
    );
    let empty = json!({"metadata": {"name": "p"}, "target": {}});
    assert_eq!(face.post(&format!("{PODS}/p/binding"), empty).await.code, 422);
}

#[tokio::test]
async fn events_have_two_faces_and_one_storage() {
    let face = Face::new().await;
    let path = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Why", "note": "what happened", "type": "Normal", "action": "Do",
        "reportingController": "test.io/me", "reportingInstance": "me-1", "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    let made = face.post(path, event).await.is(201);
    assert_eq!((&made["apiVersion"], &made["note"]), (&json!("events.k8s.io/v1"), &json!("what happened")));
    let core = face.get("/api/v1/namespaces/default/events/e").await.is(200);
    assert_eq!((&core["message"], &core["involvedObject"]["name"]), (&json!("what happened"), &json!("p")));
    let list = face.get(&format!("{path}?fieldSelector=regarding.name=p")).await.is(200);
    assert_eq!((&list["kind"], &list["items"][0]["regarding"]["name"]), (&json!("EventList"), &json!("p")));
    assert_eq!(face.get(&format!("{path}?fieldSelector=regarding.name=q")).await.is(200)["items"], json!([]));
    let patched =
        face.patch(&format!("{path}/e"), "merge-patch", json!({"metadata": {"labels": {"a": "b"}}})).await.is(200);
    assert_eq!(
        (&patched["apiVersion"], &patched["metadata"]["labels"]["a"]),
        (&json!("events.k8s.io/v1"), &json!("b"))
    );
    let mut watch = face.stream(&format!("{path}?watch=1")).await;
    assert_eq!(watch.event().await["object"]["note"], "what happened");
    let wrong = json!({"metadata": {"name": "w"}, "type": "Odd", "regarding": {"namespace": "default"}});
    let status = face.post(path, wrong).await.is(422);
    let fields: Vec<&str> =
        status["details"]["causes"].as_array().unwrap().iter().map(|it| it["field"].as_str().unwrap()).collect();
    assert!(fields.contains(&"eventTime") && fields.contains(&"type"), "{status}");
    face.delete(&format!("{path}/e")).await.is(200);
    assert_eq!(face.get("/api/v1/namespaces/default/events/e").await.code, 404);
}

#[tokio::test]
async fn finalize_changes_a_namespaces_finalizers_and_nothing_else() {
    let face = Face::new().await;
    face.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.is(201);
    let mut namespace = face.get("/api/v1/namespaces/n").await.is(200);
    namespace["spec"]["finalizers"] = json!([]);
    let plain = face.replace("/api/v1/namespaces/n", &namespace).await.is(200);
    assert_eq!(plain["spec"]["finalizers"], json!(["kubernetes"]), "an update leaves them");
    let done = face.replace("/api/v1/namespaces/n/finalize", &namespace).await.is(200);
    assert_eq!((&done["spec"], &done["status"]["phase"]), (&json!({}), &json!("Active")));
}

#[tokio::test]
async fn a_service_account_edits_its_own_namespace_only() {
    let (face, api) = Guarded::new(true).await;
    face.namespace("other").await;
    face.post(ACCOUNTS, json!({"metadata": {"name": "x"}})).await.is(201);
    let token = api.token("x", json!({})).await;
    assert_eq!(api.post(&token, JOBS, job("mine")).await.0, 201);
    let (code, status) = api.post(&token, "/apis/batch/v1/namespaces/other/jobs", job("theirs")).await;
    let who = "User \"system:serviceaccount:default:x\" cannot";
    let what = "create resource \"jobs\" in API group \"batch\" in the namespace \"other\"";
    assert_eq!((code, &status["message"]), (403, &json!(format!("jobs.batch is forbidden: {who} {what}"))));
    let (code, status) = api.get(&token, "/api/v1/namespaces").await;
    let what = "list resource \"namespaces\" in API group \"\" at the cluster scope";
    assert_eq!((code, &status["message"]), (403, &json!(format!("namespaces is forbidden: {who} {what}"))));
    let (code, status) = api.call(&token, Method::DELETE, "/api/v1/nodes/n", &[], Value::Null).await;
    let what = "delete resource \"nodes\" in API group \"\" at the cluster scope";
    assert_eq!((code, &status["message"]), (403, &json!(format!("nodes \"n\" is forbidden: {who} {what}"))));
    for (path, code) in
        [("/api/v1/nodes", 200), ("/apis", 200), ("/version", 200), ("/openid/v1/jwks", 200), ("/metrics", 403)]
    {
        assert_eq!(api.get(&token, path).await.0, code, "{path}");
    }
    assert_eq!(api.get("", "/openid/v1/jwks").await.0, 401);
    assert_eq!(api.get("", "/version").await.0, 200);
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let (face, api) = Guarded::new(true).await;
    face.post(ACCOUNTS, json!({"metadata": {"name": "x"}})).await.is(201);
    face.post(PODS, pod("p", json!({"serviceAccountName": "x"}))).await.is(201);
    let bound = api.token("x", json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}})).await;
    let free = api.token("x", json!({"expirationSeconds": 600})).await;
    let foreign = api.token("x", json!({"audiences": ["vault"]})).await;
    assert_eq!(api.get(&foreign, PODS).await.0, 401, "it is for somebody else");
    assert_eq!(api.get(&bound, PODS).await.0, 200);
    face.delete(&format!("{PODS}/p")).await.is(200);
    assert_eq!((api.get(&bound, PODS).await.0, api.get(&free, PODS).await.0), (401, 200));
    face.delete(&format!("{ACCOUNTS}/x")).await.is(200);
    assert_eq!(api.get(&free, PODS).await.0, 401);
    face.post(ACCOUNTS, json!({"metadata": {"name": "x"}})).await.is(201);
    assert_eq!(api.get(&free, PODS).await.0, 401, "another account has the name");
    let (code, status) =
        api.post("secret", &format!("{ACCOUNTS}/x/token"), json!({"spec": {"expirationSeconds": 5}})).await;
    assert_eq!(code, 422, "{status}");
    assert!(api.store.revision() > 0);
}

#[tokio::test]
async fn service_accounts_may_be_kept_out() {
    let (face, api) = Guarded::new(false).await;
    face.post(ACCOUNTS, json!({"metadata": {"name": "x"}})).await.is(201);
    let token = api.token("x", json!({})).await;
    assert_eq!((api.get(&token, PODS).await.0, api.get("secret", PODS).await.0), (401, 200));
}

#[tokio::test]
async fn reviews_answer_truly() {
    let (face, api) = Guarded::new(true).await;
    face.post(ACCOUNTS, json!({"metadata": {"name": "x"}})).await.is(201);
    let token = api.token("x", json!({})).await;
    let own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let attributes =
        |namespace: &str| json!({"verb": "create", "group": "batch", "resource": "jobs", "namespace": namespace});
    for (namespace, allowed) in [("default", true), ("other", false), ("", false)] {
        let (code, answer) =
            api.post(&token, own, json!({"spec": {"resourceAttributes": attributes(namespace)}})).await;
        assert_eq!((code, &answer["status"]["allowed"]), (201, &json!(allowed)), "{namespace}");
    }
    let about = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let body = json!({"spec": {"user": "system:serviceaccount:other:y", "resourceAttributes": attributes("other")}});
    assert_eq!(api.post("secret", about, body.clone()).await.1["status"]["allowed"], true);
    assert_eq!(api.post(&token, about, body.clone()).await.0, 403);
    let local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    assert_eq!(api.post("secret", local, body).await.0, 422, "its namespace is another");
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (_, answer) = api.post(&token, who, json!({})).await;
    assert_eq!(answer["status"]["userInfo"]["username"], "system:serviceaccount:default:x");
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let (_, answer) = api.post(&token, rules, json!({"spec": {"namespace": "other"}})).await;
    assert_eq!(answer["status"]["resourceRules"].as_array().unwrap().len(), 3, "{answer}");
    let tokens = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, answer) = api.post("secret", tokens, json!({"spec": {"token": token}})).await;
    assert_eq!(
        (&answer["status"]["authenticated"], &answer["status"]["user"]["username"]),
        (&json!(true), &json!("system:serviceaccount:default:x"))
    );
    let (_, answer) = api.post("secret", tokens, json!({"spec": {"token": "no"}})).await;
    assert_eq!(answer["status"], json!({"user": {}, "error": "invalid bearer token"}));
}

#[tokio::test]
async fn reviews_are_read_as_their_types_say() {
    let face = Face::new().await;
    let own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let attributes = json!({"verb": "get", "resource": "pods"});
    let nulls = json!({"spec": {"resourceAttributes": attributes, "nonResourceAttributes": null}});
    assert_eq!(face.post(own, nulls).await.is(201)["status"]["allowed"], true);
    let number = face.post(own, json!({"spec": {"resourceAttributes": {"resource": 5}}})).await;
    assert!(number.code == 400 && number.body.contains("cannot unmarshal number"), "{}", number.body);
    let stray = json!({"spec": {"resourceAttributes": attributes}, "foo": 1});
    assert_eq!(face.post(own, stray.clone()).await.warnings(), [r#"299 - "unknown field \"foo\"""#]);
    let strict = face.post(&format!("{own}?fieldValidation=Strict"), stray).await;
    assert!(strict.code == 400 && strict.body.contains("unknown field"), "{}", strict.body);
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    face.post(rules, json!({"spec": {}})).await.fails(400, "BadRequest", "no namespace on request");
    let tokens = "/apis/authentication.k8s.io/v1/tokenreviews";
    let missing = "token is required for TokenReview in authentication";
    face.post(tokens, json!({"spec": {}})).await.fails(400, "BadRequest", missing);
}

#[tokio::test]
async fn a_browsers_web_socket_shows_its_token_as_a_protocol() {
    let (_face, api) = Guarded::new(true).await;
    let protocols = |token: &str| {
        let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token);
        format!("base64url.bearer.authorization.k8s.io.{encoded}, base64.binary.k8s.io")
    };
    for (token, code) in [("secret", 200), ("other", 401)] {
        let sent = protocols(token);
        let headers = [("sec-websocket-protocol", sent.as_str())];
        assert_eq!(api.call("", Method::GET, PODS, &headers, Value::Null).await.0, code, "{token}");
    }
}

#[tokio::test]
async fn an_administrator_may_be_taken_for_somebody_else() {
    let (face, api) = Guarded::new(true).await;
    face.post(ACCOUNTS, json!({"metadata": {"name": "x"}})).await.is(201);
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let asked = [("impersonate-user", "system:serviceaccount:default:x")];
    let (_, answer) = api.call("secret", Method::POST, who, &asked, json!({})).await;
    let info = &answer["status"]["userInfo"];
    assert_eq!(info["username"], "system:serviceaccount:default:x");
    assert!(info["groups"].as_array().unwrap().contains(&json!("system:serviceaccounts:default")), "{info}");
    assert_eq!(api.call("secret", Method::GET, "/api/v1/secrets", &asked, Value::Null).await.0, 403);
    let token = api.token("x", json!({})).await;
    let (code, status) = api.call(&token, Method::GET, PODS, &[("impersonate-user", "root")], Value::Null).await;
    let who = "User \"system:serviceaccount:default:x\" cannot impersonate resource \"users\" in API group \"\" at the \
               cluster scope";
    assert_eq!((code, &status["message"]), (403, &json!(format!("users \"root\" is forbidden: {who}"))));
}
