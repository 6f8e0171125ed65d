//! The store against a model of it: random commits, restarts, compaction, lists of the past, and watchers that must
//! see each change exactly once and in order.

use std::collections::BTreeMap;
use std::time::Duration;

use jobdock::model::kind::Kind;
use jobdock::model::object::{Key, Object};
use jobdock::store::{Error, Expected, Limits, Owner, Query, Store, Watch, Write};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;

/// Log entries kept; few, so that compaction bites.
const LOG: u64 = 15;

#[derive(Clone, Copy, Debug)]
enum Guard {
    Exists,
    Right,
    Wrong,
}

#[derive(Clone, Debug)]
enum Act {
    Create,
    Update(u8, Guard),
    Finalizer(bool, Guard),
    Terminate,
    Delete(Guard),
    Check(Guard),
}

/// Which object: of a few kinds, namespaces and names, so that they meet.
type Slot = (bool, u8, u8);

#[derive(Clone, Debug)]
enum Op {
    /// Commits that are sent at once.
    Group(Vec<Vec<(Slot, Act)>>),
    DryRun(Vec<(Slot, Act)>),
    Restart,
    Upkeep,
    Watch {
        secrets: bool,
        both: bool,
        back: u64,
    },
    Drain {
        watcher: usize,
        at_most: usize,
    },
    ListAt {
        secrets: bool,
        back: u64,
        limit: usize,
    },
}

fn guard() -> impl Strategy<Value = Guard> {
    prop_oneof![3 => Just(Guard::Exists), 3 => Just(Guard::Right), 1 => Just(Guard::Wrong)]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => Just(Act::Create),
        4 => (0..3_u8, guard()).prop_map(|(value, guard)| Act::Update(value, guard)),
        2 => (any::<bool>(), guard()).prop_map(|(on, guard)| Act::Finalizer(on, guard)),
        1 => Just(Act::Terminate),
        2 => guard().prop_map(Act::Delete),
        1 => guard().prop_map(Act::Check),
    ]
}

fn commit() -> impl Strategy<Value = Vec<(Slot, Act)>> {
    prop::collection::vec(((any::<bool>(), 0..2_u8, 0..3_u8), act()), 1..4)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => prop::collection::vec(commit(), 1..5).prop_map(Op::Group),
        1 => commit().prop_map(Op::DryRun),
        1 => Just(Op::Restart),
        2 => Just(Op::Upkeep),
        2 => (any::<bool>(), any::<bool>(), 0..30_u64).prop_map(|(secrets, both, back)| Op::Watch { secrets, both, back }),
        4 => (0..4_usize, 0..20_usize).prop_map(|(watcher, at_most)| Op::Drain { watcher, at_most }),
        3 => (any::<bool>(), 0..30_u64, 1..5_usize).prop_map(|(secrets, back, limit)| Op::ListAt { secrets, back, limit }),
    ]
}

/// What the store should hold: the state of each object and, for each revision, what changed.
#[derive(Default)]
struct Model {
    objects: BTreeMap<Key, State>,
    log: Vec<Step>,
    revision: u64,
    compacted: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    revision: u64,
    value: u8,
    held: bool,
    terminating: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Step {
    revision: u64,
    key: Key,
    before: Option<State>,
    after: Option<State>,
}

fn key((secret, namespace, name): Slot) -> Key {
    let (namespace, name) = (format!("ns{namespace}"), format!("n{name}"));
    if secret { Key::of::<Secret>(&namespace, &name) } else { Key::of::<ConfigMap>(&namespace, &name) }
}

fn kind(secrets: bool) -> &'static Kind {
    if secrets { Kind::of::<Secret>() } else { Kind::of::<ConfigMap>() }
}

fn object(key: &Key, state: &State) -> Object {
    let metadata = ObjectMeta {
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        finalizers: state.held.then(|| vec!["test/held".to_owned()]),
        deletion_timestamp: state.terminating.then(|| jobdock::model::time::seconds(jiff::Timestamp::UNIX_EPOCH)),
        ..ObjectMeta::default()
    };
    let value = Some([("value".to_owned(), state.value.to_string())].into());
    if key.kind == Kind::of::<Secret>() {
        Object::new(Secret { metadata, string_data: value, ..Secret::default() })
    } else {
        Object::new(ConfigMap { metadata, data: value, ..ConfigMap::default() })
    }
}

fn state(object: &Object) -> State {
    let (meta, secret) = (object.meta(), object.typed::<Secret>());
    let data =
        secret.map_or_else(|| object.typed::<ConfigMap>().unwrap().data.as_ref(), |secret| secret.string_data.as_ref());
    State {
        revision: object.revision(),
        value: data.unwrap()["value"].parse().unwrap(),
        held: meta.finalizers.is_some(),
        terminating: meta.deletion_timestamp.is_some(),
    }
}

impl Model {
    fn expected(&self, key: &Key, guard: Guard) -> Expected {
        let stored = self.objects.get(key).map_or(1, |state| state.revision);
        match guard {
            Guard::Exists => Expected::Exists,
            Guard::Right => Expected::Revision(stored),
            Guard::Wrong => Expected::Revision(stored + 1_000_000),
        }
    }

