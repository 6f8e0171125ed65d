//! Service account tokens of pods on a real engine, end to end: a pod reads its own and calls the API with it; what it
//! may and may not; its replacement, and its end with the pod.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jobdock::token::{Claims, Signer};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::{Event, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::pod_docker::with_house;
use super::pod_house::from_yaml;
use super::support::daemon::{Daemon, PATIENCE};
use super::support::image;

/// Tells all that a pod needs to call the API, from where clients look for it. The test calls in its place: busybox speaks
/// no TLS that the server would.
const TELL: &str = r#"
own=/var/run/secrets/kubernetes.io/serviceaccount
echo "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT"
cat $own/namespace; echo; cat $own/token; echo; cat $own/ca.crt; echo the end; sleep 1000
"#;

/// A pod of an account that reads its token in one container.
fn pod(name: &str, script: &str, host_network: bool) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "serviceAccountName": "robot",
                 "hostNetwork": host_network,
                 "containers": [{"name": "main", "image": image::NAME, "imagePullPolicy": "Never",
                                 "command": ["sh", "-c", script]}]},
    }))?)
}

/// What a container says until a line that ends it.
async fn said(pods: &Api<Pod>, name: &str, last: &str) -> Result<Vec<String>> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let text = pods.logs(name, &LogParams::default()).await.unwrap_or_default();
        if text.lines().any(|line| line == last) {
            return Ok(text.lines().map(str::to_owned).collect());
        }
        ensure!(tokio::time::Instant::now() < deadline, "{name} never said {last:?}, but {text:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A client that knows what the pod knows.
async fn as_pod(server: &str, namespace: &str, token: &str, authority: &str) -> Result<Client> {
    let config: Kubeconfig = serde_json::from_value(json!({
        "clusters": [{"name": "here", "cluster": {
            "server": server, "certificate-authority-data": ByteString(authority.as_bytes().to_vec()),
        }}],
        "users": [{"name": "pod", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "pod", "namespace": namespace}}],
        "current-context": "here",
    }))?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn code<T>(answer: kube::Result<T>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_calls_the_api_as_its_account_in_its_own_namespace_for_as_long_as_it_is_there() -> Result<()> {
    image::ensure().await?;
    let dir = tempfile::tempdir()?;
    let mut daemon = Daemon::start(&dir.path().join("data"), &["--runtime", "docker", "--stop-pods-on-exit"])?;
    let called = call(daemon.client().await?).await;
    daemon.stop().context("its pods end with it")?;
    called
}

async fn call(admin: Client) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(admin.clone());
    let robot = serde_json::from_value(json!({"metadata": {"name": "robot"}}))?;
    accounts.create(&PostParams::default(), &robot).await?;
    let pods: Api<Pod> = Api::default_namespaced(admin.clone());

    // The API is on loopback here: the machine's own network reaches it, a pod's does not.
    let shut = pod("shut", "sleep 1000", false)?;
    pods.create(&PostParams::default(), &shut).await?;
    let made = pods.create(&PostParams::default(), &pod("caller", TELL, true)?).await?;
    let lines = said(&pods, "caller", "the end").await?;
    let [server, namespace, token, authority @ .., _] = &lines[..] else { bail!("{lines:?}") };
    ensure!(server.starts_with("https://127.0.0.1:") && namespace == "default", "{lines:?}");
    let robot = as_pod(server, namespace, token, &authority.join("\n")).await?;
    let own = Api::<Pod>::default_namespaced(robot.clone());
    ensure!(own.get("caller").await?.uid() == made.uid());
    let others = Api::<Pod>::namespaced(robot.clone(), "kube-public");
    let refused = others.list(&ListParams::default()).await;
    ensure!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403), "{refused:?}");

    let asked = TokenReview {
        spec: TokenReviewSpec { token: token.clone(), ..TokenReviewSpec::default() },
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(admin.clone());
    let user = reviews.create(&PostParams::default(), &asked).await?.status.and_then(|status| status.user);
    let user = user.context("a user")?;
    ensure!(user.username.as_deref() == Some("system:serviceaccount:default:robot"), "{user:?}");
    let bound = user.extra.as_ref().and_then(|extra| extra.get("authentication.kubernetes.io/pod-name")).cloned();
    ensure!(bound == Some(vec!["caller".to_owned()]), "{user:?}");

    let events: Api<Event> = Api::default_namespaced(admin);
    let told = ListParams::default().fields("involvedObject.name=shut,reason=APIUnreachable,type=Warning");
    await_condition(pods.clone(), "shut", conditions::is_pod_running()).await?;
    ensure!(events.list(&told).await?.items.len() == 1, "a pod that cannot reach the API is told so");

    pods.delete("caller", &DeleteParams::default()).await?;
    await_condition(pods.clone(), "caller", conditions::is_deleted(&made.uid().context("a uid")?)).await?;
    ensure!(code(own.list(&ListParams::default()).await) == 401, "a token ends with its pod");
    pods.delete("shut", &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_replaced_in_the_running_pod_before_it_ends() {
    with_house(|house, _| async move {
        let mut house = house.lock().await;
        let signer = Signer::fresh().expect("a key");
        house.sign(signer.clone()).await;
        house.create::<ServiceAccount>(from_yaml("{metadata: {name: robot, namespace: default}}")).await;
        // Shorter than the API lets anybody ask for.
        let script = "cp /own/token /tmp/first; until ! cmp -s /own/token /tmp/first; do sleep 0.1; done; \
                      cat /tmp/first; echo; cat /own/token; echo";
        let token = "{name: t, projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 10}}]}}";
        let pod = house
            .pod(&format!(
                "{{metadata: {{name: keeps}}, spec: {{restartPolicy: Never, serviceAccountName: robot, volumes: [{token}], \
                 containers: [{{name: main, image: {}, imagePullPolicy: Never, command: [sh, -c, {}], \
                 volumeMounts: [{{name: t, mountPath: /own}}]}}]}}}}",
                image::NAME,
                serde_json::to_string(script).expect("a text is JSON")
            ))
            .await;
        house.until_phase("keeps", "Succeeded").await;
        let text = house.log(&pod, "main", 0).await;
        let claims: Vec<Claims> = text.lines().map(|token| issued(&signer, token)).collect();
        let [first, second] = &claims[..] else { panic!("two tokens: {text:?}") };
        assert!(second.iat < first.exp, "it is replaced while it holds");
        assert!(second.exp > first.exp, "by one that holds longer");
        assert_eq!(first.sub, "system:serviceaccount:default:robot");
    })
    .await;
}

/// What a token says, as of when it was issued: it may be over by now.
fn issued(signer: &Signer, token: &str) -> Claims {
    let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok()).expect("a token");
    let Claims { iat, .. } = serde_json::from_slice(&claims).expect("claims");
    let then = Timestamp::from_second(iat).expect("a time");
    signer.check(token, then).unwrap_or_else(|error| panic!("{error}: {token}"))
}
