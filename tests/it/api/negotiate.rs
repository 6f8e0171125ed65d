//! Which form an answer takes.

use axum::response::IntoResponse;
use jobdock::api::negotiate::{Format, Transform, accept, accept_discovery, accept_watch};

#[track_caller]
fn check(header: &str, format: Format, transform: Transform) {
    let answer = accept(Some(header)).unwrap();
    assert_eq!((answer.format, answer.transform), (format, transform), "{header}");
}

#[test]
fn json_is_what_most_clients_mean() {
    assert_eq!(accept(None).unwrap().format, Format::Json);
    check("", Format::Json, Transform::None);
    check("*/*", Format::Json, Transform::None);
    check("application/json, */*", Format::Json, Transform::None);
    check("application/vnd.kubernetes.protobuf,application/json", Format::Json, Transform::None);
    check("text/html,application/xhtml+xml,*/*;q=0.8", Format::Json, Transform::None);
}

#[test]
fn yaml_on_request_and_by_weight() {
    check("application/yaml", Format::Yaml, Transform::None);
    check("application/json;q=0.5,application/yaml", Format::Yaml, Transform::None);
    check("application/yaml;q=0.1,application/json;q=0.2", Format::Json, Transform::None);
}

#[test]
fn tables_and_metadata() {
    let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    check(kubectl, Format::Json, Transform::Table("v1"));
    check("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Format::Json, Transform::Table("v1beta1"));
    check("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Format::Json, Transform::None);
    check("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Format::Json, Transform::Metadata("v1"));
    check(
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json",
        Format::Json,
        Transform::None,
    );
}

#[test]
fn protobuf_alone_is_not_acceptable() {
    let refused = accept(Some("application/vnd.kubernetes.protobuf")).unwrap_err();
    assert_eq!(refused.message(), "only the following media types are accepted: application/json, application/yaml");
    assert_eq!(refused.into_response().status(), 406);
    assert!(accept_watch(Some("application/yaml")).is_err());
    assert!(accept(Some("application/json;q=0")).is_err());
}

#[test]
fn aggregated_discovery_in_two_versions() {
    let ask =
        |v: &str| format!("application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList,application/json");
    assert_eq!(accept_discovery(Some(&ask("v2"))), Some("v2"));
    assert_eq!(accept_discovery(Some(&ask("v2beta1"))), Some("v2beta1"));
    assert_eq!(accept_discovery(Some(&ask("v1"))), None);
    assert_eq!(accept_discovery(Some("application/json")), None);
}
