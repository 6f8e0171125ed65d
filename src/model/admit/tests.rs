//! What becomes of metadata, and what people are told of a manifest.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use serde_json::json;

use super::*;
use crate::model::yaml::documents;

const IDENTITY: Identity<'static> =
    Identity { uid: "the-uid", suffix: "abcde", now: Timestamp::constant(978_307_200, 500_000_000) };
const OPTIONS: Options<'static> = Options {
    namespace: "default",
    field_validation: FieldValidation::Strict,
    dry_run: false,
    writer: None,
    measure: Measure::NONE,
};

fn created(manifest: &str) -> Result<Admitted, Refusal> {
    create(Kind::of::<ConfigMap>(), manifest.as_bytes(), Format::Yaml, &OPTIONS, &IDENTITY)
}

fn stored() -> Object {
    let admitted = created("metadata: {name: x}").expect("the manifest is right");
    admitted.object.with_meta(|meta| meta.resource_version = Some("7".to_owned()))
}

#[track_caller]
fn updated(manifest: &str) -> Result<Object, String> {
    update(&stored(), manifest.as_bytes(), Format::Yaml, &OPTIONS)
        .map(|admitted| admitted.object)
        .map_err(|refusal| refusal.message())
}

#[test]
fn a_new_object_gets_its_identity() {
    let claimed = "metadata: {name: x, uid: mine, generation: 9, selfLink: /x, deletionGracePeriodSeconds: 3}";
    let object = created(claimed).expect("the manifest is right").object;
    assert_eq!(
        object.to_value()["metadata"],
        json!({"name": "x", "namespace": "default", "uid": "the-uid", "creationTimestamp": "2001-01-01T00:00:00Z"})
    );
}

#[test]
fn a_name_is_generated_and_fits_a_label() {
    let name = |base: &str| {
        let object = created(&format!("metadata: {{generateName: {base}}}")).expect("the manifest is right").object;
        object.key().name
    };
    assert_eq!(name("run-"), "run-abcde");
    assert_eq!(name(&"a".repeat(70)), format!("{}abcde", "a".repeat(58)));
}

#[test]
fn a_new_object_names_no_revision() {
    let refusal = created("metadata: {name: x, resourceVersion: '1'}").expect_err("it names one");
    assert_eq!(refusal, Refusal::Internal("resourceVersion should not be set on objects to be created".to_owned()));
}

#[test]
fn the_namespace_is_the_requests() {
    let refusal = created("metadata: {name: x, namespace: other}").expect_err("another namespace");
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!(refusal, Refusal::BadRequest(message.to_owned()));
}

#[test]
fn an_update_keeps_what_no_update_changes() {
    let object = updated("metadata: {name: x, creationTimestamp: '2020-01-01T00:00:00Z', generation: 4}\ndata: {a: b}");
    assert_eq!(object.expect("the update is right").to_value()["metadata"], stored().to_value()["metadata"]);
}

#[test]
fn an_update_of_another_state_or_object_is_a_conflict() {
    let conflict = "Operation cannot be fulfilled on configmaps \"x\": ";
    assert_eq!(
        updated("metadata: {name: x, resourceVersion: '6'}").expect_err("an earlier state"),
        format!(
            "{conflict}the object has been modified; please apply your changes to the latest version and try again"
        )
    );
    assert_eq!(
        updated("metadata: {name: x, uid: u}").expect_err("another object"),
        format!(
            "{conflict}StorageError: invalid object, Code: 4, Key: /registry/configmaps/default/x, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: u, UID in object meta: the-uid"
        )
    );
}

#[test]
fn an_update_names_its_object() {
    assert_eq!(
        updated("{}").expect_err("no name"),
        "the name of the object (x based on URL) was undeterminable: name must be provided"
    );
}

#[test]
fn a_deletion_under_way_is_kept() {
    let at = crate::model::time::seconds(IDENTITY.now);
    let old = stored().with_meta(|meta| {
        meta.deletion_timestamp = Some(at.clone());
        meta.deletion_grace_period_seconds = Some(0);
    });
    let admitted = update(&old, b"metadata: {name: x, finalizers: []}", Format::Yaml, &OPTIONS).expect("an update");
    assert_eq!(admitted.object.meta().deletion_timestamp, Some(at));
    assert_eq!(admitted.object.meta().deletion_grace_period_seconds, Some(0));
}

