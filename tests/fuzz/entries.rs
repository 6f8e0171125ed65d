//! Owns the doors through which strangers' bytes come in, as functions of bytes: for `make fuzz` and for the `it` suite,
//! which share this file. Never says what the right answer is, but that there is one, and what must hold of any.

use std::sync::LazyLock;

use bytes::Bytes;
use jiff::Timestamp;
use jobdock::api::query::{self, Params, WriteForm};
use jobdock::api::{protobuf, stream};
use jobdock::model::admit::{self, Admitted, Configuration, Identity, Measure, Options, Part, Patched, Refusal};
use jobdock::model::apply::Writer;
use jobdock::model::decode::{self, FieldValidation, Format};
use jobdock::model::fields::FieldSelector;
use jobdock::model::kind::Kind;
use jobdock::model::object::Object;
use jobdock::model::patch::{self, PatchKind};
use jobdock::model::selector::Selector;
use jobdock::model::yaml;
use jobdock::runtime::frames::LogDecoder;
use jobdock::runtime::mux::OutputDecoder;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

/// What patches and configurations are applied to: owners, lists with merge keys, maps, a name that needs escapes.
const LIVE: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: a, labels: {x/y: z}, annotations: {note: "one"}, finalizers: [example.com/one, example.com/two]}
spec:
  completions: 3
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {disk: ssd}
      containers:
      - {name: c, image: i, env: [{name: A, value: "1"}, {name: B, value: "2"}], ports: [{containerPort: 80}]}
      - {name: d, image: i, args: [x, z]}
"#;

static OLD: LazyLock<Object> = LazyLock::new(|| {
    let made = admit::create(Kind::of::<Job>(), LIVE.as_bytes(), Format::Yaml, &options(b"live"), &identity());
    made.expect("the live object is valid").object
});

/// Bears any bytes, or panics.
pub type Enter = fn(&[u8]);

/// All functions by the names of their targets.
pub const ALL: [(&str, Enter); 7] = [
    ("apply", apply),
    ("frames", frames),
    ("parameters", parameters),
    ("patch", patch),
    ("protobuf", protobuf),
    ("selectors", selectors),
    ("yaml", yaml),
];

fn options(manager: &[u8]) -> Options<'_> {
    Options {
        namespace: "default",
        field_validation: FieldValidation::Warn,
        dry_run: false,
        writer: Some(Writer { name: std::str::from_utf8(manager).unwrap_or("m"), now: Timestamp::UNIX_EPOCH }),
        measure: Measure::NONE,
    }
}

fn identity() -> Identity<'static> {
    Identity { uid: "5b1c1d8e-5a0b-4c55-8d38-3f3f5f6f7f8f", suffix: "abcde", now: Timestamp::UNIX_EPOCH }
}

/// What is admitted can be written, and read again as the same.
fn storable(admitted: Result<Admitted, Refusal>) {
    if let Ok(Admitted { object, .. }) = admitted {
        let again = Object::from_json(object.kind(), object.json()).expect("what is stored can be read");
        assert_eq!(again.json(), object.json(), "what is read is what was stored");
    }
}

/// Manifests, and the bodies of creates and updates: YAML, and JSON by upstream's laxer rules.
pub fn yaml(bytes: &[u8]) {
    let job = Kind::of::<Job>();
    for format in [Format::Yaml, Format::Json] {
        storable(admit::create(job, bytes, format, &options(b"m"), &identity()));
        storable(admit::update(&OLD, bytes, format, &options(b"m")));
        storable(admit::update_status(&OLD, bytes, format, &options(b"m")));
    }
    for document in yaml::documents(&String::from_utf8_lossy(bytes)).unwrap_or_default() {
        let _shown = yaml::shown(&document.node);
        for object in document.objects() {
            if let Ok(kind) = decode::kind_of(&object) {
                let _found = decode::manifest(kind, &object, FieldValidation::Strict);
            }
        }
    }
    if let Err(error) = yaml::documents(&String::from_utf8_lossy(bytes)) {
        let _told = error.to_string();
    }
}

/// Patches of the three kinds; the first byte says which.
pub fn patch(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    let how = [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic][usize::from(*first) % 3];
    let part = if first & 0x80 == 0 { Part::Main } else { Part::Status };
    let Ok(patch::Read { patch, strict }) = patch::read(how, body, FieldValidation::Warn) else { return };
    let mut value = OLD.to_value();
    if patch::apply(OLD.kind(), how, &mut value, patch.clone()).is_err() {
        return;
    }
    let patched = match how {
        PatchKind::Json | PatchKind::Merge => Patched::Json { strict: &strict },
        PatchKind::Strategic => Patched::Strategic { patch: &patch, strict: &strict },
    };
    storable(admit::update_value(&OLD, &value, patched, &options(b"m"), part));
}

