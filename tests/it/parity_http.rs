//! Every sample over HTTP: code, the whole Status body, the object and the `Warning` headers, as a client gets them.

use http::Method;
use jobdock::model::decode::Format;
use serde_json::{Value, json};

use super::api::face::{Face, Reply};
use super::parity::{FOLDERS, Request, Sample, dumps_struct, folder, without_nulls};

const QUERY: &str = "dryRun=All&fieldValidation=Strict";
// What the answers call the uid and the time of making.
const UID: &str = "11111111-2222-3333-4444-555555555555";
const MADE: &str = "2001-01-01T00:00:00Z";

#[tokio::test]
async fn every_sample_agrees_over_http() {
    let mut wrong = Vec::new();
    for (name, request) in FOLDERS {
        for sample in folder(name, *request) {
            let found = compare(&sample, &ask(&sample).await);
            wrong.extend(found.into_iter().map(|difference| format!("{}: {difference}", sample.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sends the sample to a server that holds only its old object. The answer comes back in the samples' terms.
async fn ask(sample: &Sample) -> (Reply, Value) {
    let face = Face::new().await;
    if let Request::Create { kind, format } = sample.request {
        let (extension, media) = match format {
            Format::Json => ("json", "application/json"),
            Format::Yaml => ("yaml", "application/yaml"),
        };
        let path = format!("/apis/batch/v1/namespaces/default/{}s?{QUERY}", kind.to_lowercase());
        let reply = face.send(Method::POST, &path, &[("content-type", media)], sample.file(extension)).await;
        let body = reply.json();
        let (uid, made) = (text(&body, "/metadata/uid"), text(&body, "/metadata/creationTimestamp"));
        let mut body = reply.body.replace(&made, MADE).replace(&uid, UID);
        if let (Some(prefix), Some(name)) =
            (reply.json()["metadata"]["generateName"].as_str(), reply.json()["metadata"]["name"].as_str())
        {
            body = body.replace(name, &format!("{prefix}xxxxx"));
        }
        return (reply, serde_json::from_str(&body).expect("still JSON"));
    }
    let stored = face.put(sample.stored()).await.to_value();
    let (plural, name) = (format!("{}s", text(&stored, "/kind").to_lowercase()), text(&stored, "/metadata/name"));
    let (part, method, media) = match sample.request {
        Request::Create { .. } | Request::Update => ("", Method::PUT, "json"),
        Request::UpdateStatus => ("/status", Method::PUT, "json"),
        Request::MergePatch => ("", Method::PATCH, "merge-patch+json"),
        Request::StrategicPatch => ("", Method::PATCH, "strategic-merge-patch+json"),
    };
    let old = &sample.answer["old"]["metadata"];
    let ours = [&stored["metadata"]["uid"], &stored["metadata"]["creationTimestamp"]];
    let theirs = [&old["uid"], &old["creationTimestamp"]];
    let mut sent = sample.answer["request"].clone();
    if sent["metadata"]["resourceVersion"] == old["resourceVersion"] && !old["resourceVersion"].is_null() {
        sent["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
    }
    let mut sent = sent.to_string();
    for (theirs, ours) in theirs.iter().zip(ours) {
        sent = sent.replace(&theirs.to_string(), &ours.to_string());
    }
    let path = format!("/apis/batch/v1/namespaces/default/{plural}/{name}{part}?{QUERY}");
    let media = format!("application/{media}");
    let reply = face.send(method, &path, &[("content-type", &media)], sent).await;
    let mut body = reply.body.clone();
    for (theirs, ours) in theirs.iter().zip(ours) {
        let bare = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        body = body.replace(&bare(ours), &bare(theirs));
    }
    (reply, serde_json::from_str(&body).expect("still JSON"))
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("(none)").to_owned()
}

fn compare(sample: &Sample, (reply, body): &(Reply, Value)) -> Vec<String> {
    let theirs = &sample.answer;
    if theirs["code"] != reply.code {
        return vec![format!("code: theirs {}, ours {} {}", theirs["code"], reply.code, reply.body)];
    }
    let mut found = Vec::new();
    if reply.headers["content-type"] != "application/json" {
        found.push(format!("content type {:?}", reply.headers["content-type"]));
    }
    let part = if theirs["status"].is_object() { "status" } else { "object" };
    let (theirs, ours) = (plain(&sample.answer[part]), plain(body));
    if theirs != ours {
        found.push(format!("{part}:\n    theirs {theirs}\n    ours   {ours}"));
    }
    let warnings: Vec<String> = reply.warnings().iter().map(|header| unquoted(header)).collect();
    if sample.answer["warnings"] != json!(warnings) {
        found.push(format!("warnings: theirs {}, ours {warnings:?}", sample.answer["warnings"]));
    }
    found
}

/// Without what the samples leave open: dumps of Go structs, the order of causes, the revision, owners, null fields.
fn plain(value: &Value) -> Value {
    let mut value = without_nulls(value);
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    let Some(causes) = value.pointer_mut("/details/causes").and_then(Value::as_array_mut) else { return value };
    let mut open = false;
    for cause in causes.iter_mut() {
        let message = cause["message"].as_str().unwrap_or_default();
        // A patched object holds this server's own revision and order.
        if dumps_struct(message) || message.starts_with("Invalid value: {") || cause["field"] == "patch" {
            open = true;
            cause["message"] = Value::Null;
        }
    }
    causes.sort_by_key(Value::to_string);
    if open {
        value["message"] = Value::Null;
    }
    value
}

/// The text of a `Warning` header: `299 - "text"`.
fn unquoted(header: &str) -> String {
    let text =
        header.strip_prefix("299 - \"").and_then(|rest| rest.strip_suffix('"')).expect("a warning of Kubernetes");
    text.replace("\\\"", "\"").replace("\\\\", "\\")
}