#[test]
fn a_revision_that_is_no_number_is_upstreams_bare_500() {
    let refusal = update(&stored(), br#"metadata: {name: x, resourceVersion: "a"}"#, Format::Yaml, &OPTIONS);
    let message = r#"strconv.ParseUint: parsing "a": invalid syntax"#;
    assert_eq!(refusal.map(|_| ()), Err(Refusal::Internal(message.to_owned())));
}

#[test]
fn a_patch_is_refused_with_what_it_is_or_makes() {
    let old = create(Kind::of::<Job>(), b"metadata: {name: x}", Format::Yaml, &OPTIONS, &IDENTITY);
    let old = old.map(|admitted| admitted.object).unwrap_or_else(|_| {
        Object::from_value(
            Kind::of::<Job>(),
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "namespace": "default"}}),
        )
        .expect("a job")
    });
    let mut new = old.to_value();
    new["spec"]["parallelism"] = "two".into();
    let patch = json!({"spec": {"parallelism": "two"}});
    let refusal = update_value(&old, &new, Patched::Strategic { patch: &patch, strict: &[] }, &OPTIONS, Part::Main)
        .expect_err("no number");
    let expected =
        " \"\" is invalid: patch: Invalid value: \"map[spec:map[parallelism:two]]\": unrecognized type: int32";
    assert_eq!(refusal.message(), expected);
}

#[test]
fn several_causes_stand_in_brackets_each_once() {
    let cause = |field: &str| super::super::field::FieldError {
        kind: super::super::field::ErrorType::Required,
        field: field.to_owned(),
        message: "Required value".to_owned(),
    };
    let refusal = |causes| Refusal::Invalid { group: "batch".into(), kind: "Job".into(), name: "x".into(), causes };
    assert_eq!(refusal(vec![cause("a")]).message(), "Job.batch \"x\" is invalid: a: Required value");
    let both = refusal(vec![cause("a"), cause("b"), cause("a")]).message();
    assert_eq!(both, "Job.batch \"x\" is invalid: [a: Required value, b: Required value]");
}

#[test]
fn an_empty_name_is_written_as_go_writes_it() {
    let manifest = "metadata: {name: x}\nspec: {imagePullSecrets: [{}], containers: [{name: a, image: b, env: [{name: A, valueFrom: {secretKeyRef: {key: k}}}]}]}";
    let decoded = decode::body(Kind::of::<Pod>(), manifest.as_bytes(), Format::Yaml, FieldValidation::Strict);
    let spec = decoded.expect("the manifest is right").object.to_value()["spec"].clone();
    assert_eq!(spec["imagePullSecrets"], json!([{}]));
    assert_eq!(spec["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"], json!({"key": "k"}));
}

#[test]
fn people_are_told_everything_with_its_place() {
    let text = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: x\nspec:\n  paralelism: 2\n  suspend: maybe\n  \
                template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - name: main\n        image: \
                busybox\n        resources: {limits: {cpu: 1x}}\n        image: busybox\n";
    let documents = documents(text).expect("the YAML is right");
    let findings = check(Kind::of::<Job>(), &documents[0], &OPTIONS, &IDENTITY);
    let shown: Vec<String> = findings
        .iter()
        .map(|finding| {
            format!(
                "{} {} | {} | {} | {}",
                finding.at.line, finding.path, finding.message, finding.value, finding.allowed
            )
        })
        .collect();
    expect_test::expect![[r#"
        6 spec.paralelism | unknown field | 2 | did you mean parallelism?
        7 spec.suspend | wrong type | "maybe" | true or false
        14 spec.template.spec.containers[0].resources.limits.cpu | quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' | "1x" | a quantity such as 500m, 2, 64Mi or 1Gi
        15 spec.template.spec.containers[0].image | the field stands twice |  | the field once"#]]
    .assert_eq(&shown.join("\n"));
}
