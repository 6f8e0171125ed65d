//! Pulls from a registry, on the real engine: a registry of the test's own on loopback, which engines take without TLS.

use std::collections::HashMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bollard::Docker;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, StatusCode};
use jiff::SignedDuration;
use jobdock::pod::image_gc::Policy;
use jobdock::runtime::Runtime as _;
use k8s_openapi::api::core::v1::{Pod, Secret};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::pod_docker::with_house;
use super::pod_house::{House, NODE, from_yaml, tell};
use super::support::image;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The pull half of the distribution protocol, for the test image under any tag.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    manifest: String,
    /// Of an image that no engine has before it pulls it: one layer more.
    fresh: String,
    blobs: HashMap<String, Bytes>,
    /// Manifests asked for, by reference.
    asked: Mutex<HashMap<String, usize>>,
    /// Requests that are still refused as too many.
    refusing: AtomicUsize,
    /// Nothing at all is answered without credentials.
    locked: AtomicBool,
    /// Layers under `gated/` stop half way until this is set.
    open: watch::Sender<bool>,
}

/// A layer of this registry's own: `/data/hello`, `/data/deep/file`, the link `/data/out`, and some MiB of noise.
fn added_layer(address: SocketAddr) -> Result<Bytes> {
    const NOISE_BYTES: usize = 2 << 20;
    let mut noise = Sha256::digest(address.to_string()).to_vec();
    while noise.len() < NOISE_BYTES {
        let next = Sha256::digest(&noise[noise.len() - 32..]);
        noise.extend_from_slice(&next);
    }
    let mut layer = tar::Builder::new(Vec::new());
    let files: [(&str, u32, &[u8]); 3] = [
        ("data/hello", 0o640, b"hello from the image\n"),
        ("data/deep/file", 0o600, b"deep\n"),
        ("data/noise", 0o600, &noise),
    ];
    for (path, mode, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(1000);
        layer.append_data(&mut header, path, content)?;
    }
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    layer.append_link(&mut header, "data/out", "/etc")?;
    Ok(layer.into_inner()?.into())
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl Registry {
    /// On a port of its own.
    pub async fn start() -> Result<Self> {
        image::ensure().await?;
        let docker = Docker::connect_with_defaults()?;
        let archive = docker.export_image(image::NAME).try_collect::<Vec<Bytes>>().await?.concat();
        let mut files = HashMap::new();
        for entry in tar::Archive::new(archive.as_slice()).entries()? {
            let mut entry = entry?;
            let (name, mut bytes) = (entry.path()?.to_string_lossy().into_owned(), Vec::new());
            entry.read_to_end(&mut bytes)?;
            files.insert(name, Bytes::from(bytes));
        }
        let index: serde_json::Value = serde_json::from_slice(&files["manifest.json"])?;
        let file = |name: &serde_json::Value| -> Result<Bytes> {
            files.get(name.as_str().unwrap_or_default()).cloned().with_context(|| format!("no {name} in the archive"))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut blobs = HashMap::new();
        let mut described = |bytes: Bytes, kind: &str| {
            let (digest, size) = (digest(&bytes), bytes.len());
            blobs.insert(digest.clone(), bytes);
            serde_json::json!({"mediaType": format!("application/vnd.docker.{kind}"), "size": size, "digest": digest})
        };
        let image = file(&index[0]["Config"])?;
        let config = described(image.clone(), "container.image.v1+json");
        let layers = index[0]["Layers"].as_array().context("the archive has layers")?;
        let layers = layers
            .iter()
            .map(|name| Ok(described(file(name)?, "image.rootfs.diff.tar.gzip")))
            .collect::<Result<Vec<_>>>()?;
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        })
        .to_string();
        let added = added_layer(address)?;
        let mut image: serde_json::Value = serde_json::from_slice(&image)?;
        let diffs = image["rootfs"]["diff_ids"].as_array_mut().context("the image has layers")?;
        diffs.push(digest(&added).into());
        let config = described(image.to_string().into(), "container.image.v1+json");
        let more = described(added, "image.rootfs.diff.tar.gzip");
        let layers = [layers, vec![more]].concat();
        let fresh = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        })
        .to_string();
        let inner = Inner {
            address,
            manifest,
            fresh,
            blobs,
            asked: Mutex::default(),
            refusing: AtomicUsize::new(0),
            locked: AtomicBool::new(false),
            open: watch::Sender::new(false),
        };
        let this = Self(Arc::new(inner));
        let app = Router::new().fallback(answer).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(this)
    }

    fn host(&self) -> String {
        self.0.address.to_string()
    }

    /// What pods call an image of it. Below `fresh/` is one that no engine has before it pulls it.
    pub fn image(&self, reference: &str) -> String {
        format!("{}/{reference}", self.host())
    }

    /// Lets layers below `gated/` through, which stop half way before.
    pub fn open(&self) {
        self.0.open.send_replace(true);
    }

    fn asked(&self, reference: &str) -> usize {
        self.0.asked.lock().unwrap().get(reference).copied().unwrap_or(0)
    }
}

