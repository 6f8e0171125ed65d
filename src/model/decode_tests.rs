//! What clients send, and what upstream answers.

use serde_json::json;

use super::super::object::Object;
use super::*;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};

fn job() -> &'static Kind {
    Kind::of::<Job>()
}

#[track_caller]
fn refuses(text: &str, format: Format, message: &str) {
    let answer = body(job(), text.as_bytes(), format, FieldValidation::Strict).map(|decoded| decoded.object.to_value());
    assert_eq!(answer, Err(message.to_owned()), "{text}");
}

#[track_caller]
fn refuses_yaml(text: &str, message: &str) {
    let text = format!("apiVersion: batch/v1\nkind: Job\n{text}");
    refuses(&text, Format::Yaml, &format!("Job in version \"v1\" cannot be handled as a Job: {message}"));
}

fn accepts(kind: &'static Kind, text: &str) -> Object {
    body(kind, text.as_bytes(), Format::Yaml, FieldValidation::Strict).expect("the manifest is right").object
}

#[test]
fn bodies_that_are_no_json_are_quoted() {
    let start =
        "the object provided is unrecognized (must be of type Job): couldn't get version/kind; json parse error: ";
    refuses("", Format::Json, &format!("{start}unexpected end of JSON input (<empty>)"));
    refuses("{", Format::Json, &format!("{start}unexpected end of JSON input ({{)"));
    refuses("x", Format::Json, &format!("{start}invalid character 'x' looking for beginning of value (78)"));
    let ty = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    refuses("[]", Format::Json, &format!("{start}json: cannot unmarshal array into Go value of type {ty} (5b5d)"));
    let why = "json: cannot unmarshal number into Go struct field .kind of type string ({\"kind\":1})";
    refuses("{\"kind\":1}", Format::Json, &format!("{start}{why}"));
}

#[test]
fn another_kind_is_refused_by_what_it_is() {
    let scheme = "in scheme \"pkg/api/legacyscheme/scheme.go:30\"";
    refuses(
        "{apiVersion: v1, kind: Job}",
        Format::Yaml,
        &format!(
            "Job in version \"v1\" cannot be handled as a Job: no kind \"Job\" is registered for version \"v1\" {scheme}"
        ),
    );
    refuses(
        "{apiVersion: batch/v2, kind: Job}",
        Format::Yaml,
        &format!(
            "Job in version \"v2\" cannot be handled as a Job: no kind \"Job\" is registered for version \"batch/v2\" {scheme}"
        ),
    );
    refuses(
        "{apiVersion: v1, kind: Pod}",
        Format::Yaml,
        "Pod in version \"v1\" cannot be handled as a Job: converting (v1.Pod) to (batch.Job): unknown conversion",
    );
    refuses(
        "{apiVersion: a/b/c}",
        Format::Yaml,
        "the object provided is unrecognized (must be of type Job): unexpected GroupVersion string: a/b/c ({apiVersion: a/b/c})",
    );
    let old = body(Kind::of::<CronJob>(), b"{\"apiVersion\":\"batch/v1beta1\"}", Format::Json, FieldValidation::Strict);
    let expected = "the API version in the data (batch/v1beta1) does not match the expected API version (batch/v1)";
    assert_eq!(old.expect_err("an old version"), expected);
}

#[test]
fn keys_of_the_wrong_case_are_unknown() {
    let message = "Job in version \"v1\" cannot be handled as a Job: strict decoding error: unknown field \"Kind\"";
    refuses("{apiVersion: batch/v1, Kind: Job}", Format::Yaml, message);
}

