//! What every namespace has without anybody making it.

use std::time::Duration;

use jobdock::model::object::{Key, Object};
use jobdock::store::{Expected, Store, Write};
use jobdock::tenancy;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a test waits for what must come; only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

async fn rig() -> (Store, DropGuard) {
    let store = Store::in_memory().unwrap();
    let namespaces = tenancy::namespaces().map(|namespace| Write::Create(Object::new(namespace)));
    store.commit(namespaces.collect()).await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(tenancy::run(store.clone(), "PEM".to_owned(), stop.clone()));
    (store, stop.drop_guard())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never came true: {what}");
}

fn account(store: &Store, namespace: &str) -> Option<Object> {
    store.get(&Key::of::<ServiceAccount>(namespace, "default")).unwrap()
}

/// The authority's certificate as the namespace has it.
fn authority(store: &Store, namespace: &str) -> Option<String> {
    let object = store.get(&Key::of::<ConfigMap>(namespace, "kube-root-ca.crt")).unwrap()?;
    object.typed::<ConfigMap>()?.data.as_ref()?.get("ca.crt").cloned()
}

fn is_complete(store: &Store, namespace: &str) -> bool {
    account(store, namespace).is_some() && authority(store, namespace).as_deref() == Some("PEM")
}

#[tokio::test]
async fn every_namespace_gets_an_account_and_the_authority() {
    let (store, _stop) = rig().await;
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        until(name, || is_complete(&store, name)).await;
    }
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some("fresh".to_owned());
    store.commit(vec![Write::Create(Object::new(namespace))]).await.unwrap();
    until("a new namespace", || is_complete(&store, "fresh")).await;
}

#[tokio::test]
async fn what_is_deleted_or_changed_is_put_right() {
    let (store, _stop) = rig().await;
    until("complete", || is_complete(&store, "default")).await;
    let key = Key::of::<ServiceAccount>("default", "default");
    store.commit(vec![Write::Delete { key, expected: Expected::Exists }]).await.unwrap();
    until("the account is back", || account(&store, "default").is_some()).await;
    let key = Key::of::<ConfigMap>("default", "kube-root-ca.crt");
    let object = store.get(&key).unwrap().unwrap();
    let changed = ConfigMap { data: None, ..object.typed::<ConfigMap>().unwrap().clone() };
    store.commit(vec![Write::Update { object: Object::new(changed), expected: Expected::Exists }]).await.unwrap();
    until("the authority is back", || authority(&store, "default").as_deref() == Some("PEM")).await;
    store.commit(vec![Write::Delete { key, expected: Expected::Exists }]).await.unwrap();
    until("the configmap is back", || authority(&store, "default").as_deref() == Some("PEM")).await;
}
