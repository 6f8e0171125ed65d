//! Patches: document, patch, result.

use jobdock::model::decode::FieldValidation;
use jobdock::model::kind::Kind;
use jobdock::model::patch::{PatchError, PatchKind, apply, read};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use serde_json::{Value, json};

fn run(kind: &Kind, how: PatchKind, mut document: Value, patch: Value) -> Result<Value, PatchError> {
    apply(kind, how, &mut document, patch).map(|()| document)
}

#[track_caller]
fn json_patch(document: Value, patch: Value, expected: Value) {
    assert_eq!(run(Kind::of::<ConfigMap>(), PatchKind::Json, document, patch), Ok(expected));
}

#[track_caller]
fn merge(document: Value, patch: Value, expected: Value) {
    assert_eq!(run(Kind::of::<ConfigMap>(), PatchKind::Merge, document, patch), Ok(expected));
}

/// A strategic patch of a pod's spec.
#[track_caller]
fn pod(document: Value, patch: Value, expected: Value) {
    let spec = |value: Value| json!({"spec": value});
    let result = run(Kind::of::<Pod>(), PatchKind::Strategic, spec(document), spec(patch));
    assert_eq!(result, Ok(spec(expected)));
}

/// A strategic patch of a configmap: everything but metadata is free keys.
#[track_caller]
fn strategic(document: Value, patch: Value, expected: Value) {
    assert_eq!(run(Kind::of::<ConfigMap>(), PatchKind::Strategic, document, patch), Ok(expected));
}

#[track_caller]
fn refuses(kind: &Kind, how: PatchKind, document: Value, patch: Value, inapplicable: bool) {
    let error = run(kind, how, document, patch).unwrap_err();
    assert_eq!(matches!(error, PatchError::Inapplicable(_)), inapplicable, "{error:?}");
}

#[test]
fn json_patches() {
    json_patch(json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), json!({"a": 1, "b": 2}));
    json_patch(json!({"a": 1}), json!([{"op": "remove", "path": "/a"}]), json!({}));
    json_patch(json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), json!({"a": [1, 2]}));
    json_patch(json!({"a/b": 1}), json!([{"op": "replace", "path": "/a~1b", "value": 2}]), json!({"a/b": 2}));
    json_patch(json!({"a": null}), json!([{"op": "test", "path": "/a"}]), json!({"a": null}));
    let config = Kind::of::<ConfigMap>();
    refuses(config, PatchKind::Json, json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 2}]), true);
    refuses(config, PatchKind::Json, json!({}), json!([{"op": "remove", "path": "/a"}]), true);
    refuses(config, PatchKind::Json, json!({}), json!({"a": 1}), false);
    refuses(config, PatchKind::Json, json!({}), json!([{"op": "fly", "path": "/a"}]), true);
    refuses(config, PatchKind::Json, json!({}), json!([{"op": "add", "path": "a", "value": 1}]), true);
    refuses(config, PatchKind::Json, json!({}), json!([{"op": "add", "path": "/a/b", "value": 1}]), true);
    refuses(config, PatchKind::Json, json!({}), json!([{"op": "copy", "path": "/a"}]), true);
    json_patch(json!({}), json!([{"op": "replace", "path": "/a", "value": 1}]), json!({"a": 1}));
    json_patch(json!({"a": 1}), json!([{"op": "replace", "path": "", "value": {}}]), json!({}));
    json_patch(json!({}), json!([{"op": "test", "path": "/a", "value": null}]), json!({}));
    json_patch(json!({"a": 1}), Value::Null, json!({"a": 1}));
    let long = json!(vec![json!({"op": "test", "path": ""}); 10_001]);
    assert_eq!(run(config, PatchKind::Json, json!({}), long), Err(PatchError::TooLong(10_001)));
}

