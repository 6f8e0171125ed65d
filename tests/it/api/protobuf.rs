//! Bodies in upstream's protobuf form, as the real kubectl sends them, and broken ones.

use jobdock::api::protobuf::{Error, to_json};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The envelope of a message that says it is `kind` of `api_version`.
fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &meta), field(2, raw)].concat()
}

/// A field of bytes whose length fits seven bits.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    [vec![number << 3 | 2, bytes.len() as u8], bytes.to_vec()].concat()
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

#[track_caller]
fn reads(api_version: &str, kind: &str, raw: &[u8], expected: Value) {
    let mut expected = expected;
    expected["apiVersion"] = json!(api_version);
    expected["kind"] = json!(kind);
    assert_eq!(to_json(&envelope(api_version, kind, raw)), Ok(expected));
}

#[test]
fn what_kubectl_create_configmap_sends() {
    let body = b"k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12\x1b\n\x11\n\x01c\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x06\n\x01a\x12\x01b\x1a\x00\"\x00";
    let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}});
    assert_eq!(to_json(body), Ok(expected));
}

#[test]
fn zeros_that_are_no_pointers_are_left_out() {
    let condition = [field(1, b"Complete"), field(2, b"True"), field(3, b"")].concat();
    let status = [field(1, &condition), varint(4, 0), varint(9, 0)].concat();
    let expected = json!({"status": {"conditions": [{"type": "Complete", "status": "True"}], "ready": 0}});
    reads("batch/v1", "Job", &field(3, &status), expected);
}

#[test]
fn messages_that_json_writes_into_their_owner() {
    let empty_dir = field(2, &field(1, b"Memory"));
    let volume = [field(1, b"v"), field(2, &empty_dir)].concat();
    let spec = field(1, &volume);
    let expected = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]}});
    reads("v1", "Pod", &field(2, &spec), expected);
}

#[test]
fn scalars_of_every_sort() {
    // A port is a number or a name, a limit is a quantity, a time is seconds and nanoseconds.
    let port = |bytes: &[u8]| field(10, &field(1, &field(2, &field(2, bytes))));
    let name = [varint(1, 1), varint(2, 0), field(3, b"web")].concat();
    let number = [varint(1, 0), varint(2, 80), field(3, b"")].concat();
    let limits = field(8, &field(1, &[field(1, b"cpu"), field(2, &field(1, b"100m"))].concat()));
    let container = |probe: Vec<u8>| field(2, &field(2, &[field(1, b"a"), limits.clone(), probe].concat()));
    let expected = |port: Value| {
        let probe = json!({"httpGet": {"port": port}});
        let limits = json!({"limits": {"cpu": "100m"}});
        json!({"spec": {"containers": [{"name": "a", "resources": limits, "livenessProbe": probe}]}})
    };
    reads("v1", "Pod", &container(port(&name)), expected(json!("web")));
    reads("v1", "Pod", &container(port(&number)), expected(json!(80)));
    let time = field(1, &field(9, &[varint(1, 100), varint(2, 0)].concat()));
    reads("v1", "Pod", &time, json!({"metadata": {"deletionTimestamp": "1970-01-01T00:01:40Z"}}));
    let data = field(2, &[field(1, b"k"), field(2, b"\x00\xff")].concat());
    reads("v1", "Secret", &data, json!({"data": {"k": "AP8="}}));
}

#[test]
fn options_come_under_any_version() {
    let options = [varint(1, 5), field(4, b"Background")].concat();
    reads("batch/v1", "DeleteOptions", &options, json!({"gracePeriodSeconds": 5, "propagationPolicy": "Background"}));
}

#[test]
fn broken_bodies_are_refused() {
    assert_eq!(to_json(b"{}"), Err(Error::NoEnvelope));
    assert!(matches!(to_json(&envelope("v1", "Nothing", b"")), Err(Error::UnknownType(..))));
    for raw in [
        &b"\x0a\x05abc"[..],
        b"\x0a",
        b"\x07",
        b"\x0f\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x08\x01",
    ] {
        assert!(matches!(to_json(&envelope("v1", "Pod", raw)), Err(Error::Malformed(_))), "{raw:?}");
    }
}

proptest! {
    #[test]
    fn nothing_that_is_sent_makes_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = to_json(&envelope("v1", "Pod", &raw));
        let _ = to_json(&[b"k8s\0".to_vec(), raw].concat());
    }
}
