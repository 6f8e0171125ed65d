//! Owns `pods/exec`, `pods/attach` and `pods/portforward`: conversations with processes in pods, over WebSocket and SPDY.
//! Never starts or ends a pod; what goes on in one is the engine's.
//!
//! ```text
//!  request ── which pod, which container ── upgrade: WebSocket channels, WebSocket tunnel, SPDY
//!                                               │
//!             exec, attach: command ◄───────────┼───────────► forward: portforward
//!                                     ends (what both see)
//!                  └── Runtime::exec, attach                     └── Runtime::dial
//! ```
//!
//! Watches and logs may be read over a WebSocket too: `one_way`.
//!
//! Parity: the checks are the API server's first, then the kubelet's; the kubelet's are plain texts.

mod command;
mod ends;
mod forward;
mod idle;
pub mod one_way;
mod spdy;
mod upgrade;
mod websocket;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::ws::Message;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use self::idle::Idle;
use self::upgrade::Upgrade;
use super::call::Call;
use super::error::{Problem, Spoken};
use super::query::Params;
use super::{ApiState, log};
use crate::runtime::Runtime;
use crate::runtime::session::Streams;

/// What SPDY bytes say, which come in pieces of `size`: control frames, data of each stream, and whether all is well. For
/// fuzzing, which has no connection.
#[doc(hidden)]
pub fn read_spdy(bytes: &[u8], size: usize) -> (usize, BTreeMap<u32, Vec<u8>>, bool) {
    let mut decoder = spdy::frame::Decoder::default();
    let (mut controls, mut data) = (0, BTreeMap::<u32, Vec<u8>>::new());
    for piece in bytes.chunks(size) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(spdy::frame::Frame::Data { id, bytes, .. })) => data.entry(id).or_default().extend(bytes),
                Ok(Some(_)) => controls += 1,
                Err(_) => return (controls, data, false),
            }
        }
    }
    (controls, data, true)
}

/// Reads a WebSocket message by every protocol of commands, as [`read_spdy`] does.
#[doc(hidden)]
pub fn read_message(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    for protocol in websocket::COMMANDS {
        let _binary = websocket::read(Message::Binary(Bytes::copy_from_slice(bytes)), protocol);
        let _text = websocket::read(Message::Text(text.as_str().into()), protocol);
    }
}

/// Which of the three is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A command beside the container's own process.
    Exec,
    /// The container's own process.
    Attach,
    /// TCP ports.
    PortForward,
}

/// What every conversation has.
struct Talk {
    runtime: Arc<dyn Runtime>,
    stop: CancellationToken,
    idle: Idle,
    /// Kept for as long as the conversation lasts.
    _permit: OwnedSemaphorePermit,
}

/// Begins a conversation: answers with the upgrade, and goes on in a task of its own.
pub async fn connect(
    state: &ApiState,
    call: &mut Call,
    kind: Kind,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let name = &call.target.name;
    let object = state.store.get(&call.key())?.ok_or_else(|| Problem::not_found(call.kind(), name))?;
    let pod = object.typed::<Pod>().ok_or_else(Problem::no_path)?;
    let container = match kind {
        Kind::Exec | Kind::Attach => log::container(&call.params, pod)?,
        Kind::PortForward => String::new(),
    };
    if pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default().is_empty() {
        return Err(Problem::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let Some(upgrade) = Upgrade::of(call) else {
        return Err(Problem::bad_request("Upgrade request required"));
    };
    let Some(runtime) = state.runtime.clone() else {
        return Err(Problem::internal("error dialing backend: this jobdock runs no pods (--node=none)"));
    };
    let talk = Talk { runtime, stop: state.stop.clone(), idle: Idle::new(), _permit: permit };
    let begun = match kind {
        Kind::Exec => exec(&call.params, pod, &container),
        Kind::Attach => attach(&call.params, pod, &container),
        Kind::PortForward => {
            return Ok(forward::answer(upgrade, talk, pod, &call.params, &state.conversations).await);
        }
    };
    Ok(match begun {
        Ok(asked) => command::answer(upgrade, talk, asked, &state.conversations).await,
        Err(refusal) => refusal.into_response(),
    })
}

fn exec(params: &Params, pod: &Pod, container: &str) -> Result<command::Asked, Spoken> {
    let streams = streams(params)?;
    let missing = || Spoken::impossible(format!("container not found (\"{container}\")"));
    let engine_id = running(pod, container).ok_or_else(missing)?;
    let command = params.all("command").map(str::to_owned).collect();
    Ok(command::Asked { engine_id, command: Some(command), streams, terminal: streams.tty })
}

fn attach(params: &Params, pod: &Pod, container: &str) -> Result<command::Asked, Spoken> {
    let streams = streams(params)?;
    let meta = &pod.metadata;
    let missing = || {
        let [name, namespace] = [&meta.name, &meta.namespace].map(|text| text.as_deref().unwrap_or_default());
        Spoken::impossible(format!("container {container} not found in pod {name}_{namespace}"))
    };
    let engine_id = running(pod, container).ok_or_else(missing)?;
    // Parity: whether there is a terminal was settled when the container was made.
    let terminal = has_terminal(pod, container);
    Ok(command::Asked { engine_id, command: None, streams, terminal })
}

/// Parity: `NewOptions` of the kubelet's remote commands.
fn streams(params: &Params) -> Result<Streams, Spoken> {
    let [stdin, stdout, stderr, tty] = ["stdin", "stdout", "stderr", "tty"].map(|name| params.flag(name));
    let streams = Streams { stdin, stdout, stderr: stderr && !tty, tty };
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Err(Spoken::senseless("you must specify at least 1 of stdin, stdout, stderr"));
    }
    Ok(streams)
}

fn has_terminal(pod: &Pod, container: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let ephemeral = spec.ephemeral_containers.iter().flatten().filter(|one| one.name == container);
    all.filter(|one| one.name == container)
        .filter_map(|one| one.tty)
        .chain(ephemeral.filter_map(|one| one.tty))
        .any(|tty| tty)
}

/// The engine's id of a pod's container, while it runs.
fn running(pod: &Pod, container: &str) -> Option<String> {
    let status = log::status(pod, container)?;
    status.state.as_ref()?.running.as_ref()?;
    let id = status.container_id.as_deref()?;
    Some(id.split_once("://").map_or(id, |(_, id)| id).to_owned())
}