#[test]
fn places_in_a_list_may_be_counted_from_its_end() {
    let list = || json!({"a": [1, 2, 3]});
    let place = |op: &str, path: &str| json!([{"op": op, "path": path, "value": 9}]);
    json_patch(list(), place("replace", "/a/-1"), json!({"a": [1, 2, 9]}));
    json_patch(list(), place("remove", "/a/-3"), json!({"a": [2, 3]}));
    json_patch(list(), place("add", "/a/-1"), json!({"a": [1, 2, 3, 9]}));
    json_patch(list(), place("add", "/a/-2"), json!({"a": [1, 2, 9, 3]}));
    json_patch(list(), place("add", "/a/01"), json!({"a": [1, 9, 2, 3]}));
    json_patch(json!({"a": [{"b": 1}]}), place("replace", "/a/-1/b"), json!({"a": [{"b": 9}]}));
    json_patch(list(), json!([{"op": "copy", "from": "/a/-1", "path": "/a/0"}]), json!({"a": [3, 1, 2, 3]}));
    json_patch(list(), json!([{"op": "move", "from": "/a/0", "path": "/a/-1"}]), json!({"a": [2, 3, 1]}));
    json_patch(json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), json!({"b": 1}));
    let config = Kind::of::<ConfigMap>();
    for path in ["/a/-4", "/a/3", "/a/x", "a/0"] {
        refuses(config, PatchKind::Json, list(), place("replace", path), true);
    }
    refuses(config, PatchKind::Json, list(), place("add", "/a/-5"), true);
    refuses(config, PatchKind::Json, list(), json!([{"op": "move", "from": "/x", "path": "/b"}]), true);
}

#[test]
fn a_patch_whose_fields_nobody_asks_about_is_refused_curtly() {
    let read = |how, patch: &str| read(how, patch.as_bytes(), FieldValidation::Ignore).unwrap_err().to_string();
    assert_eq!(read(PatchKind::Json, ""), "unexpected end of JSON input");
    assert_eq!(read(PatchKind::Merge, "{"), "Invalid JSON Patch");
    assert_eq!(read(PatchKind::Strategic, "{"), "unexpected end of JSON input");
}

#[test]
fn merge_patches() {
    merge(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": null, "d": 3}}), json!({"a": {"c": 2, "d": 3}}));
    merge(json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]}));
    merge(json!({}), json!({"a": {"b": null}}), json!({"a": {}}));
    refuses(Kind::of::<ConfigMap>(), PatchKind::Merge, json!({}), json!([1]), false);
}

#[test]
fn strategic_patches_merge_maps_and_drop_nulls() {
    strategic(
        json!({"data": {"a": "1", "b": "2"}}),
        json!({"data": {"a": null, "c": "3"}}),
        json!({"data": {"b": "2", "c": "3"}}),
    );
    strategic(json!({}), json!({"data": {"a": null, "c": "3"}}), json!({"data": {"c": "3"}}));
    strategic(json!({"data": {"a": "1"}}), json!({"data": null}), json!({}));
}

#[test]
fn lists_with_a_key_merge_by_it() {
    pod(
        json!({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}),
        json!({"containers": [{"name": "b", "image": "z"}, {"name": "c", "image": "w"}]}),
        json!({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "z"}, {"name": "c", "image": "w"}]}),
    );
    pod(
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "3"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "3"}, {"name": "Y", "value": "2"}]}]}),
    );
    pod(
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 1, "protocol": "TCP"}]}]}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 2}]}]}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 2}]}]}),
    );
}

#[test]
fn lists_without_a_key_are_replaced() {
    pod(
        json!({"containers": [{"name": "a", "args": ["1", "2"]}], "tolerations": [{"key": "a"}]}),
        json!({"containers": [{"name": "a", "args": ["3"]}], "tolerations": [{"key": "b"}]}),
        json!({"containers": [{"name": "a", "args": ["3"]}], "tolerations": [{"key": "b"}]}),
    );
}

#[test]
fn the_template_of_a_job_merges_like_a_pod() {
    let spec = |container: Value| json!({"spec": {"template": {"spec": {"containers": container}}}});
    let result = run(
        Kind::of::<Job>(),
        PatchKind::Strategic,
        spec(json!([{"name": "a", "image": "x"}])),
        spec(json!([{"name": "a", "command": ["sh"]}])),
    );
    assert_eq!(result, Ok(spec(json!([{"name": "a", "image": "x", "command": ["sh"]}]))));
}

#[test]
fn elements_can_be_deleted_and_lists_replaced() {
    pod(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        json!({"containers": [{"name": "b"}]}),
    );
    pod(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
        json!({"containers": [{"name": "c"}]}),
    );
    pod(
        json!({"nodeSelector": {"a": "1"}}),
        json!({"nodeSelector": {"$patch": "delete"}}),
        json!({"nodeSelector": {}}),
    );
    pod(
        json!({"nodeSelector": {"a": "1"}}),
        json!({"nodeSelector": {"$patch": "replace", "b": "2"}}),
        json!({"nodeSelector": {"b": "2"}}),
    );
    pod(json!({}), json!({"containers": [{"name": "x", "$patch": "delete"}]}), json!({"containers": []}));
}

