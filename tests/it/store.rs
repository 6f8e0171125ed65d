//! The store's promises, each on a real database file.

use std::time::Duration;

use bytes::Bytes;
use jobdock::model::event::{self, Severity};
use jobdock::model::kind::Kind;
use jobdock::model::object::{Key, Object};
use jobdock::store::{Change, Error, Expected, Limits, Owner, Query, Store, Watch, Write};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, NamespaceSpec, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

fn config(namespace: &str, name: &str) -> Object {
    value(namespace, name, "0")
}

fn value(namespace: &str, name: &str, value: &str) -> Object {
    Object::new(ConfigMap {
        metadata: meta(namespace, name),
        data: Some([("value".to_owned(), value.to_owned())].into()),
        ..ConfigMap::default()
    })
}

fn meta(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(namespace.to_owned()), name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn owned(name: &str, owner: Option<&str>, finalizers: &[&str]) -> Object {
    let reference =
        |uid: &str| OwnerReference { uid: uid.to_owned(), controller: Some(true), ..OwnerReference::default() };
    Object::new(Pod {
        metadata: ObjectMeta {
            owner_references: owner.map(|uid| vec![reference(uid)]),
            finalizers: Some(finalizers.iter().map(|&name| name.to_owned()).collect()),
            ..meta("default", name)
        },
        ..Pod::default()
    })
}

fn all<T: jobdock::model::object::Resource>() -> Query<'static> {
    Query {
        kind: Kind::of::<T>(),
        namespace: None,
        owner: Owner::Any,
        with_finalizers: false,
        limit: None,
        after: None,
        at: None,
    }
}

fn names(store: &Store, query: &Query<'_>) -> Vec<String> {
    store.list(query).unwrap().objects.iter().map(|object| object.key().name).collect()
}

fn update(object: Object) -> Write {
    let revision = object.revision();
    Write::Update { object, expected: Expected::Revision(revision) }
}

async fn one(store: &Store, write: Write) -> Result<Object, Error> {
    Ok(store.commit(vec![write]).await?.objects.remove(0).unwrap())
}

async fn create(store: &Store, object: Object) -> Object {
    one(store, Write::Create(object)).await.unwrap()
}

async fn next(watch: &mut Watch) -> Change {
    let change = tokio::time::timeout(Duration::from_secs(60), watch.next()).await.expect("a change comes");
    (*change.unwrap()).clone()
}

#[tokio::test]
async fn a_created_object_has_an_identity_and_is_read_back_as_it_was_answered() {
    let store = Store::in_memory().unwrap();
    assert!(store.revision() > 0, "revision 0 means any to clients");
    let object = create(&store, config("default", "a")).await;
    assert_eq!(object.uid().len(), 36);
    assert!(object.meta().creation_timestamp.is_some());
    assert_eq!(object.revision(), store.revision());
    assert_eq!(store.get(&object.key()).unwrap().unwrap(), object);
    assert_eq!(store.by_uid(object.uid()).unwrap(), Some(object.key()));
}

#[tokio::test]
async fn a_given_uid_is_kept() {
    let store = Store::in_memory().unwrap();
    let uid = store.mint().uid;
    let object = create(&store, config("default", "a").with_meta(|meta| meta.uid = Some(uid.clone()))).await;
    assert_eq!(object.uid(), uid);
}

#[tokio::test]
async fn a_generated_name_is_the_base_and_five_characters() {
    let store = Store::in_memory().unwrap();
    let base = "x".repeat(70);
    let object = config("default", "").with_meta(|meta| meta.generate_name = Some(base.clone()));
    let name = create(&store, object).await.key().name;
    assert_eq!(name.len(), 63);
    assert!(name.starts_with(&base[..58]));
}

#[tokio::test]
async fn a_second_object_of_the_same_name_is_refused() {
    let store = Store::in_memory().unwrap();
    create(&store, config("default", "a")).await;
    let refused = one(&store, Write::Create(config("default", "a"))).await;
    assert!(matches!(refused, Err(Error::AlreadyExists(_))));
    create(&store, config("other", "a")).await;
}

