//! Owns port-forward: joins a client's streams to TCP ports of a pod.
//! Never knows what is said on them.
//!
//! ```text
//! SPDY, also inside of a WebSocket   two streams for each connection: error, data; paired by their requestid
//! WebSocket channels                 two channels for each port, one connection each; both begin with the port
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Talk;
use super::ends::Sink;
use super::spdy::connection::{self, Stream};
use super::spdy::header::Headers;
use super::upgrade::{self, Upgrade};
use super::websocket::{self, Channels, Protocol};
use crate::api::error::Spoken;
use crate::api::query::Params;
use crate::runtime::Error;
use crate::runtime::session::{Duplex, Pipe};

/// The stream protocol over SPDY.
const SPDY_PROTOCOLS: [&str; 1] = ["portforward.k8s.io"];
/// How long the second stream of a pair may take. Parity: `DefaultStreamCreationTimeout`.
const CREATION_LIMIT: Duration = Duration::from_secs(30);
/// Ports of one WebSocket: two channels each, and 255 is not one.
const PORTS_MAX: usize = 127;
/// Bytes read at once from a port.
const READ_SIZE: usize = 32 * 1024;

/// What ports are forwarded of.
struct Target {
    talk: Talk,
    name: String,
    uid: String,
    /// A running container of the pod; they share their network.
    engine_id: Option<String>,
}

/// Agrees to the upgrade, and begins when it is there.
pub async fn answer(upgrade: Upgrade, talk: Talk, pod: &Pod, params: &Params, tasks: &TaskTracker) -> Response {
    let target = Target {
        talk,
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        engine_id: running(pod),
    };
    match upgrade {
        Upgrade::Spdy(on_upgrade, protocols) => {
            upgrade::spdy(on_upgrade, &protocols, &SPDY_PROTOCOLS, tasks, |io, _| over_spdy(io, target))
        }
        Upgrade::WebSocket(parts, protocols) => {
            if let Some(protocol) = upgrade::tunnelled(&protocols, &SPDY_PROTOCOLS) {
                return upgrade::tunnel(*parts, protocol, tasks, |io| over_spdy(io, target)).await;
            }
            match ports(params) {
                Ok(ports) => {
                    let then = |socket, protocol| over_channels(socket, protocol, ports, target);
                    upgrade::websocket(*parts, &protocols, &websocket::PORTS, tasks, then).await
                }
                Err(why) => Spoken::senseless(why).into_response(),
            }
        }
    }
}

fn running(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let mut all = lists.into_iter().flatten().flatten();
    all.find_map(|status: &ContainerStatus| super::running(pod, &status.name))
}

/// Parity: `NewV4Options` of the kubelet.
fn ports(params: &Params) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    for text in params.all("ports") {
        if text.is_empty() {
            return Err("query parameter \"ports\" cannot be empty".to_owned());
        }
        for port in text.split(',') {
            match port.parse::<u16>() {
                Ok(0) => return Err(format!("port \"{text}\" must be > 0")),
                Ok(port) => ports.push(port),
                Err(error) => return Err(format!("unable to parse \"{text}\" as a port: {error}")),
            }
        }
    }
    match ports.len() {
        0 => Err("query parameter \"ports\" is required".to_owned()),
        1..=PORTS_MAX => Ok(ports),
        many => Err(format!("{many} ports are asked for; one connection has room for {PORTS_MAX}")),
    }
}

async fn over_channels(socket: WebSocket, protocol: Protocol, ports: Vec<u16>, target: Target) {
    let (out, messages) = mpsc::channel(websocket::QUEUE);
    let mut inputs = HashMap::new();
    let mut pairs = Vec::new();
    for (channel, port) in (0..=u8::MAX).step_by(2).zip(ports) {
        let (sender, input) = mpsc::channel(websocket::QUEUE);
        inputs.insert(channel, sender);
        let sink = |channel| Sink::Channel(channel, out.clone());
        pairs.push(Pair { port, input, data: sink(channel), error: sink(channel + 1) });
    }
    drop(out);
    let channels = Channels { inputs, out: messages };
    let target = Arc::new(target);
    let idle = &target.talk.idle;
    let forwarding = async {
        let mut tasks = JoinSet::new();
        for pair in pairs {
            let target = Arc::clone(&target);
            tasks.spawn(async move {
                let port = Bytes::copy_from_slice(&pair.port.to_le_bytes());
                if pair.data.send(port.clone()).await.is_ok() && pair.error.send(port).await.is_ok() {
                    forward(&target, pair).await;
                }
            });
        }
        tokio::select! {
            () = async { while tasks.join_next().await.is_some() {} } => {}
            () = target.talk.stop.cancelled() => {}
            () = idle.expired() => {}
        }
    };
    tokio::join!(websocket::serve(socket, protocol, channels, idle), forwarding);
}