    fn desired(&self, key: &Key) -> State {
        let fresh = State { revision: 0, value: 0, held: false, terminating: false };
        self.objects.get(key).cloned().unwrap_or(fresh)
    }

    fn write(&self, slot: Slot, act: &Act) -> Write {
        let key = key(slot);
        let mut desired = self.desired(&key);
        let update = |desired: &State, guard| Write::Update {
            object: object(&key, desired),
            expected: self.expected(&key, guard),
        };
        match *act {
            Act::Create => {
                Write::Create(object(&key, &State { revision: 0, value: 0, held: false, terminating: false }))
            }
            Act::Update(value, guard) => {
                desired.value = value;
                update(&desired, guard)
            }
            Act::Finalizer(held, guard) => {
                desired.held = held;
                update(&desired, guard)
            }
            Act::Terminate => {
                desired.terminating = true;
                update(&desired, Guard::Exists)
            }
            Act::Delete(guard) => Write::Delete { expected: self.expected(&key, guard), key },
            Act::Check(guard) => {
                let revision = match self.expected(&key, guard) {
                    Expected::Revision(revision) => revision,
                    Expected::Exists => self.objects.get(&key).map_or(1, |state| state.revision),
                };
                Write::Check { key, revision }
            }
        }
    }

    /// The same rules as the store's, said once more. False where the commit fails.
    fn apply(&mut self, writes: &[Write]) -> bool {
        let saved = (self.objects.clone(), self.log.len(), self.revision);
        if writes.iter().all(|write| self.apply_one(write)) {
            return true;
        }
        self.objects = saved.0;
        self.log.truncate(saved.1);
        self.revision = saved.2;
        false
    }

    fn apply_one(&mut self, write: &Write) -> bool {
        match write {
            Write::Create(object) if self.objects.contains_key(&object.key()) => false,
            Write::Create(object) => self.set(object.key(), Some(state(object))),
            Write::Update { object, expected } => {
                self.holds(&object.key(), *expected) && {
                    let next = state(object);
                    let stored = self.objects[&object.key()].clone();
                    if (State { revision: stored.revision, ..next.clone() }) == stored {
                        return true;
                    }
                    let over = next.terminating && !next.held;
                    self.set(object.key(), (!over).then_some(next))
                }
            }
            Write::Delete { key, expected } => self.holds(key, *expected) && self.set(key.clone(), None),
            Write::Check { key, revision } => self.holds(key, Expected::Revision(*revision)),
            Write::Record(_) | Write::Remember { .. } => unreachable!("not generated"),
        }
    }

    fn holds(&self, key: &Key, expected: Expected) -> bool {
        self.objects.get(key).is_some_and(|state| match expected {
            Expected::Exists => true,
            Expected::Revision(revision) => state.revision == revision,
        })
    }

    fn set(&mut self, key: Key, after: Option<State>) -> bool {
        self.revision += 1;
        let after = after.map(|state| State { revision: self.revision, ..state });
        let before = match &after {
            Some(state) => self.objects.insert(key.clone(), state.clone()),
            None => self.objects.remove(&key),
        };
        self.log.push(Step { revision: self.revision, key, before, after });
        true
    }

    fn at(&self, revision: u64, kind: &Kind) -> Vec<(Key, State)> {
        let mut objects = self.objects.clone();
        for step in self.log.iter().rev().take_while(|step| step.revision > revision) {
            match &step.before {
                Some(before) => objects.insert(step.key.clone(), before.clone()),
                None => objects.remove(&step.key),
            };
        }
        objects.into_iter().filter(|(key, _)| key.kind == kind).collect()
    }
}

/// A watcher as a client is one: it remembers what it saw last, and opens a new watch after a restart.
struct Watcher {
    kinds: Vec<&'static Kind>,
    seen: u64,
    watch: Option<Watch>,
}

struct Rig {
    dir: tempfile::TempDir,
    store: Option<Store>,
    model: Model,
    watchers: Vec<Watcher>,
}

