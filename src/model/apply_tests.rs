//! Owns the promises of `apply`: who owns what after which write, what an apply changes.
//! Never talks HTTP: `tests/it/api/apply.rs` does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::admit::{self, Configuration, Identity, Measure, Options, Part, Patched, Refusal};
use super::super::decode::{FieldValidation, Format};
use super::super::kind::Kind;
use super::super::object::Object;
use super::managers::Managers;
use super::set::shown;
use super::{Writer, manager_name};

/// One object and its clients.
struct World {
    kind: &'static Kind,
    live: Option<Object>,
    /// Seconds; a write takes one.
    clock: i64,
}

impl World {
    fn of(kind: &str) -> Self {
        let kind = ["", "batch"].iter().find_map(|group| Kind::find(group, kind)).expect("the kind is served");
        Self { kind, live: None, clock: 1_000_000_000 }
    }

    fn live(&self) -> &Object {
        self.live.as_ref().expect("the object is there")
    }

    fn value(&self) -> Value {
        self.live().to_value()
    }

    fn writer<'a>(&mut self, name: &'a str) -> Writer<'a> {
        self.clock += 1;
        Writer { name, now: Timestamp::from_second(self.clock).expect("a time") }
    }

    /// As the store does: what changes nothing is not written.
    fn store(&mut self, object: Object) {
        if self.live.as_ref() != Some(&object) {
            let revision = self.clock.to_string();
            self.live = Some(object.with_meta(|meta| meta.resource_version = Some(revision.clone())));
        }
    }

    fn create(&mut self, name: &str, body: Value) -> &mut Self {
        let (writer, kind) = (self.writer(name), self.kind);
        let body = named(kind, body).to_string();
        let made =
            admit::create(kind, body.as_bytes(), Format::Json, &options(writer), &identity()).expect("it is made");
        self.store(made.object);
        self
    }

    /// A merge patch.
    fn patch(&mut self, name: &str, part: Part, patch: Value) -> &mut Self {
        let writer = self.writer(name);
        let mut value = self.value();
        json_patch::merge(&mut value, &patch);
        let how = Patched::Json { strict: &[] };
        let admitted = admit::update_value(self.live(), &value, how, &options(writer), part).expect("it is patched");
        self.store(admitted.object);
        self
    }

    fn apply_to(&mut self, name: &str, part: Part, config: Value, force: bool) -> Result<(), Refusal> {
        let (writer, kind) = (self.writer(name), self.kind);
        let body = named(kind, config).to_string();
        let sent = Configuration { kind, name: "x", part, body: body.as_bytes(), writer, force };
        let admitted = admit::apply(self.live.as_ref(), &sent, &options(writer), &identity())?;
        self.store(admitted.object);
        Ok(())
    }

    fn tries(&mut self, name: &str, config: Value) -> Result<(), Refusal> {
        self.apply_to(name, Part::Main, config, false)
    }

    #[track_caller]
    fn apply(&mut self, name: &str, config: Value) -> &mut Self {
        self.tries(name, config).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        self
    }

    #[track_caller]
    fn force(&mut self, name: &str, config: Value) -> &mut Self {
        self.apply_to(name, Part::Main, config, true).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        self
    }

    fn managers(&self) -> Managers {
        let entries = self.live().meta().managed_fields.as_deref().unwrap_or_default();
        Managers::read(self.kind.api_version(), entries).expect("what is written can be read")
    }

    /// What a manager owns, over all its entries.
    fn owns(&self, name: &str) -> Vec<String> {
        let managers = self.managers();
        let own = managers.owned.iter().filter(|(manager, _)| manager.name == name);
        own.flat_map(|(_, owned)| owned.set.paths()).map(|path| shown(&path)).collect()
    }

    /// Each entry: its manager, in words, and its time.
    fn entries(&self) -> Vec<(String, i64)> {
        let entries = self.live().meta().managed_fields.iter().flatten();
        let words = entries.map(|entry| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let time = entry.time.as_ref().map_or(0, |time| time.0.as_second() - 1_000_000_000);
            let words = [text(&entry.manager), text(&entry.operation), text(&entry.subresource)].join(" ");
            (words.trim_end().to_owned(), time)
        });
        words.collect()
    }
}

