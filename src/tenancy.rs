//! Owns what every namespace has without anybody making it: the ServiceAccount `default` and the ConfigMap
//! `kube-root-ca.crt`; and the namespaces that every cluster has. What is deleted or changed is put right.
//! Never touches anything else in a namespace, and leaves one that is being deleted alone.
//!
//! ```text
//!  a namespace, its account or its configmap changes --> queue by namespace --> one commit of what is missing
//! ```
//!
//! Parity: upstream's serviceaccounts controller and its root-ca-cert-publisher.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, NamespaceSpec, NamespaceStatus, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use crate::model::defaults::namespace::FINALIZER;
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::reconcile::Queue;
use crate::store::{Change, Error, Expected, Query, Store, Write};

/// Namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// The account of pods that name none.
pub const DEFAULT_ACCOUNT: &str = "default";
/// The configmap with the authority's certificate.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// Its key.
const CA_KEY: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
/// Parity: the text that upstream's publisher writes.
const DESCRIPTION_TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                                endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
                                guaranteed across distributions of Kubernetes clusters.";
/// Namespaces worked on at once; a commit each, and they share the writer's transactions.
const WORKERS: usize = 4;
/// Pause before a watch that failed is opened again.
const RETRY: Duration = Duration::from_secs(1);

/// The namespaces that every cluster has.
pub fn namespaces() -> impl Iterator<Item = Namespace> {
    NAMESPACES.into_iter().map(|name| Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([("kubernetes.io/metadata.name".to_owned(), name.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(NamespaceSpec { finalizers: Some(vec![FINALIZER.to_owned()]) }),
        status: Some(NamespaceStatus { phase: Some("Active".to_owned()), conditions: None }),
    })
}

/// Keeps every namespace complete until `stop`. `authority` is the certificate by which clients trust the server, as PEM.
pub async fn run(store: Store, authority: String, stop: CancellationToken) {
    let queue = Queue::new("namespace");
    let reconcile = |namespace: String| {
        let (store, authority) = (store.clone(), authority.clone());
        async move { complete(&store, &namespace, &authority).await.map(|()| None) }
    };
    let wake = async {
        if stop.run_until_cancelled(wake(&store, &queue)).await.is_some() {
            tracing::info!("namespaces are no longer looked after: the store is closed");
        }
    };
    tokio::join!(queue.run(WORKERS, stop.clone(), reconcile), wake);
}

async fn wake(store: &Store, queue: &Queue<String>) {
    loop {
        match follow(store, queue).await {
            Ok(never) => match never {},
            Err(Error::Closed) => return,
            Err(error) => tracing::warn!(?error, "the look at namespaces begins anew"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(store: &Store, queue: &Queue<String>) -> Result<Infallible, Error> {
    let kinds = [Kind::of::<Namespace>(), Kind::of::<ServiceAccount>(), Kind::of::<ConfigMap>()];
    // The watch begins first, so that what happens during the look is seen too.
    let mut watch = store.watch(&kinds, store.revision())?;
    for namespace in store.list(&Query::all(Kind::of::<Namespace>()))?.objects {
        queue.add(namespace.key().name);
    }
    loop {
        if let Some(namespace) = concerns(&*watch.next().await?) {
            queue.add(namespace);
        }
    }
}

/// The namespace that a change may have left incomplete.
fn concerns(change: &Change) -> Option<String> {
    let key = change.after.as_ref().or(change.before.as_ref())?.key();
    if key.kind == Kind::of::<Namespace>() {
        return change.before.is_none().then_some(key.name);
    }
    let account = key.kind == Kind::of::<ServiceAccount>() && key.name == DEFAULT_ACCOUNT && change.after.is_none();
    let authority = key.kind == Kind::of::<ConfigMap>() && key.name == ROOT_CA;
    (account || authority).then_some(key.namespace)
}

async fn complete(store: &Store, name: &str, authority: &str) -> Result<(), Error> {
    let Some(namespace) = store.get(&Key::of::<Namespace>("", name))? else { return Ok(()) };
    if namespace.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    let mut writes = Vec::new();
    if store.get(&Key::of::<ServiceAccount>(name, DEFAULT_ACCOUNT))?.is_none() {
        let metadata = meta(name, DEFAULT_ACCOUNT);
        writes.push(Write::Create(Object::new(ServiceAccount { metadata, ..ServiceAccount::default() })));
    }
    let stored = store.get(&Key::of::<ConfigMap>(name, ROOT_CA))?;
    writes.extend(publish(stored.as_ref(), name, authority));
    if writes.is_empty() {
        return Ok(());
    }
    writes.push(Write::Check { key: namespace.key(), revision: namespace.revision() });
    store.commit(writes).await.map(drop)
}

/// What makes the configmap right.
fn publish(stored: Option<&Object>, namespace: &str, authority: &str) -> Option<Write> {
    let data = BTreeMap::from([(CA_KEY.to_owned(), authority.to_owned())]);
    let Some(object) = stored else {
        let mut metadata = meta(namespace, ROOT_CA);
        metadata.annotations = Some([(DESCRIPTION.to_owned(), DESCRIPTION_TEXT.to_owned())].into());
        return Some(Write::Create(Object::new(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() })));
    };
    let map = object.typed::<ConfigMap>().filter(|map| map.data.as_ref() != Some(&data))?;
    let right = ConfigMap { data: Some(data), ..map.clone() };
    Some(Write::Update { object: Object::new(right), expected: Expected::Revision(object.revision()) })
}

fn meta(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(namespace.to_owned()), name: Some(name.to_owned()), ..ObjectMeta::default() }
}