/// A configuration, applied to nothing, to what another made, and then once more, which changes nothing.
pub fn apply(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    let manager = [b"m".as_slice(), b"live", b"kubectl"][usize::from(*first) % 3];
    let writer = options(manager).writer.expect("who applies has a name");
    let part = if first & 0x40 == 0 { Part::Main } else { Part::Status };
    let sent = Configuration { kind: OLD.kind(), name: "a", part, body, writer, force: first & 0x80 != 0 };
    let how = options(manager);
    storable(admit::apply(None, &sent, &how, &identity()));
    let Ok(once) = admit::apply(Some(&OLD), &sent, &how, &identity()) else { return };
    let twice = admit::apply(Some(&once.object), &sent, &how, &identity()).expect("what was applied applies again");
    assert_eq!(twice.object.json(), once.object.json(), "an apply is done once");
    storable(Ok(twice));
}

/// Label and field selectors.
pub fn selectors(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(selector) = Selector::parse(text) {
        let _both = (selector.matches(OLD.meta().labels.as_ref()), selector.matches(None));
    }
    for kind in [Kind::of::<Job>(), Kind::of::<Pod>()] {
        if let Ok(selector) = FieldSelector::parse(kind, text) {
            let _named = (selector.is_empty(), selector.required("metadata.name"));
            let _any = selector.matches(&OLD);
        }
    }
}

/// The part of an address after `?`, for every verb that reads one.
pub fn parameters(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let params = Params::parse(Some(text));
    for watch in [false, true] {
        if let Ok(options) = query::list_options(&params, watch) {
            assert!(options.limit != Some(0) && options.timeout_seconds != Some(0), "zero is none");
        }
    }
    for form in [WriteForm::Create, WriteForm::Update, WriteForm::Patch, WriteForm::Apply] {
        let _options = query::write_options(&params, text, form);
    }
    selectors(params.text("labelSelector").unwrap_or_default().as_bytes());
    selectors(params.text("fieldSelector").unwrap_or_default().as_bytes());
}

/// What comes over connections: SPDY frames, WebSocket messages, the engine's logs and output. However the bytes are cut,
/// the same is read.
pub fn frames(bytes: &[u8]) {
    let Some((size, rest)) = bytes.split_first() else { return };
    let size = usize::from(*size).max(1);
    assert_eq!(stream::read_spdy(rest, size), stream::read_spdy(rest, rest.len().max(1)), "SPDY in pieces of {size}");
    stream::read_message(rest);
    assert_eq!(log(rest, size), log(rest, rest.len().max(1)), "a log in pieces of {size}");
    assert_eq!(output(rest, size), output(rest, rest.len().max(1)), "output in pieces of {size}");
}

/// The text of a log as far as it can be read; none where it is broken.
fn log(bytes: &[u8], size: usize) -> Option<Vec<(bool, bool, Bytes)>> {
    let mut decoder = LogDecoder::default();
    let mut chunks = Vec::new();
    for piece in bytes.chunks(size) {
        chunks.extend(decoder.push(piece).ok()?);
    }
    chunks.extend(decoder.finish().ok()?);
    Some(chunks.into_iter().map(|chunk| (chunk.stderr, chunk.partial, chunk.line)).collect())
}

/// What each of the two streams says; none where it is broken.
fn output(bytes: &[u8], size: usize) -> Option<[Vec<u8>; 2]> {
    let mut decoder = OutputDecoder::new(false);
    let mut streams = [Vec::new(), Vec::new()];
    for piece in bytes.chunks(size) {
        for output in decoder.push(Bytes::copy_from_slice(piece)).ok()? {
            streams[usize::from(output.stderr)].extend_from_slice(&output.bytes);
        }
    }
    Some(streams)
}

/// Bodies in upstream's protobuf envelope.
pub fn protobuf(bytes: &[u8]) {
    let envelope = [b"k8s\0".as_slice(), bytes].concat();
    for body in [bytes, &envelope] {
        let Ok(value) = protobuf::to_json(body) else { continue };
        let text = value.to_string();
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value), "what was read is JSON");
        storable(admit::create(Kind::of::<Job>(), text.as_bytes(), Format::Json, &options(b"m"), &identity()));
    }
}