/// Repositories under `private/` want the user `ann` with the password `secret`.
async fn answer(State(registry): State<Registry>, uri: http::Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches("/v2/").to_owned();
    let authorized = headers.get("authorization").is_some_and(|value| value == "Basic YW5uOnNlY3JldA==");
    if path.starts_with("private/") && !authorized {
        let challenge = [("www-authenticate", "Basic realm=\"test\"")];
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        return (StatusCode::UNAUTHORIZED, challenge, body).into_response();
    }
    if path.is_empty() {
        // An engine sends credentials only where the first answer of all asks for them, and then asks nothing without.
        let open = authorized || !registry.0.locked.load(Ordering::Relaxed);
        let challenge = [("www-authenticate", "Basic realm=\"test\"")];
        return if open {
            StatusCode::OK.into_response()
        } else {
            (StatusCode::UNAUTHORIZED, challenge).into_response()
        };
    }
    if let Some((_, reference)) = path.split_once("/manifests/") {
        let fresh = path.starts_with("gated/") || path.starts_with("fresh/");
        return manifest(&registry, reference, if fresh { &registry.0.fresh } else { &registry.0.manifest }).await;
    }
    let blob = path.split_once("/blobs/").and_then(|(_, digest)| registry.0.blobs.get(digest));
    match blob.cloned() {
        Some(bytes) if path.starts_with("gated/") => gated(bytes, registry.0.open.subscribe()),
        Some(bytes) => bytes.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Half of the bytes at once, the rest when the gate opens.
fn gated(mut bytes: Bytes, mut open: watch::Receiver<bool>) -> Response {
    let length = [("content-length", bytes.len().to_string())];
    let first = bytes.split_to(bytes.len() / 2);
    let rest = async move {
        let _opened = open.wait_for(|open| *open).await;
        Ok::<Bytes, std::io::Error>(bytes)
    };
    let body = futures::stream::iter([Ok(first)]).chain(futures::stream::once(rest));
    (length, axum::body::Body::from_stream(body)).into_response()
}

async fn manifest(registry: &Registry, reference: &str, manifest: &str) -> Response {
    *registry.0.asked.lock().unwrap().entry(reference.to_owned()).or_default() += 1;
    if reference == "slow" {
        // Long enough that others come to wait for the same pull.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    let left = registry.0.refusing.load(Ordering::Relaxed);
    if reference == "busy" && left > 0 {
        registry.0.refusing.store(left - 1, Ordering::Relaxed);
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
        return (StatusCode::TOO_MANY_REQUESTS, body).into_response();
    }
    let headers = [("content-type", MANIFEST.to_owned()), ("docker-content-digest", digest(manifest.as_bytes()))];
    (headers, manifest.to_owned()).into_response()
}

fn pod(name: &str, image: &str, policy: &str, more: &str) -> String {
    format!(
        "metadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n{more}  containers:\n  - name: main\n    \
         image: {image}\n    imagePullPolicy: {policy}\n    command: [echo, hi]\n"
    )
}

/// Why a pod's first container waits.
pub fn waits(pod: &Pod) -> Option<(String, String)> {
    let state = pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.as_ref()?;
    let waiting = state.waiting.clone()?;
    Some((waiting.reason?, waiting.message.unwrap_or_default()))
}

/// Waits until a pod waits for this reason; what it says with it.
pub async fn until_waiting(house: &House, name: &str, reason: &str) -> String {
    let pod = house.until(name, reason, |pod| waits(pod).is_some_and(|(said, _)| said == reason)).await;
    waits(&pod).expect("it waits").1
}

/// Takes images from the engine.
pub async fn forget(images: &[String]) {
    let docker = Docker::connect_with_defaults().expect("the engine is there");
    for image in images {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        let _gone = docker.remove_image(image, Some(options), None).await;
    }
}

/// A pull Secret for the user `ann`.
fn pull_secret(name: &str, registry: &Registry, password: &str) -> Secret {
    let config = serde_json::json!({"auths": {registry.host(): {"username": "ann", "password": password}}});
    from_yaml(&format!(
        "metadata: {{name: {name}, namespace: default}}\ntype: kubernetes.io/dockerconfigjson\ndata:\n  \
         .dockerconfigjson: {}",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, config.to_string())
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_a_pods_secrets_is_tried_until_one_is_let_in() {
    let registry = Registry::start().await.expect("a registry of the test's own");
    registry.0.locked.store(true, Ordering::Relaxed);
    let (image, refused) = (registry.image("private/busybox:several"), registry.image("private/busybox:none"));
    let images = [image.clone(), refused.clone()];
    with_house(|house, _| async move {
        let house = house.lock().await;
        house.create(pull_secret("stale", &registry, "of last year")).await;
        house.create(pull_secret("fresh", &registry, "secret")).await;
        house.pod(&pod("stale", &refused, "Always", "  imagePullSecrets: [{name: stale}, {name: absent}]\n")).await;
        until_waiting(&house, "stale", "ErrImagePull").await;
        house.pod(&pod("both", &image, "Always", "  imagePullSecrets: [{name: stale}, {name: fresh}]\n")).await;
        let done = house.until_over("both").await;
        assert!(tell(Some(&done)).starts_with("Succeeded"), "{}", tell(Some(&done)));
        let events = house.events("both").join("\n");
        assert!(!events.contains("Failed"), "one pull, told once: {events}");
    })
    .await;
    forget(&images).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_image_is_pulled_with_the_pods_secret_and_refused_without() {
    let registry = Registry::start().await.expect("a registry of the test's own");
    registry.0.locked.store(true, Ordering::Relaxed);
    let image = registry.image("private/busybox:1");
    with_house(|house, _| {
        let (registry, image) = (registry.clone(), image.clone());
        async move {
            let house = house.lock().await;
            house.pod(&pod("anonymous", &image, "Always", "")).await;
            let message = until_waiting(&house, "anonymous", "ErrImagePull").await;
            assert!(
                message.contains("unauthorized")
                    || message.contains("basic auth credentials")
                    || message.contains("authentication required"),
                "{message}"
            );
            until_waiting(&house, "anonymous", "ImagePullBackOff").await;
            house.create(pull_secret("registry", &registry, "secret")).await;
            house.delete("anonymous", Some(0)).await;
            house.until_gone("anonymous").await;
            // A pull that failed for somebody is not tried again before its time, for anybody.
            let other = registry.image("private/busybox:2");
            house.pod(&pod("known", &other, "Always", "  imagePullSecrets: [{name: registry}]\n")).await;
            let done = house.until_over("known").await;
            assert!(tell(Some(&done)).starts_with("Succeeded"), "{}", tell(Some(&done)));
            let events = house.events("known").join("\n");
            assert!(events.contains(&format!("Normal Pulling Pulling image \"{other}\"")), "{events}");
            assert!(events.contains(&format!("Normal Pulled Successfully pulled image \"{other}\" in ")), "{events}");
        }
    })
    .await;
    forget(&[image, registry.image("private/busybox:2")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_named_by_its_digest_is_that_one() {
    let registry = Registry::start().await.expect("a registry of the test's own");
    let image = registry.image(&format!("busybox@{}", digest(registry.0.manifest.as_bytes())));
    with_house(|house, _| {
        let image = image.clone();
        async move {
            let house = house.lock().await;
            house.pod(&pod("exact", &image, "IfNotPresent", "")).await;
            let done = house.until_over("exact").await;
            assert!(tell(Some(&done)).starts_with("Succeeded"), "{}", tell(Some(&done)));
            let status = done.status.unwrap().container_statuses.unwrap().remove(0);
            assert!(status.image_id.ends_with(image.rsplit('@').next().unwrap()), "{}", status.image_id);
        }
    })
    .await;
    forget(&[image]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_want_one_image_share_one_pull_and_a_refusal_is_waited_out() {
    let registry = Registry::start().await.expect("a registry of the test's own");
    let (slow, busy) = (registry.image("busybox:slow"), registry.image("busybox:busy"));
    with_house(|house, engine| {
        let (registry, slow, busy) = (registry.clone(), slow.clone(), busy.clone());
        async move {
            let house = house.lock().await;
            registry.0.refusing.store(100, Ordering::Relaxed);
            house.pod(&pod("limited", &busy, "IfNotPresent", "")).await;
            for name in ["one", "two", "three"] {
                house.pod(&pod(name, &slow, "IfNotPresent", "")).await;
            }
            for name in ["one", "two", "three"] {
                house.until_over(name).await;
            }
            let shared = registry.asked("slow");
            if engine.engine().await.expect("it answers").runtime_version.starts_with("podman://") {
                // It goes on asking for minutes before it says so.
                until_waiting(&house, "limited", "ContainerCreating").await;
            } else {
                let message = until_waiting(&house, "limited", "ImagePullBackOff").await;
                assert!(message.starts_with(&format!("Back-off pulling image \"{busy}\"")), "{message}");
                assert!(message.contains("pull rate limit") || message.contains("toomanyrequests"), "{message}");
            }
            registry.0.refusing.store(0, Ordering::Relaxed);
            house.until_over("limited").await;
            house.pod(&pod("again", &slow, "IfNotPresent", "")).await;
            house.until_over("again").await;
            assert_eq!(registry.asked("slow"), shared, "an image that is there is not asked for");
            house.pod(&pod("fresh", &slow, "Always", "")).await;
            house.until_over("fresh").await;
            assert_eq!(registry.asked("slow"), shared * 2, "one pull asks as often as three pods' did together");
        }
    })
    .await;
    forget(&[slow, busy]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_tells_how_far_it_is_and_at_its_end_how_large_the_image_is() {
    let registry = Registry::start().await.expect("a registry of the test's own");
    let image = registry.image("gated/busybox:1");
    let gate = registry.clone();
    with_house(|house, engine| {
        let image = image.clone();
        async move {
            let house = house.lock().await;
            house.pod(&pod("patient", &image, "IfNotPresent", "")).await;
            let told = house
                .until("patient", "told of the pull", |pod| {
                    waits(pod).is_some_and(|(_, message)| message.starts_with(&format!("Pulling image \"{image}\": ")))
                })
                .await;
            let (reason, message) = waits(&told).expect("it waits");
            assert_eq!(reason, "ContainerCreating");
            assert!(message.contains(" layers"), "{message}");
            gate.open();
            house.until_over("patient").await;
            let bytes = engine.image(&image).await.expect("the engine answers").expect("it is there").bytes;
            let events = house.events("patient").join("\n");
            let pulled = format!("Normal Pulled Successfully pulled image \"{image}\" in ");
            assert!(events.contains(&pulled), "{events}");
            assert!(
                bytes > 0 && events.contains(&format!(" including waiting). Image size: {bytes} bytes.")),
                "{events}"
            );
        }
    })
    .await;
    forget(&[image]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_takes_the_unused_images_that_jobdock_pulled_and_no_others() {
    let (first, second) = (Registry::start().await, Registry::start().await);
    let (first, second) = (first.expect("a registry of the test's own"), second.expect("another"));
    let (mine, used) = (first.image("fresh/busybox:1"), second.image("fresh/busybox:1"));
    // The same image as the tests' own, which was there before.
    let theirs = first.image("busybox:gc");
    let images = [mine.clone(), used.clone(), theirs.clone()];
    with_house(|house, engine| async move {
        let mut house = house.lock().await;
        for (name, image) in [("mine", &mine), ("theirs", &theirs)] {
            house.pod(&pod(name, image, "IfNotPresent", "")).await;
            house.until_over(name).await;
        }
        house.pod(&pod("used", &used, "IfNotPresent", "").replace("[echo, hi]", "[sleep, '600']")).await;
        house.until_phase("used", "Running").await;
        // Whatever the disk has, it is too full.
        house.collect(Policy { high: 0, low: 0, min_age: SignedDuration::ZERO }).await;
        let has = async |image: &str| engine.image(image).await.expect("the engine answers").is_some();
        house.eventually("the unused image is gone", || async { !has(&mine).await }).await;
        let told =
            "Warning FreeDiskSpaceFailed Failed to garbage collect required amount of images. Attempted to free ";
        let complained = || async { house.events(NODE).iter().any(|line| line.starts_with(told)) };
        house.eventually("the node tells that it was not enough", complained).await;
        assert!(has(&used).await && has(&theirs).await && has(image::NAME).await);
        // It is pulled again by whoever wants it.
        house.pod(&pod("again", &mine, "IfNotPresent", "")).await;
        house.until_over("again").await;
    })
    .await;
    forget(&images).await;
}