fn open(dir: &tempfile::TempDir) -> Store {
    let limits = Limits { log_keep: 0, log_max: LOG, ..Limits::default() };
    Store::open_with(dir.path(), limits).unwrap()
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let model = Model { revision: store.revision(), ..Model::default() };
        Self { dir, store: Some(store), model, watchers: Vec::new() }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    async fn run(&mut self, op: Op) {
        match op {
            Op::Group(commits) => self.group(commits).await,
            Op::DryRun(acts) => {
                let writes: Vec<_> = acts.iter().map(|(slot, act)| self.model.write(*slot, act)).collect();
                let mut copy =
                    Model { objects: self.model.objects.clone(), revision: self.model.revision, ..Model::default() };
                let answer = self.store().dry_run(writes.clone()).await;
                assert_eq!(answer.is_ok(), copy.apply(&writes));
            }
            Op::Restart => {
                self.watchers.iter_mut().for_each(|watcher| watcher.watch = None);
                self.store = None;
                self.store = Some(open(&self.dir));
            }
            Op::Upkeep => {
                self.store().upkeep().await.unwrap();
                self.model.compacted = self.model.compacted.max(self.model.revision.saturating_sub(LOG));
            }
            Op::Watch { secrets, both, back } => {
                let kinds = if both { vec![kind(true), kind(false)] } else { vec![kind(secrets)] };
                self.watchers.push(Watcher { kinds, seen: self.model.revision.saturating_sub(back), watch: None });
            }
            Op::Drain { watcher, at_most } => {
                if watcher < self.watchers.len() {
                    self.drain(watcher, at_most).await;
                }
            }
            Op::ListAt { secrets, back, limit } => self.list_at(kind(secrets), back, limit),
        }
        self.check_current();
    }

    async fn group(&mut self, commits: Vec<Vec<(Slot, Act)>>) {
        // Each commit is decided on the facts before the group, as concurrent writers do.
        let commits: Vec<Vec<Write>> =
            commits.iter().map(|acts| acts.iter().map(|(slot, act)| self.model.write(*slot, act)).collect()).collect();
        let store = self.store().clone();
        // They reach the writer in the order in which they are first polled.
        let results = futures::future::join_all(commits.iter().map(|writes| store.commit(writes.clone()))).await;
        for (writes, result) in commits.iter().zip(results) {
            let expected = self.model.apply(writes);
            assert_eq!(result.is_ok(), expected, "{writes:?}: {result:?}");
            match result {
                Ok(committed) => assert_eq!(committed.revision, self.model.revision),
                Err(error) => assert!(
                    matches!(error, Error::Conflict { .. } | Error::NotFound(_) | Error::AlreadyExists(_)),
                    "{error:?}"
                ),
            }
        }
    }

    fn check_current(&self) {
        assert_eq!(self.store().revision(), self.model.revision);
        for kind in [kind(true), kind(false)] {
            let page = self.store().list(&all(kind)).unwrap();
            let listed: Vec<_> = page.objects.iter().map(|object| (object.key(), state(object))).collect();
            assert_eq!(listed, self.model.at(self.model.revision, kind));
            assert_eq!(page.revision, self.model.revision);
        }
    }

    fn list_at(&self, kind: &'static Kind, back: u64, limit: usize) {
        let at = self.model.revision.saturating_sub(back);
        let expected = self.model.at(at, kind);
        let mut listed = Vec::new();
        let mut after: Option<Key> = None;
        loop {
            let cursor = after.as_ref().map(|key| (key.namespace.as_str(), key.name.as_str()));
            let query = Query { limit: Some(limit), after: cursor, at: Some(at), ..all(kind) };
            let page = match self.store().list(&query) {
                Err(Error::Compacted(..)) => {
                    assert!(at < self.model.compacted);
                    return;
                }
                page => page.unwrap(),
            };
            assert!(at >= self.model.compacted || at == self.model.revision);
            listed.extend(page.objects.iter().map(|object| (object.key(), state(object))));
            assert_eq!(page.revision, at);
            assert_eq!(page.remaining as usize, expected.len() - listed.len());
            match page.objects.last() {
                Some(last) if page.remaining > 0 => after = Some(last.key()),
                _ => break,
            }
        }
        assert_eq!(listed, expected);
    }

    /// Reads up to `at_most` of what the watcher has yet to see.
    async fn drain(&mut self, watcher: usize, at_most: usize) {
        let store = self.store().clone();
        let watcher = &mut self.watchers[watcher];
        let (seen, kinds) = (watcher.seen, watcher.kinds.clone());
        let waiting = self.model.log.iter().filter(|step| step.revision > seen && kinds.contains(&step.key.kind));
        for expected in waiting.take(at_most) {
            if watcher.watch.is_none() {
                match store.watch(&watcher.kinds, watcher.seen) {
                    Ok(watch) => watcher.watch = Some(watch),
                    Err(Error::Compacted(..)) => {
                        assert!(watcher.seen < self.model.compacted);
                        watcher.seen = self.model.revision;
                        return;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            let next = tokio::time::timeout(Duration::from_secs(60), watcher.watch.as_mut().unwrap().next()).await;
            let change = match next.expect("a change is waiting") {
                Err(Error::Compacted(..)) => {
                    assert!(watcher.seen < self.model.compacted);
                    (watcher.seen, watcher.watch) = (self.model.revision, None);
                    return;
                }
                change => change.unwrap(),
            };
            let seen = Step {
                revision: change.revision,
                key: change.after.as_ref().or(change.before.as_ref()).unwrap().key(),
                before: change.before.as_ref().map(state),
                after: change.after.as_ref().map(state),
            };
            assert_eq!(&seen, expected);
            watcher.seen = change.revision;
        }
    }

    async fn finish(&mut self) {
        for watcher in 0..self.watchers.len() {
            self.drain(watcher, usize::MAX).await;
        }
    }
}

fn all(kind: &'static Kind) -> Query<'static> {
    Query { kind, namespace: None, owner: Owner::Any, with_finalizers: false, limit: None, after: None, at: None }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_its_model_does(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::new();
            for op in ops {
                rig.run(op).await;
            }
            rig.finish().await;
        });
    }
}