#[test]
fn wrong_types_are_worded_as_go_words_them() {
    let cases = [
        ("spec: {parallelism: two}", "string into Go struct field JobSpec.spec.parallelism of type int32"),
        ("spec: {parallelism: 1.5}", "number 1.5 into Go struct field JobSpec.spec.parallelism of type int32"),
        (
            "spec: {parallelism: 2147483648}",
            "number 2147483648 into Go struct field JobSpec.spec.parallelism of type int32",
        ),
        ("spec: {suspend: 1}", "number into Go struct field JobSpec.spec.suspend of type bool"),
        (
            "spec: {completionMode: true}",
            "bool into Go struct field JobSpec.spec.completionMode of type v1.CompletionMode",
        ),
        ("spec: []", "array into Go struct field Job.spec of type v1.JobSpec"),
        ("spec: {template: x}", "string into Go struct field JobSpec.spec.template of type v1.PodTemplateSpec"),
        ("metadata: {labels: {a: 1}}", "number into Go struct field ObjectMeta.metadata.labels of type string"),
        ("metadata: {labels: [a]}", "array into Go struct field ObjectMeta.metadata.labels of type map[string]string"),
        (
            "metadata: {creationTimestamp: 1}",
            "number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
        ),
    ];
    for (text, message) in cases {
        refuses_yaml(text, &format!("json: cannot unmarshal {message}"));
    }
    let pod = |spec: &str| format!("spec: {{template: {{spec: {spec}}}}}");
    let cases = [
        (
            "{containers: {name: x}}",
            "object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        ("{containers: [x]}", "string into Go struct field PodSpec.spec.template.spec.containers of type v1.Container"),
        (
            "{containers: [{command: sh}]}",
            "string into Go struct field Container.spec.template.spec.containers.command of type []string",
        ),
        (
            "{containers: [{command: [1]}]}",
            "number into Go struct field Container.spec.template.spec.containers.command of type string",
        ),
        (
            "{containers: [{livenessProbe: {exec: x}}]}",
            "string into Go struct field Probe.spec.template.spec.containers.livenessProbe.exec of type v1.ExecAction",
        ),
        (
            "{containers: [{resources: {limits: [x]}}]}",
            "array into Go struct field ResourceRequirements.spec.template.spec.containers.resources.limits of type v1.ResourceList",
        ),
        (
            "{restartPolicy: no}",
            "bool into Go struct field PodSpec.spec.template.spec.restartPolicy of type v1.RestartPolicy",
        ),
    ];
    for (spec, message) in cases {
        refuses_yaml(&pod(spec), &format!("json: cannot unmarshal {message}"));
    }
}

#[test]
fn a_readers_refusal_comes_before_earlier_wrong_types() {
    refuses_yaml(
        "metadata: {labels: {a: 1}}\nspec: {template: {spec: {overhead: {cpu: 1x}}}}",
        crate::model::quantity::WRONG_FORMAT,
    );
}

#[test]
fn times_and_bytes_are_read_strictly() {
    let layout = "\"2006-01-02T15:04:05Z07:00\"";
    refuses_yaml(
        "metadata: {creationTimestamp: yesterday}",
        &format!("parsing time \"yesterday\" as {layout}: cannot parse \"yesterday\" as \"2006\""),
    );
    let secret = |data: &str| {
        let text = format!("{{\"data\":{{\"a\":\"{data}\"}}}}");
        body(Kind::of::<Secret>(), text.as_bytes(), Format::Json, FieldValidation::Strict).map(|decoded| decoded.object)
    };
    for (data, offset) in [("a", 0), ("a!==", 1), ("YQ", 0), ("YQ=", 3), ("YQ==x", 4), ("YWJjZ", 4), ("=", 0)] {
        let message = secret(data).expect_err("no base64");
        let expected = format!(
            "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte {offset}"
        );
        assert_eq!(message, expected, "{data}");
    }
    assert_eq!(secret("YQ==").expect("base64").to_value()["data"]["a"], "YQ==");
}

#[test]
fn duplicates_in_yaml_are_go_yamls_to_report() {
    refuses_yaml(
        "metadata:\n  labels:\n    a: b\n    a: c\n  name: x\nmetadata: {}",
        "strict decoding error: yaml: unmarshal errors:\n  line 6: key \"a\" already set in map\n  \
         line 8: key \"metadata\" already set in map",
    );
}

#[test]
fn each_duplicate_in_yaml_is_a_warning_of_its_own() {
    let text = b"kind: Job\nmetadata: {name: x, name: z}\nspec: {suspend: true, suspend: false, nope: 1}";
    let decoded = body(job(), text, Format::Yaml, FieldValidation::Warn).expect("only warned about");
    let expected = [
        "line 2: key \"name\" already set in map",
        "line 3: key \"suspend\" already set in map",
        "unknown field \"spec.nope\"",
    ];
    assert_eq!(decoded.warnings, expected);
}

#[test]
fn duplicates_in_json_are_reported_with_their_path() {
    let text = "{\"spec\":{\"suspend\":true,\"suspend\":false,\"nope\":1,\"nope\":2},\"spec\":{}}";
    refuses(
        text,
        Format::Json,
        "Job in version \"v1\" cannot be handled as a Job: strict decoding error: duplicate field \"spec.suspend\", \
         unknown field \"spec.nope\", duplicate field \"spec\"",
    );
}

#[test]
fn the_last_duplicate_counts_where_they_are_allowed() {
    let text = b"{\"metadata\":{\"name\":\"a\",\"name\":\"b\"}}";
    let decoded = body(job(), text, Format::Json, FieldValidation::Warn).expect("only warned about");
    assert_eq!(decoded.warnings, ["duplicate field \"metadata.name\""]);
    assert_eq!(decoded.object.key().name, "b");
    let ignored = body(job(), text, Format::Json, FieldValidation::Ignore).expect("ignored");
    assert_eq!(ignored.warnings, [""; 0]);
}

#[test]
fn values_become_canonical() {
    let pod = accepts(
        Kind::of::<Pod>(),
        "spec: {containers: [{name: x, tty: false, resources: {limits: {cpu: 1000m, memory: null}}}]}\n\
         metadata: {creationTimestamp: '2020-02-02T02:02:02.9+01:00'}",
    );
    assert_eq!(
        pod.to_value(),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"creationTimestamp": "2020-02-02T01:02:02Z"},
            "spec": {"containers": [{"name": "x", "resources": {"limits": {"cpu": "1", "memory": "0"}}}]},
            "status": {},
        })
    );
}

#[test]
fn yaml_of_old_is_read_as_upstream_reads_it() {
    let map = accepts(Kind::of::<ConfigMap>(), "base: &base {a: '1'}\n".replace("base: &base {a: '1'}\n", "").as_str());
    assert_eq!(map.to_value()["metadata"], json!({}));
    let job = accepts(
        job(),
        "metadata: &m {name: x, labels: &l {a: b}}\n\
         spec: {template: {metadata: {labels: {<<: *l, c: d}}, spec: {volumes: [{name: v, secret: {defaultMode: 0644}}]}}}",
    );
    let template = &job.to_value()["spec"]["template"];
    assert_eq!(template["metadata"]["labels"], json!({"a": "b", "c": "d"}));
    assert_eq!(template["spec"]["volumes"][0]["secret"]["defaultMode"], 420);
}