fn options(writer: Writer<'_>) -> Options<'_> {
    Options {
        namespace: "default",
        field_validation: FieldValidation::Strict,
        dry_run: false,
        writer: Some(writer),
        measure: Measure::NONE,
    }
}

fn identity() -> Identity<'static> {
    Identity { uid: "1-2-3", suffix: "abcde", now: Timestamp::UNIX_EPOCH }
}

/// The body with what every body has.
fn named(kind: &Kind, body: Value) -> Value {
    let mut all = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "x"}});
    json_patch::merge(&mut all, &body);
    all
}

fn data(pairs: &[(&str, &str)]) -> Value {
    let pairs: BTreeMap<_, _> = pairs.iter().copied().collect();
    json!({"data": pairs})
}

/// A Job whose container has these members beside its name and image.
fn job(container: Value) -> Value {
    let mut main = json!({"name": "main", "image": "busybox"});
    json_patch::merge(&mut main, &container);
    json!({"spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [main]}}}})
}

/// A CronJob of such a Job: its template can be changed.
fn cron_job(container: Value) -> Value {
    let mut template = job(container);
    template["spec"]["suspend"].take();
    json!({"spec": {"schedule": "0 0 * * *", "jobTemplate": template}})
}

fn config_map() -> World {
    World::of("ConfigMap")
}

proptest! {
    #[test]
    fn to_apply_twice_changes_nothing(config in any_config(), earlier in any_config()) {
        let mut world = World::of("Job");
        world.create("maker", job(json!({}))).force("other", earlier).force("a", config.clone());
        let once = world.live().clone();
        world.force("a", config);
        prop_assert_eq!(world.live(), &once);
    }

    #[test]
    fn appliers_of_different_fields_never_conflict(
        mine in prop::collection::btree_set("[a-f]", 0..4), theirs in prop::collection::btree_set("[g-k]", 0..4)
    ) {
        let config = |keys: &std::collections::BTreeSet<String>| {
            let data: serde_json::Map<_, _> = keys.iter().map(|key| (key.clone(), json!("1"))).collect();
            // An empty map would be a field of its own.
            if data.is_empty() { json!({}) } else { json!({"data": data}) }
        };
        let mut world = config_map();
        world.apply("a", config(&mine)).apply("b", config(&theirs)).apply("a", config(&mine));
        let all = mine.iter().chain(&theirs).count();
        let value = world.value();
        prop_assert_eq!(value["data"].as_object().map_or(0, serde_json::Map::len), all);
        world.apply("a", json!({}));
        let value = world.value();
        prop_assert_eq!(value["data"].as_object().map_or(0, serde_json::Map::len), theirs.len());
    }

    #[test]
    fn who_forces_owns_and_who_is_the_only_owner_removes(config in any_config()) {
        let mut world = World::of("Job");
        world.create("maker", job(json!({"env": [{"name": "A", "value": "0"}]})));
        let before = world.value()["spec"].clone();
        world.force("a", config).apply("a", json!({}));
        prop_assert!(world.owns("a").is_empty());
        prop_assert_eq!(&world.value()["spec"]["template"]["spec"]["containers"], &before["template"]["spec"]["containers"]);
    }
}

/// Labels, annotations and fields of a suspended Job.
fn any_config() -> impl Strategy<Value = Value> {
    let labels = prop::collection::btree_map("[a-c]", "[x-z]", 0..3);
    (labels.clone(), labels, prop::option::of(1..4), prop::option::of(1..4)).prop_map(
        |(labels, notes, width, limit)| {
            let mut config = json!({"metadata": {"labels": labels, "annotations": notes}, "spec": {}});
            if let Some(width) = width {
                config["spec"]["parallelism"] = json!(width);
            }
            if let Some(limit) = limit {
                config["spec"]["activeDeadlineSeconds"] = json!(limit);
            }
            config
        },
    )
}

#[test]
fn who_makes_a_job_owns_what_it_sent_and_its_defaults_but_nothing_of_the_server() {
    let mut world = World::of("Job");
    world.create("kubectl-create", job(json!({"command": ["true"]})));
    let entry = &world.value()["metadata"]["managedFields"];
    let container = json!({
        ".": {}, "f:command": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
        "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
    });
    let pod = json!({
        "f:containers": {"k:{\"name\":\"main\"}": container}, "f:dnsPolicy": {}, "f:restartPolicy": {},
        "f:schedulerName": {}, "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
    });
    let spec = json!({
        "f:backoffLimit": {}, "f:completionMode": {}, "f:completions": {}, "f:manualSelector": {}, "f:parallelism": {},
        "f:podReplacementPolicy": {}, "f:suspend": {}, "f:template": {"f:spec": pod},
    });
    assert_eq!(
        entry,
        &json!([{
            "manager": "kubectl-create", "operation": "Update", "apiVersion": "batch/v1", "fieldsType": "FieldsV1",
            "time": "2001-09-09T01:46:41Z", "fieldsV1": {"f:spec": spec},
        }])
    );
}

#[test]
fn an_applier_owns_what_it_names_and_defaults_are_nobodys() {
    let mut world = World::of("Job");
    world.apply("a", job(json!({"command": ["true"]})));
    let container = r#".spec.template.spec.containers[name="main"]"#;
    let mut expected: Vec<String> =
        ["", ".command", ".image", ".name"].iter().map(|end| format!("{container}{end}")).collect();
    expected.extend([".spec.suspend".to_owned(), ".spec.template.spec.restartPolicy".to_owned()]);
    expected.sort();
    let mut own = world.owns("a");
    own.sort();
    assert_eq!(own, expected);
    assert_eq!(world.value()["spec"]["backoffLimit"], 6);
}

#[test]
fn a_conflict_names_the_owner_and_the_field() {
    let mut world = config_map();
    world.create("maker", data(&[("a", "1"), ("b", "1")])).patch("other", Part::Main, data(&[("b", "2")]));
    let one = world.tries("a", data(&[("b", "3")])).unwrap_err();
    assert_eq!(one.message(), "Apply failed with 1 conflict: conflict with \"other\" using v1: .data.b");
    let two = world.tries("a", data(&[("a", "3"), ("b", "3")])).unwrap_err();
    assert_eq!(
        two.message(),
        "Apply failed with 2 conflicts: conflicts with \"maker\" using v1:\n- .data.a\nconflicts with \"other\" using v1:\n\
         - .data.b"
    );
    let Refusal::Contested { causes, .. } = two else { panic!("it is a conflict") };
    assert_eq!((causes[0].message.as_str(), causes[0].field.as_str()), ("conflict with \"maker\" using v1", ".data.a"));
    // The same value is no conflict: both own it then.
    world.apply("a", data(&[("b", "2")]));
    assert_eq!((world.owns("a"), world.owns("other")), (vec![".data.b".to_owned()], vec![".data.b".to_owned()]));
    let applier = world.tries("b", data(&[("b", "3")])).unwrap_err().message();
    assert!(applier.contains("conflicts with \"a\":\n- .data.b\nconflicts with \"other\" using v1:"), "{applier}");
}

#[test]
fn a_forced_conflict_moves_the_field() {
    let mut world = config_map();
    world.apply("a", data(&[("x", "1"), ("y", "1")])).force("b", data(&[("x", "2")]));
    assert_eq!(world.value()["data"], json!({"x": "2", "y": "1"}));
    assert_eq!((world.owns("a"), world.owns("b")), (vec![".data.y".to_owned()], vec![".data.x".to_owned()]));
    // A owns it no more: to leave it out does not remove it.
    world.apply("a", data(&[("y", "1")]));
    assert_eq!(world.value()["data"], json!({"x": "2", "y": "1"}));
}

#[test]
fn a_field_goes_when_its_last_owner_leaves_it_out() {
    let mut world = config_map();
    world.apply("a", data(&[("x", "1"), ("y", "1")])).apply("b", data(&[("x", "1")]));
    world.apply("a", data(&[("y", "1")]));
    assert_eq!(world.value()["data"], json!({"x": "1", "y": "1"}));
    world.apply("b", json!({}));
    assert_eq!(world.value()["data"], json!({"y": "1"}));
    world.apply("a", json!({}));
    assert_eq!(world.value().get("data"), None);
    assert_eq!(world.live().meta().managed_fields, None);
}

#[test]
fn what_an_update_made_is_not_removed_by_an_applier_that_never_owned_it() {
    let mut world = config_map();
    world.create("maker", data(&[("x", "1")])).apply("a", data(&[("y", "1")])).apply("a", json!({}));
    assert_eq!(world.value()["data"], json!({"x": "1"}));
    // It shared x with the maker, who still owns it.
    world.apply("a", data(&[("x", "1")])).apply("a", json!({}));
    assert_eq!(world.value()["data"], json!({"x": "1"}));
}

#[test]
fn a_whole_struct_goes_with_the_last_field_in_it() {
    let term = json!({"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}});
    let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}});
    let mut world = World::of("Job");
    world.create("maker", job(json!({})));
    world.apply("a", json!({"spec": {"template": {"spec": {"affinity": affinity}}}}));
    assert_eq!(world.value()["spec"]["template"]["spec"]["affinity"], affinity);
    world.apply("a", json!({}));
    assert_eq!(world.value()["spec"]["template"]["spec"].get("affinity"), None);
}

#[test]
fn items_with_keys_have_owners_of_their_own() {
    let env = |pairs: &[(&str, &str)]| -> Value {
        pairs.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
    };
    let values = |world: &World| -> Vec<String> {
        let value = world.value();
        let list = value["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        list.iter().map(|item| format!("{}={}", item["name"], item["value"]).replace('"', "")).collect()
    };
    let mut world = World::of("CronJob");
    world.apply("a", cron_job(json!({"env": env(&[("A", "1"), ("B", "2")])})));
    world.apply("b", cron_job(json!({"env": env(&[("C", "3"), ("A", "1")])})));
    // Old items keep their order until the first that both have.
    assert_eq!(values(&world), ["C=3", "A=1", "B=2"]);
    world.apply("a", cron_job(json!({"env": env(&[("B", "2")])})));
    assert_eq!(values(&world), ["C=3", "A=1", "B=2"]);
    world.apply("b", cron_job(json!({})));
    assert_eq!(values(&world), ["B=2"]);
    let refusal = world.tries("c", cron_job(json!({"env": env(&[("B", "9")])}))).unwrap_err().message();
    let field = r#".spec.jobTemplate.spec.template.spec.containers[name="main"].env[name="B"].value"#;
    assert_eq!(refusal, format!("Apply failed with 1 conflict: conflict with \"a\": {field}"));
}

#[test]
fn the_order_of_items_is_merged_as_upstream_merges_it() {
    let merged = |old: &[&str], new: &[&str]| -> String {
        let list = |names: &[&str]| json!({"metadata": {"finalizers": names}});
        let place = super::shape::Place::of(Kind::find("", "ConfigMap").unwrap());
        let value = super::walk::merge(&list(old), &list(new), place);
        let names = value["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        names.iter().filter_map(Value::as_str).collect()
    };
    // Old, new, and what upstream's loop (`visitListItems`) makes of them, traced by hand.
    let cases: &[(&[&str], &[&str], &str)] = &[
        (&[], &["a"], "a"),
        (&["a"], &[], "a"),
        (&["a", "b"], &["a"], "ab"),
        (&["a"], &["b"], "ab"),
        (&["a", "b"], &["b", "a"], "ba"),
        (&["a", "b", "c"], &["c", "b"], "acb"),
        (&["a", "b", "c"], &["1", "b", "2"], "a1bc2"),
        (&["a", "b", "c", "d", "e", "f", "g", "h"], &["1", "2", "x", "e", "h", "d"], "abc12xefghd"),
    ];
    for (old, new, expected) in cases {
        assert_eq!(merged(old, new), *expected, "{old:?} {new:?}");
    }
}

#[test]
fn sets_are_merged_and_atomic_lists_are_replaced() {
    let finalizers = |names: &[&str]| json!({"metadata": {"finalizers": names}});
    let mut world = config_map();
    world.apply("a", finalizers(&["e.org/a"])).apply("b", finalizers(&["e.org/b"])).apply("a", json!({}));
    assert_eq!(world.value()["metadata"]["finalizers"], json!(["e.org/b"]));

    let mut world = World::of("Job");
    world.apply("a", job(json!({"args": ["1", "2"]})));
    let refusal = world.tries("b", job(json!({"args": ["1"]}))).unwrap_err().message();
    assert!(refusal.ends_with(r#"conflict with "a": .spec.template.spec.containers[name="main"].args"#), "{refusal}");
}

#[test]
fn a_ports_protocol_has_a_default_and_so_have_its_keys() {
    let mut world = World::of("Job");
    world.apply("a", job(json!({"ports": [{"containerPort": 80}]})));
    let port = r#".ports[containerPort=80,protocol="TCP"].containerPort"#;
    assert!(world.owns("a").iter().any(|path| path.ends_with(port)), "{:?}", world.owns("a"));
    world.apply("b", job(json!({"ports": [{"containerPort": 80, "protocol": "TCP"}]})));
    assert_eq!(world.value()["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().map(Vec::len), Some(1));
}

#[test]
fn items_that_stand_twice_are_owned_as_one() {
    let twice = json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]});
    let mut world = World::of("Job");
    world.create("maker", job(twice.clone()));
    let item = r#".spec.template.spec.containers[name="main"].env[name="A"]"#;
    assert!(world.owns("maker").contains(&item.to_owned()));
    assert!(!world.owns("maker").contains(&format!("{item}.value")));
    let why = format!(
        "failed to create typed patch object (/x; batch/v1, Kind=Job): {}: duplicate entries for key [name=\"A\"]",
        r#".spec.template.spec.containers[name="main"].env"#
    );
    assert_eq!(world.tries("a", job(twice)).unwrap_err().message(), why);
    world.apply("a", json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(world.value()["spec"]["template"]["spec"]["containers"][0]["env"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_update_owns_what_it_changes_and_no_more() {
    let mut world = config_map();
    world.create("maker", data(&[("x", "1"), ("y", "1")]));
    world.patch("editor", Part::Main, json!({"data": {"x": "2", "y": "1"}, "metadata": {"labels": {"a": "b"}}}));
    assert_eq!(world.owns("maker"), [".data", ".data.y"]);
    assert_eq!(world.owns("editor"), [".data.x", ".metadata.labels", ".metadata.labels.a"]);
    world.patch("editor", Part::Main, json!({"data": {"x": null}}));
    assert_eq!(world.owns("editor"), [".metadata.labels", ".metadata.labels.a"]);
}

#[test]
fn times_tell_when_a_manager_last_changed_something() {
    let mut world = config_map();
    world.create("maker", data(&[("x", "1")])).patch("editor", Part::Main, data(&[("y", "1")]));
    let pair = |name: &str, at: i64| (format!("{name} Update"), at);
    assert_eq!(world.entries(), [pair("maker", 1), pair("editor", 2)]);
    // Nothing changes: not even a time.
    let before = world.live().clone();
    world.patch("editor", Part::Main, data(&[("y", "1")])).patch("maker", Part::Main, json!({}));
    assert_eq!(world.live(), &before);
    world.patch("maker", Part::Main, data(&[("x", "2")]));
    assert_eq!(world.entries(), [pair("editor", 2), pair("maker", 5)]);
    // Appliers stand first.
    world.apply("a", data(&[("z", "1")]));
    assert_eq!(world.entries()[0], ("a Apply".to_owned(), 6));
    world.apply("a", data(&[("z", "1")]));
    assert_eq!(world.entries()[0], ("a Apply".to_owned(), 6));
    world.apply("a", data(&[("z", "2")]));
    assert_eq!(world.entries()[0], ("a Apply".to_owned(), 8));
}

#[test]
fn there_are_never_more_than_ten_updaters() {
    let mut world = config_map();
    world.create("w0", data(&[("k0", "1")]));
    for number in 1..15 {
        let (name, key) = (format!("w{number}"), format!("k{number}"));
        world.patch(&name, Part::Main, data(&[(&key, "1")]));
        assert!(world.entries().len() <= 10);
    }
    assert_eq!(world.entries()[0].0, "ancient-changes Update");
    assert_eq!(world.owns("ancient-changes").len(), 7, "{:?}", world.owns("ancient-changes"));
    assert_eq!(world.owns("w14"), [".data.k14"]);
}

#[test]
fn an_empty_list_resets_the_owners_and_none_at_all_keeps_them() {
    for reset in [json!([]), json!([{}])] {
        let mut world = config_map();
        world.create("maker", data(&[("x", "1")])).apply("a", data(&[("y", "1")]));
        world.patch("editor", Part::Main, json!({"metadata": {"managedFields": null, "labels": {"a": "b"}}}));
        assert_eq!(world.entries().len(), 3);
        world.patch("editor", Part::Main, json!({"metadata": {"managedFields": reset}}));
        assert_eq!(world.live().meta().managed_fields, None);
        // What has no owners gets none by an update.
        world.patch("editor", Part::Main, data(&[("x", "2")]));
        assert_eq!(world.live().meta().managed_fields, None);
        world.apply("a", data(&[("x", "2")]));
        assert_eq!(
            world.entries().iter().map(|entry| entry.0.as_str()).collect::<Vec<_>>(),
            ["a Apply", "before-first-apply Update"]
        );
        let refusal = world.tries("a", data(&[("x", "3")])).unwrap_err().message();
        assert_eq!(refusal, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.x");
    }
}

#[test]
fn owners_can_be_written_by_hand_but_not_through_a_subresource() {
    let entry = |manager: &str| {
        json!([{
            "manager": manager, "operation": "Apply", "apiVersion": "batch/v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:suspend": {}}},
        }])
    };
    let mut world = World::of("Job");
    world.create("maker", job(json!({})));
    world.patch("editor", Part::Status, json!({"metadata": {"managedFields": entry("b")}}));
    assert!(world.owns("b").is_empty());
    world.patch("editor", Part::Main, json!({"metadata": {"managedFields": entry("b")}}));
    assert_eq!((world.owns("b"), world.owns("maker")), (vec![".spec.suspend".to_owned()], Vec::new()));
    // What cannot be read is not taken.
    let mut broken = entry("c");
    broken[0]["fieldsType"] = json!("FieldsV2");
    world.patch("editor", Part::Main, json!({"metadata": {"managedFields": broken}}));
    assert_eq!(world.owns("b"), [".spec.suspend"]);
    // A version that is not served has no owners.
    let mut old = entry("d");
    old[0]["apiVersion"] = json!("batch/v1beta1");
    world.patch("editor", Part::Main, json!({"metadata": {"managedFields": old}}));
    assert_eq!((world.owns("b"), world.owns("d")), (vec![".spec.suspend".to_owned()], Vec::new()));
}

#[test]
fn the_status_belongs_to_its_writers_alone() {
    let mut world = World::of("Job");
    let mut body = job(json!({}));
    body["status"] = json!({"active": 3});
    world.create("maker", body.clone()).apply("a", body.clone());
    assert!(!world.owns("maker").iter().chain(&world.owns("a")).any(|path| path.starts_with(".status")));
    world.patch("controller", Part::Status, json!({"status": {"active": 1, "ready": 0}, "spec": {"parallelism": 7}}));
    assert_eq!(world.owns("controller"), [".status.active", ".status.ready"]);
    assert!(world.entries().iter().any(|entry| entry.0 == "controller Update status"), "{:?}", world.entries());
    let status = json!({"status": {"active": 2}});
    let refusal = world.apply_to("b", Part::Status, status.clone(), false).unwrap_err().message();
    let conflict = "conflict with \"controller\" with subresource \"status\" using batch/v1: .status.active";
    assert_eq!(refusal, format!("Apply failed with 1 conflict: {conflict}"));
    world.apply_to("b", Part::Status, status, true).unwrap();
    assert_eq!((world.owns("b"), &world.value()["status"]["active"]), (vec![".status.active".to_owned()], &json!(2)));
    assert!(world.entries().iter().any(|entry| entry.0 == "b Apply status"), "{:?}", world.entries());
}

#[test]
fn what_the_job_controller_wrote_stays_when_the_last_owner_of_a_status_leaves() {
    let mut world = World::of("Job");
    world.create("maker", job(json!({})));
    let mut value = world.value();
    value["status"] = json!({"ready": 0, "terminating": 0});
    world.store(Object::from_value(world.kind, value).unwrap());
    world.apply_to("b", Part::Status, json!({"status": {"active": 2}}), false).unwrap();
    world.apply_to("b", Part::Status, json!({}), false).unwrap();
    assert_eq!(world.value()["status"], json!({"ready": 0, "terminating": 0}));
}

const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What kubectl applies from the client's side: the body, with itself in an annotation.
fn client_side(body: &Value) -> Value {
    let kind = Kind::find("", "ConfigMap").unwrap();
    let mut all = body.clone();
    json_patch::merge(&mut all, &json!({"metadata": {"annotations": {LAST: named(kind, body.clone()).to_string()}}}));
    all
}

#[test]
fn kubectl_takes_over_what_it_applied_from_the_clients_side() {
    let (first, second) = (data(&[("x", "1"), ("y", "1")]), data(&[("x", "2"), ("y", "1")]));
    let mut world = config_map();
    world.create("kubectl-client-side-apply", client_side(&first));
    let other = world.tries("argo", second.clone()).unwrap_err().message();
    assert!(other.ends_with("conflict with \"kubectl-client-side-apply\" using v1: .data.x"), "{other}");
    world.apply("kubectl", second.clone());
    assert_eq!(world.value()["data"], json!({"x": "2", "y": "1"}));
    let last = world.value()["metadata"]["annotations"][LAST].as_str().unwrap().to_owned();
    assert!(last.ends_with('\n'));
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap(), named(world.kind, second));
    // What somebody changed since is not kubectl's to take.
    world.patch("editor", Part::Main, data(&[("y", "9")]));
    let changed = world.tries("kubectl", data(&[("x", "3"), ("y", "2")])).unwrap_err().message();
    assert_eq!(changed, "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.y");
}

#[test]
fn what_is_no_configuration_is_refused_in_upstreams_words() {
    let mut world = World::of("Job");
    world.create("maker", job(json!({})));
    let unfit = |why: &str| format!("failed to create typed patch object (/x; batch/v1, Kind=Job): {why}");
    let container = r#".spec.template.spec.containers[name="main"]"#;
    let cases = [
        (json!({"apiVersion": null}), "invalid object type: /, Kind=Job".to_owned()),
        (json!({"kind": "CronJob"}), "invalid object type: batch/v1, Kind=CronJob".to_owned()),
        (json!({"metadata": {"managedFields": []}}), "metadata.managedFields must be nil".to_owned()),
        (json!({"spec": {"foo": 1}}), unfit(".spec.foo: field not declared in schema")),
        (json!({"spec": {"parallelism": "2"}}), unfit(".spec.parallelism: expected numeric (int or float), got string")),
        (json!({"spec": {"suspend": 1}}), unfit(".spec.suspend: expected boolean, got &{1}")),
        (json!({"spec": []}), unfit(".spec: expected map, got &{[]}")),
        (
            json!({"metadata": {"labels": {"a": 1, "b": true}}}),
            unfit(
                "errors:\n  .metadata.labels.a: expected string, got &value.valueUnstructured{Value:1}\n  \
                 .metadata.labels.b: expected string, got &value.valueUnstructured{Value:true}",
            ),
        ),
        (job(json!({"args": [1]})), unfit(&format!("{container}.args[0]: expected string, got &value.valueUnstructured{{Value:1}}"))),
        (job(json!({"env": {"A": "1"}})), unfit(&format!("{container}.env: expected list, got &{{map[A:1]}}"))),
        (
            job(json!({"env": [{"value": "1"}]})),
            unfit(&format!(
                "{container}.env: element 0: associative list with keys has an element that omits key field \"name\" (and \
                 doesn't have default value)"
            )),
        ),
        (
            json!({"metadata": {"name": "y"}}),
            "the name of the object (y) does not match the name on the URL (x)".to_owned(),
        ),
        (
            json!({"metadata": {"namespace": "other"}}),
            "the namespace of the provided object does not match the namespace sent on the request".to_owned(),
        ),
        (
            json!({"spec": {"ttlSecondsAfterFinished": 1.5}}),
            "failed to convert new object (default/x; batch/v1, Kind=Job) to proper version (batch/v1): cannot convert \
             float64 to int32"
                .to_owned(),
        ),
    ];
    for (config, why) in cases {
        assert_eq!(world.tries("a", config).unwrap_err().message(), why);
    }
}

#[test]
fn an_object_that_is_not_there_is_made_unless_it_claims_a_uid() {
    let mut world = config_map();
    let refusal = world.tries("a", json!({"metadata": {"uid": "7"}})).unwrap_err();
    let message = "Operation cannot be fulfilled on configmaps \"x\": uid mismatch: the provided object specified uid 7, \
                   and no existing object was found";
    assert_eq!(refusal.message(), message);
    world.apply("a", data(&[("x", "1")]));
    assert_eq!(world.entries(), [("a Apply".to_owned(), 2)]);
    assert_eq!(world.live().uid(), "1-2-3");
}

#[test]
fn a_writer_that_does_not_say_is_called_by_its_agent() {
    assert_eq!(manager_name("kubectl/v1.32.4 (linux/amd64)"), "kubectl");
    assert_eq!(manager_name("a\u{7}b c"), "ab c");
    assert_eq!(manager_name(&"é".repeat(100)).len(), 128);
    let mut world = config_map();
    world.create("", data(&[("x", "1")]));
    assert_eq!(world.owns("unknown"), [".data", ".data.x"]);
}