#[tokio::test]
async fn an_update_at_another_revision_conflicts() {
    let store = Store::in_memory().unwrap();
    let first = create(&store, config("default", "a")).await;
    let second = one(
        &store,
        update(value("default", "a", "1").with_meta(|meta| {
            meta.resource_version.clone_from(&first.meta().resource_version);
        })),
    )
    .await
    .unwrap();
    assert_eq!(second.uid(), first.uid(), "an update keeps the identity");
    assert_eq!(second.meta().creation_timestamp, first.meta().creation_timestamp);
    match one(&store, update(first.clone())).await {
        Err(Error::Conflict { expected, stored, .. }) => {
            assert_eq!((expected, stored), (first.revision(), second.revision()));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let store = Store::in_memory().unwrap();
    let first = create(&store, config("default", "a")).await;
    let again = Write::Update { object: config("default", "a"), expected: Expected::Exists };
    assert_eq!(one(&store, again).await.unwrap(), first);
    assert_eq!(store.revision(), first.revision());
}

#[tokio::test]
async fn an_update_of_another_uid_finds_nothing() {
    let store = Store::in_memory().unwrap();
    create(&store, config("default", "a")).await;
    let object = value("default", "a", "1").with_meta(|meta| meta.uid = Some("another".to_owned()));
    let refused = one(&store, Write::Update { object, expected: Expected::Exists }).await;
    assert!(matches!(refused, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn writes_of_one_commit_see_each_other_and_stand_or_fall_together() {
    let store = Store::in_memory().unwrap();
    let key = config("default", "a").key();
    let committed = store
        .commit(vec![
            Write::Create(config("default", "a")),
            Write::Update { object: value("default", "a", "1"), expected: Expected::Exists },
            Write::Check { key: key.clone(), revision: 3 },
        ])
        .await
        .unwrap();
    assert_eq!(committed.objects.len(), 3);
    assert!(committed.objects[2].is_none());
    let before = store.revision();
    let failed = store
        .commit(vec![
            Write::Delete { key: key.clone(), expected: Expected::Exists },
            Write::Create(config("default", "b")),
            Write::Check { key: config("default", "missing").key(), revision: 1 },
        ])
        .await;
    assert!(matches!(failed, Err(Error::NotFound(_))));
    assert_eq!(names(&store, &all::<ConfigMap>()), ["a"]);
    assert_eq!(store.revision(), before, "a failed commit uses no revision");
}

#[tokio::test]
async fn a_terminating_object_goes_with_its_last_finalizer() {
    let store = Store::in_memory().unwrap();
    let mut watch = store.watch(&[Kind::of::<Pod>()], store.revision()).unwrap();
    let pod = create(&store, owned("a", None, &["x/y"])).await;
    let marked = pod.with_meta(|meta| {
        meta.deletion_timestamp.clone_from(&meta.creation_timestamp);
        meta.deletion_grace_period_seconds = Some(30);
    });
    let marked = one(&store, update(marked)).await.unwrap();
    let free = one(&store, update(marked.with_meta(|meta| meta.finalizers = None))).await.unwrap();
    assert!(store.get(&free.key()).unwrap().is_some(), "its grace is not over");
    let over = free.with_meta(|meta| meta.deletion_grace_period_seconds = Some(0));
    one(&store, update(over)).await.unwrap();
    assert!(store.get(&free.key()).unwrap().is_none());
    for _ in 0..3 {
        assert!(next(&mut watch).await.after.is_some());
    }
    let gone = next(&mut watch).await;
    assert_eq!((gone.before, gone.after, gone.revision), (Some(free), None, store.revision()));
}

#[tokio::test]
async fn a_namespace_is_also_held_by_the_finalizers_of_its_spec() {
    let store = Store::in_memory().unwrap();
    let mut namespace = Namespace {
        metadata: ObjectMeta { name: Some("a".to_owned()), ..ObjectMeta::default() },
        spec: Some(NamespaceSpec { finalizers: Some(vec!["kubernetes".to_owned()]) }),
        status: None,
    };
    let stored = create(&store, Object::new(namespace.clone())).await;
    namespace.metadata = stored.meta().clone();
    namespace.metadata.deletion_timestamp.clone_from(&stored.meta().creation_timestamp);
    let marked = one(&store, update(Object::new(namespace.clone()))).await.unwrap();
    assert!(store.get(&marked.key()).unwrap().is_some());
    namespace.metadata = marked.meta().clone();
    namespace.spec = None;
    one(&store, update(Object::new(namespace))).await.unwrap();
    assert!(store.get(&marked.key()).unwrap().is_none());
}

#[tokio::test]
async fn a_dry_run_answers_and_writes_nothing() {
    let store = Store::in_memory().unwrap();
    let before = store.revision();
    let answer = store.dry_run(vec![Write::Create(config("default", "a"))]).await.unwrap();
    let object = answer.objects[0].clone().unwrap();
    assert_eq!(object.meta().resource_version, None);
    assert!(object.meta().uid.is_some());
    assert!(names(&store, &all::<ConfigMap>()).is_empty());
    assert_eq!(store.revision(), before);
    let stored = create(&store, config("default", "a")).await;
    let write = Write::Update { object: value("default", "a", "1"), expected: Expected::Exists };
    let answer = store.dry_run(vec![write]).await.unwrap().objects.remove(0).unwrap();
    assert_eq!(answer.meta().resource_version, stored.meta().resource_version);
    assert_eq!(answer.typed::<ConfigMap>().unwrap().data.as_ref().unwrap()["value"], "1");
    assert_eq!(store.get(&stored.key()).unwrap().unwrap(), stored);
}

#[tokio::test]
async fn lists_are_in_order_filtered_and_paged() {
    let store = Store::in_memory().unwrap();
    for (namespace, name) in [("b", "2"), ("a", "9"), ("b", "1"), ("a", "3"), ("c", "0")] {
        create(&store, config(namespace, name)).await;
    }
    assert_eq!(names(&store, &all::<ConfigMap>()), ["3", "9", "1", "2", "0"]);
    assert_eq!(names(&store, &Query { namespace: Some("b"), ..all::<ConfigMap>() }), ["1", "2"]);
    let page = store.list(&Query { limit: Some(2), after: Some(("a", "3")), ..all::<ConfigMap>() }).unwrap();
    assert_eq!(page.objects.iter().map(|object| object.key().name).collect::<Vec<_>>(), ["9", "1"]);
    assert_eq!((page.remaining, page.revision), (2, store.revision()));
    let page = store.list(&Query { limit: Some(5), ..all::<ConfigMap>() }).unwrap();
    assert_eq!((page.objects.len(), page.remaining), (5, 0));
}

#[tokio::test]
async fn lists_choose_by_owner_and_finalizers() {
    let store = Store::in_memory().unwrap();
    for (name, owner, finalizers) in
        [("a", Some("one"), &["x/y"][..]), ("b", Some("one"), &[]), ("c", Some("two"), &["x/y"]), ("d", None, &[])]
    {
        create(&store, owned(name, owner, finalizers)).await;
    }
    let pods = all::<Pod>;
    assert_eq!(names(&store, &Query { owner: Owner::Uid("one"), ..pods() }), ["a", "b"]);
    assert_eq!(names(&store, &Query { owner: Owner::Uid("one"), with_finalizers: true, ..pods() }), ["a"]);
    assert_eq!(names(&store, &Query { with_finalizers: true, ..pods() }), ["a", "c"]);
    assert_eq!(names(&store, &Query { owner: Owner::Nobody, ..pods() }), ["d"]);
    let pod = store.get(&Key::of::<Pod>("default", "a")).unwrap().unwrap();
    one(&store, update(pod.with_meta(|meta| meta.finalizers = None))).await.unwrap();
    assert!(names(&store, &Query { owner: Owner::Uid("one"), with_finalizers: true, ..pods() }).is_empty());
}

#[tokio::test]
async fn dependents_are_found_by_every_reference() {
    let store = Store::in_memory().unwrap();
    let references = ["one", "two"].map(|uid| OwnerReference { uid: uid.to_owned(), ..OwnerReference::default() });
    let both = config("default", "both").with_meta(|meta| meta.owner_references = Some(references.to_vec()));
    let both = create(&store, both).await;
    let pod = create(&store, owned("a", Some("one"), &[])).await;
    let sorted = |uid| {
        let mut keys = store.dependents(uid).unwrap();
        keys.sort();
        keys
    };
    assert_eq!(sorted("one"), [both.key(), pod.key()]);
    assert_eq!(sorted("two"), [both.key()]);
    let mut missing = store.missing_owners().unwrap();
    missing.sort();
    assert_eq!(missing, ["one", "two"]);
    let one_left = both.with_meta(|meta| meta.owner_references = Some(references[1..].to_vec()));
    one(&store, update(one_left)).await.unwrap();
    assert_eq!(sorted("one"), [pod.key()]);
    one(&store, Write::Delete { key: both.key(), expected: Expected::Exists }).await.unwrap();
    assert!(sorted("two").is_empty());
}

#[tokio::test]
async fn facts_live_as_long_as_their_object() {
    let store = Store::in_memory().unwrap();
    let uid = store.mint().uid;
    let fact = |value: &'static str| Write::Remember {
        uid: uid.clone(),
        name: "backoff",
        value: Bytes::from_static(value.as_bytes()),
    };
    store.commit(vec![fact("early")]).await.unwrap();
    assert_eq!(store.fact(&uid, "backoff").unwrap(), None, "there is no such object yet");
    let object = config("default", "a").with_meta(|meta| meta.uid = Some(uid.clone()));
    store.commit(vec![fact("first"), Write::Create(object.clone())]).await.unwrap();
    assert_eq!(store.fact(&uid, "backoff").unwrap().unwrap(), "first");
    store.commit(vec![fact("second")]).await.unwrap();
    assert_eq!(store.fact(&uid, "backoff").unwrap().unwrap(), "second");
    assert_eq!(store.fact(&uid, "other").unwrap(), None);
    one(&store, Write::Delete { key: object.key(), expected: Expected::Exists }).await.unwrap();
    assert_eq!(store.fact(&uid, "backoff").unwrap(), None);
}

#[tokio::test]
async fn the_same_message_about_the_same_object_is_one_event() {
    let store = Store::in_memory().unwrap();
    let job = Object::new(Job { metadata: meta("default", "j"), ..Job::default() });
    let job = create(&store, job).await;
    let say = |message: &str, second: i64| {
        let now = jiff::Timestamp::from_second(second).unwrap();
        Write::Record(event::about(&job, "job-controller", Severity::Normal, "Completed", message, now))
    };
    store.commit(vec![say("done", 10), say("done", 20), say("other", 30)]).await.unwrap();
    store.commit(vec![say("done", 40)]).await.unwrap();
    let events = store.list(&Query { namespace: Some("default"), ..all::<Event>() }).unwrap().objects;
    assert_eq!(events.len(), 2);
    let done = events.iter().filter_map(Object::typed::<Event>).find(|event| event.message.as_deref() == Some("done"));
    let done = done.unwrap();
    assert_eq!(done.count, Some(3));
    assert_eq!(done.first_timestamp.as_ref().unwrap().0.as_second(), 10);
    assert_eq!(done.last_timestamp.as_ref().unwrap().0.as_second(), 40);
    let (name, time) = done.metadata.name.as_deref().unwrap().split_once('.').unwrap();
    assert_eq!((name, time.len()), ("j", 16));
}

/// Messages of all Events, in the order of a list.
fn messages(store: &Store) -> Vec<(String, i32)> {
    let events = store.list(&all::<Event>()).unwrap().objects;
    let events = events.iter().filter_map(Object::typed::<Event>);
    events.map(|event| (event.message.clone().unwrap(), event.count.unwrap())).collect()
}

fn said(about: &Object, message: &str) -> Write {
    let now = jiff::Timestamp::from_second(10).unwrap();
    Write::Record(event::about(about, "kubelet", Severity::Normal, "Said", message, now))
}

#[tokio::test]
async fn events_of_one_second_are_listed_as_they_happened() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let object = create(&store, config("default", "a")).await;
    let words = ["Pulled", "Created", "Started", "Ready", "Killing"];
    store.commit(words[..3].iter().map(|word| said(&object, word)).collect()).await.unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.commit(vec![said(&object, words[3])]).await.unwrap();
    store.commit(vec![said(&object, words[4]), said(&object, words[0])]).await.unwrap();
    let (told, counts): (Vec<String>, Vec<i32>) = messages(&store).into_iter().unzip();
    assert_eq!(told, words);
    assert_eq!(counts, [2, 1, 1, 1, 1], "one said again after a restart is the same");
}

#[tokio::test]
async fn messages_that_differ_a_little_each_time_end_up_as_one_event() {
    let store = Store::in_memory().unwrap();
    let object = create(&store, config("default", "a")).await;
    for number in 1..=30 {
        store.commit(vec![said(&object, &format!("try {number}"))]).await.unwrap();
    }
    store.commit(vec![said(&object, "try 1")]).await.unwrap();
    let other = create(&store, config("default", "b")).await;
    store.commit(vec![said(&other, "try 31")]).await.unwrap();
    let told = messages(&store);
    assert_eq!(told.len(), 11, "{told:?}");
    assert_eq!(told[0], ("try 1".to_owned(), 2));
    assert_eq!(told[8], ("try 9".to_owned(), 1));
    assert_eq!(told[9], ("(combined from similar events): try 30".to_owned(), 21));
    assert_eq!(told[10].0, "try 31");
}

#[tokio::test]
async fn a_guard_that_fails_fails_its_own_commit_alone() {
    let store = Store::in_memory().unwrap();
    create(&store, config("default", "taken")).await;
    let commits = (0..200).map(|i| {
        let name = if i % 3 == 0 { "taken".to_owned() } else { format!("n{i}") };
        let store = store.clone();
        async move {
            store
                .commit(vec![
                    Write::Create(config("group", &format!("{name}-{i}"))),
                    Write::Create(config("default", &name)),
                ])
                .await
        }
    });
    let results = futures::future::join_all(commits).await;
    for (i, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), i % 3 == 0, "{i}: {result:?}");
    }
    assert_eq!(names(&store, &Query { namespace: Some("group"), ..all::<ConfigMap>() }).len(), 133);
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = store.id().to_owned();
    let object = create(&store, config("default", "a")).await;
    let gone = create(&store, config("default", "b")).await;
    one(&store, Write::Delete { key: gone.key(), expected: Expected::Exists }).await.unwrap();
    let revision = store.revision();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!((store.id(), store.revision()), (id.as_str(), revision));
    assert_eq!(store.list(&all::<ConfigMap>()).unwrap().objects, std::slice::from_ref(&object));
    let mut watch = store.watch(&[Kind::of::<ConfigMap>()], object.revision()).unwrap();
    assert_eq!(next(&mut watch).await.after, Some(gone.clone()));
    assert_eq!(next(&mut watch).await.before, Some(gone));
    let newer = create(&store, config("default", "c")).await;
    assert!(newer.revision() > revision, "a removal's revision is not given out again");
    assert_eq!(next(&mut watch).await.after, Some(newer));
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let conn = rusqlite::Connection::open(dir.path().join("jobdock.db")).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    assert!(matches!(Store::open(dir.path()).map(drop), Err(Error::Unreadable { found: 99, .. })));
}

#[tokio::test]
async fn a_watch_ends_when_the_store_closes_after_the_last_change() {
    let store = Store::in_memory().unwrap();
    let mut watch = store.watch(&[Kind::of::<ConfigMap>()], store.revision()).unwrap();
    create(&store, config("default", "a")).await;
    drop(store);
    assert!(next(&mut watch).await.after.is_some());
    assert!(matches!(watch.next().await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_watcher_of_one_kind_is_not_left_behind_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { log_keep: 0, log_max: 10, ..Limits::default() };
    let store = Store::open_with(dir.path(), limits).unwrap();
    let mut pods = store.watch(&[Kind::of::<Pod>()], store.revision()).unwrap();
    let writes = (0..50).map(|i| Write::Create(config("default", &format!("n{i}"))));
    store.commit(writes.collect()).await.unwrap();
    store.upkeep().await.unwrap();
    let pod = create(&store, owned("a", None, &[])).await;
    assert_eq!(next(&mut pods).await.after, Some(pod));
}

#[tokio::test]
async fn a_compacted_past_is_refused_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { log_keep: 0, log_max: 3, ..Limits::default() };
    let store = Store::open_with(dir.path(), limits).unwrap();
    let start = store.revision();
    for i in 0..10 {
        let write = Write::Update { object: value("default", "a", &i.to_string()), expected: Expected::Exists };
        let write = if i == 0 { Write::Create(value("default", "a", "0")) } else { write };
        one(&store, write).await.unwrap();
    }
    let end = store.revision();
    store.upkeep().await.unwrap();
    assert!(matches!(store.watch(&[Kind::of::<ConfigMap>()], start).map(drop), Err(Error::Compacted(..))));
    let past = Query { at: Some(start + 1), ..all::<ConfigMap>() };
    assert!(matches!(store.list(&past), Err(Error::Compacted(..))));
    let past = Query { at: Some(end - 3), ..all::<ConfigMap>() };
    assert_eq!(store.list(&past).unwrap().objects[0].revision(), end - 3);
    drop(store);
    let store = Store::open_with(dir.path(), limits).unwrap();
    let mut watch = store.watch(&[Kind::of::<ConfigMap>()], end - 3).unwrap();
    for revision in end - 2..=end {
        let change = next(&mut watch).await;
        assert_eq!((change.revision, change.before.unwrap().revision()), (revision, revision - 1));
    }
}

#[tokio::test]
async fn events_go_when_they_are_old() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { event_age: Duration::ZERO, ..Limits::default() };
    let store = Store::open_with(dir.path(), limits).unwrap();
    let object = create(&store, config("default", "a")).await;
    let mut watch = store.watch(&[Kind::of::<Event>()], store.revision()).unwrap();
    let event = event::about(&object, "kubelet", Severity::Warning, "Failed", "no", jiff::Timestamp::now());
    store.commit(vec![Write::Record(event)]).await.unwrap();
    store.upkeep().await.unwrap();
    assert!(names(&store, &all::<Event>()).is_empty());
    assert_eq!(names(&store, &all::<ConfigMap>()), ["a"]);
    assert!(next(&mut watch).await.after.is_some());
    assert!(next(&mut watch).await.after.is_none(), "watchers see them go");
}

#[tokio::test]
async fn a_watcher_that_falls_behind_the_ring_misses_nothing() {
    const CHANGES: u64 = 10_000;
    let store = Store::in_memory().unwrap();
    let start = store.revision();
    let mut watch = store.watch(&[Kind::of::<ConfigMap>()], start).unwrap();
    for batch in 0..CHANGES / 500 {
        let writes = (0..500).map(|i| Write::Create(config("default", &format!("n{}", batch * 500 + i))));
        store.commit(writes.collect()).await.unwrap();
    }
    for i in 0..CHANGES {
        assert_eq!(next(&mut watch).await.revision, start + 1 + i);
    }
    let late = create(&store, config("default", "late")).await;
    assert_eq!(next(&mut watch).await.after, Some(late));
}

#[tokio::test]
async fn a_watch_that_is_dropped_while_it_waits_loses_nothing() {
    let store = Store::in_memory().unwrap();
    let mut watch = store.watch(&[Kind::of::<ConfigMap>()], store.revision()).unwrap();
    for i in 0..50 {
        // Waiting is given up, as a select does.
        let _ = futures::poll!(std::pin::pin!(watch.next()));
        let object = create(&store, config("default", &format!("n{i}"))).await;
        assert_eq!(next(&mut watch).await.after, Some(object));
        assert_eq!(watch.revision(), store.revision());
    }
}

#[tokio::test]
async fn two_hundred_watchers_see_the_same_changes() {
    let store = Store::in_memory().unwrap();
    let watches: Vec<_> =
        (0..200).map(|_| store.watch(&[Kind::of::<ConfigMap>()], store.revision()).unwrap()).collect();
    let readers = watches.into_iter().map(|mut watch| {
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 100 {
                seen.push(next(&mut watch).await.revision);
            }
            seen
        })
    });
    let readers: Vec<_> = readers.collect();
    let start = store.revision();
    for i in 0..100 {
        create(&store, config("default", &format!("n{i}"))).await;
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap(), (start + 1..=start + 100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_database_that_fails_fails_the_whole_group_and_then_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let revision = store.revision();
    let other = rusqlite::Connection::open(dir.path().join("jobdock.db")).unwrap();
    // Somebody else's write lock is a failure that can be had without a broken disk.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let commits = ["a", "b"].map(|name| store.commit(vec![Write::Create(config("default", name))]));
    for result in futures::future::join_all(commits).await {
        assert!(matches!(result, Err(Error::Database(_))), "{result:?}");
    }
    assert_eq!(store.revision(), revision);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(create(&store, config("default", "a")).await.revision(), revision + 1);
}

#[tokio::test]
async fn a_state_that_does_not_decode_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let object = create(&Store::open(dir.path()).unwrap(), config("default", "a")).await;
    let conn = rusqlite::Connection::open(dir.path().join("jobdock.db")).unwrap();
    conn.execute("UPDATE states SET json = x'7b'", []).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = store.get(&object.key()).unwrap_err();
    assert!(error.to_string().contains("configmaps"), "{error}");
    create(&store, config("default", "b")).await;
}

#[tokio::test]
async fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let store = Store::open(&dir).unwrap();
    create(&store, config("default", "a")).await;
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o077, 0);
    for entry in std::fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
    }
}

#[test]
fn a_full_disk_is_known_from_other_faults() {
    let sqlite = |code| Error::Database(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
    assert!(sqlite(rusqlite::ffi::SQLITE_FULL).is_full());
    assert!(Error::Io(std::io::ErrorKind::StorageFull.into()).is_full());
    assert!(!sqlite(rusqlite::ffi::SQLITE_CORRUPT).is_full());
    assert!(!Error::Closed.is_full());
}