async fn over_spdy(io: Box<dyn Duplex>, target: Target) {
    let (sender, streams) = mpsc::channel(1);
    let target = Arc::new(target);
    let taking = async {
        tokio::select! {
            () = take(streams, &target) => {}
            () = target.talk.stop.cancelled() => {}
            () = target.talk.idle.expired() => {}
        }
    };
    tokio::join!(connection::serve(io, sender, &target.talk.idle), taking);
}

/// Pairs streams and forwards each pair, until the client goes.
async fn take(mut streams: mpsc::Receiver<Stream>, target: &Arc<Target>) {
    let mut tasks = JoinSet::new();
    let mut waiting: HashMap<String, (Instant, Stream)> = HashMap::new();
    while let Some(stream) = streams.recv().await {
        while tasks.try_join_next().is_some() {}
        waiting.retain(|_, (since, _)| since.elapsed() < CREATION_LIMIT);
        let Some(port) = port(&stream.headers) else {
            stream.output.refuse().await;
            continue;
        };
        let request = request(&stream);
        let kind = |stream: &Stream| stream.headers.get("streamtype").cloned();
        match waiting.remove(&request) {
            None => {
                waiting.insert(request, (Instant::now(), stream));
            }
            Some((since, first)) if kind(&first) == kind(&stream) => {
                stream.output.refuse().await;
                waiting.insert(request, (since, first));
            }
            Some((_, first)) => {
                let error_first = kind(&first).as_deref() == Some("error");
                let (error, data) = if error_first { (first, stream) } else { (stream, first) };
                let (data, error, input) = (Sink::Stream(data.output), Sink::Stream(error.output), data.input);
                let target = Arc::clone(target);
                tasks.spawn(async move { forward(&target, Pair { port, input, data, error }).await });
            }
        }
    }
}

/// The port of a stream; none where its headers are not as they must be.
fn port(headers: &Headers) -> Option<u16> {
    let known = matches!(headers.get("streamtype").map(String::as_str), Some("error" | "data"));
    headers.get("port")?.parse().ok().filter(|port| known && *port > 0)
}

/// What pairs two streams. Parity: without a number of its own, a data stream belongs to the error stream before it.
fn request(stream: &Stream) -> String {
    let own = stream.headers.get("requestid").filter(|id| !id.is_empty()).cloned();
    let data = stream.headers.get("streamtype").is_some_and(|kind| kind == "data");
    own.unwrap_or_else(|| (if data { stream.id.saturating_sub(2) } else { stream.id }).to_string())
}

/// One connection.
struct Pair {
    port: u16,
    input: mpsc::Receiver<Bytes>,
    data: Sink,
    error: Sink,
}

async fn forward(target: &Target, pair: Pair) {
    let Pair { port, input, data, error } = pair;
    let connected = match &target.engine_id {
        Some(id) => target.talk.runtime.dial(id, port).await,
        None => Err(Error::Refused("no container of the pod is running".to_owned())),
    };
    match connected {
        Ok(pipe) => copy(pipe, input, &data).await,
        Err(why) => {
            let (name, uid) = (&target.name, &target.uid);
            let text = format!("error forwarding port {port} to pod {name}, uid {uid}: {why}");
            tracing::debug!("{text}");
            let _gone = error.send(text.into()).await;
        }
    }
    data.end().await;
    error.end().await;
}

/// Until the port closes, or the client is gone. Either may stop speaking and go on listening.
async fn copy(pipe: Pipe, mut input: mpsc::Receiver<Bytes>, data: &Sink) {
    let (mut reader, mut writer) = tokio::io::split(pipe);
    let inward = async {
        while let Some(bytes) = input.recv().await {
            if writer.write_all(&bytes).await.is_err() || (input.is_empty() && writer.flush().await.is_err()) {
                break;
            }
        }
        let _closed = writer.shutdown().await;
        std::future::pending::<()>().await;
    };
    let outward = async {
        let mut buffer = BytesMut::with_capacity(READ_SIZE);
        while reader.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
            if data.send(buffer.split().freeze()).await.is_err() {
                return;
            }
            buffer.reserve(READ_SIZE);
        }
    };
    tokio::select! {
        () = inward => {}
        () = outward => {}
        () = data.closed() => {}
    }
}