#[test]
fn retain_keys_clears_what_is_not_listed() {
    pod(
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
        json!({"volumes": [{"name": "v", "emptyDir": {}, "$retainKeys": ["name", "emptyDir"]}]}),
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
    );
    let patch = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}, "$retainKeys": ["name"]}]}});
    let document = json!({"spec": {"volumes": [{"name": "v"}]}});
    refuses(Kind::of::<Pod>(), PatchKind::Strategic, document, patch, true);
}

#[test]
fn the_order_of_elements_can_be_set() {
    pod(
        json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
        json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "a", "image": "x"}]}),
        json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "a", "image": "x"}]}),
    );
    pod(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
        json!({"containers": [{"name": "b"}, {"name": "a"}]}),
    );
}

#[test]
fn scalars_are_added_once_and_removed_by_directive() {
    let meta = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    strategic(meta(json!(["a", "b"])), meta(json!(["b", "c"])), meta(json!(["a", "b", "c"])));
    strategic(
        meta(json!(["a", "b"])),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
        meta(json!(["b"])),
    );
    strategic(
        meta(json!(["a", "b"])),
        json!({"metadata": {"$setElementOrder/finalizers": ["b", "a"], "finalizers": []}}),
        meta(json!(["b", "a"])),
    );
}

#[track_caller]
fn unread(how: PatchKind, patch: &str, message: &str) {
    assert_eq!(read(how, patch.as_bytes(), FieldValidation::Warn), Err(PatchError::Malformed(message.to_owned())));
}

#[test]
fn what_is_no_patch_is_told_in_gos_words() {
    use PatchKind::{Json, Merge, Strategic};
    unread(Json, "", "error decoding patch: unexpected end of JSON input");
    unread(
        Json,
        "{}",
        "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
    );
    unread(
        Json,
        "[1]",
        "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp",
    );
    unread(
        Json,
        r#"[{"op":1}]"#,
        "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
    );
    let no_map = "json: cannot unmarshal array into Go value of type map[string]interface {}";
    unread(Merge, "[]", &format!("error decoding patch: {no_map}"));
    unread(Strategic, "[]", no_map);
    unread(Strategic, "{", "unexpected end of JSON input");
}

#[test]
fn what_stands_twice_in_a_patch_is_noticed() {
    let strict = |how, patch: &str| read(how, patch.as_bytes(), FieldValidation::Warn).unwrap().strict;
    assert_eq!(strict(PatchKind::Merge, r#"{"a":{"b":1,"b":2}}"#), ["duplicate field \"a.b\""]);
    assert_eq!(strict(PatchKind::Json, r#"[{"op":"add","op":"add"}]"#), ["json patch duplicate field \"[0].op\""]);
    assert_eq!(strict(PatchKind::Json, r#"[{"op":"add","x":1}]"#), ["json patch unknown field \"[0].x\""]);
}

#[track_caller]
fn unmergeable(patch: Value, message: &str) {
    let document = json!({"spec": {"containers": [{"name": "a"}]}});
    let result = run(Kind::of::<Pod>(), PatchKind::Strategic, document, json!({"spec": patch}));
    assert_eq!(result, Err(PatchError::Unmergeable(message.to_owned())));
}

#[test]
fn what_strategic_merge_does_not_know_is_refused() {
    let document = || json!({"spec": {"containers": [{"name": "a"}]}});
    let pod = Kind::of::<Pod>();
    unmergeable(json!({"containers": [{"image": "x"}]}), "map: map[image:x] does not contain declared merge key: name");
    unmergeable(json!({"containers": ["x"]}), "list element types are not identical: map[string]interface {} string");
    unmergeable(
        json!({"containers": [{"name": "a", "$patch": "fly"}]}),
        "unknown patch type: fly in map: map[$patch:fly name:a]",
    );
    unmergeable(
        json!({"containers": [{"name": "a", "$patch": "merge"}]}),
        "merging lists cannot yet be specified in the patch",
    );
    unmergeable(json!({"$patch": "fly"}), "unknown patch type: fly in map: map[$patch:fly]");
    unmergeable(
        json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}),
        "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
    );
    refuses(pod, PatchKind::Strategic, document(), json!([]), false);
    refuses(pod, PatchKind::Strategic, document(), json!({"spec": {"$retainKeys": "x"}}), false);
}
