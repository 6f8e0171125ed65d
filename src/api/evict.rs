//! Owns what is done to a pod by posting to it: `eviction`, which deletes it and says that it was disrupted, and
//! `binding`, which gives it a node.
//! Never looks at disruption budgets: there are none, so nothing stands against an eviction.
//!
//! Parity: `pkg/registry/core/pod/storage/{eviction,storage}.go`.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};

use super::ApiState;
use super::call::{self, Call};
use super::error::Problem;
use super::query::WriteForm;
use super::remove::{self, Options};
use super::write;
use crate::model::condition;
use crate::model::field::{Errors, Path};
use crate::model::object::Object;
use crate::store::{self, Expected, Write};

/// How often an act is decided on a newer state.
const CONFLICT_TRIES: usize = 5;

/// `create` of an eviction.
pub async fn evict(state: &ApiState, call: &Call, body: &Bytes) -> Result<Response, Problem> {
    let encoder = call::encoder(&call.headers, &call.params)?;
    let sent = call::tree(&call.headers, body.clone())?;
    if sent["metadata"]["name"].as_str() != Some(&call.target.name) {
        return Err(Problem::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = delete_options(call, &sent["deleteOptions"])?;
    let mut pod = find(state, call)?;
    if !options.dry {
        pod = change(state, call, pod, |pod| {
            condition::disrupt(pod, "EvictionByEvictionAPI", "Eviction API: evicting", Timestamp::now());
            Ok(())
        })
        .await?;
    }
    remove::remove(state, pod, &options).await?;
    encoder.value(StatusCode::CREATED, &success())
}

fn delete_options(call: &Call, sent: &Value) -> Result<Options, Problem> {
    let mut options: DeleteOptions = match sent {
        Value::Null => DeleteOptions::default(),
        sent => serde_json::from_value(sent.clone()).map_err(|error| Problem::bad_request(error.to_string()))?,
    };
    let query: Vec<String> = call.params.all("dryRun").map(str::to_owned).collect();
    match options.dry_run.as_ref().filter(|own| !own.is_empty()) {
        Some(own) if !query.is_empty() && *own != query => {
            return Err(Problem::internal(format!(
                "Non-matching dry-run options in request and content: [{}] and [{}]",
                query.join(" "),
                own.join(" ")
            )));
        }
        Some(_) => {}
        None => options.dry_run = Some(query),
    }
    Options::read(&options)
}

/// `create` of a binding.
pub async fn bind(state: &ApiState, call: &Call, body: &Bytes) -> Result<Response, Problem> {
    let encoder = call::encoder(&call.headers, &call.params)?;
    let dry = write::options(call, WriteForm::Create)?.dry_run;
    let sent = call::tree(&call.headers, body.clone())?;
    let node = target(&call.target.name, &sent)?;
    let pod = find(state, call)?;
    if dry {
        assign(call, &mut typed(&pod), &node)?;
    } else {
        change(state, call, pod, |pod| assign(call, pod, &node)).await?;
    }
    encoder.value(StatusCode::CREATED, &success())
}

/// The node that a binding names.
fn target(name: &str, binding: &Value) -> Result<String, Problem> {
    let text = |field: &str| binding["target"][field].as_str().unwrap_or_default().to_owned();
    let (kind, node) = (text("kind"), text("name"));
    let mut errors = Errors::new();
    if !matches!(kind.as_str(), "" | "Node") {
        errors.not_supported(&Path::new("target.kind"), &kind, &["Node", "<empty>"]);
    }
    errors.required_if_empty(&Path::new("target.name"), &node);
    match errors.into_vec() {
        none if none.is_empty() => Ok(node),
        errors => Err(Problem::invalid_of("", "Binding", name, &errors)),
    }
}

fn assign(call: &Call, pod: &mut Pod, node: &str) -> Result<(), Problem> {
    let name = &call.target.name;
    let refuse = |why: String| Err(Problem::bound(name, &why));
    if pod.metadata.deletion_timestamp.is_some() {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let spec = pod.spec.get_or_insert_default();
    if let Some(other) = spec.node_name.as_deref().filter(|other| !other.is_empty()) {
        return refuse(format!("pod {name} is already assigned to node \"{other}\""));
    }
    if spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    spec.node_name = Some(node.to_owned());
    condition::set(pod, condition::new("PodScheduled", true, Timestamp::now()));
    Ok(())
}

fn find(state: &ApiState, call: &Call) -> Result<Object, Problem> {
    state.store.get(&call.key())?.ok_or_else(|| Problem::not_found(call.kind(), &call.target.name))
}

fn typed(object: &Object) -> Pod {
    object.typed::<Pod>().cloned().unwrap_or_default()
}

/// Changes a pod, on its newest state.
async fn change(
    state: &ApiState,
    call: &Call,
    mut object: Object,
    decide: impl Fn(&mut Pod) -> Result<(), Problem>,
) -> Result<Object, Problem> {
    for tries in 1.. {
        let mut pod = typed(&object);
        decide(&mut pod)?;
        let write = Write::Update { object: Object::new(pod), expected: Expected::Revision(object.revision()) };
        match write::commit(&state.store, write, false).await {
            Err(store::Error::Conflict { .. }) if tries < CONFLICT_TRIES => object = find(state, call)?,
            outcome => return Ok(outcome?),
        }
    }
    Err(Problem::modified(call.kind(), &call.target.name))
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}
