//! Owns exec and attach: joins a client's streams to a process's, and tells the client how the process ended.
//! Never knows which protocol the client speaks.

use std::collections::HashMap;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Talk;
use super::ends::{Ends, Sink};
use super::spdy::connection::{self, Stream};
use super::upgrade::{self, Upgrade};
use super::websocket::{self, Channels, Protocol};
use crate::api::error::Problem;
use crate::runtime::session::{self, ExecSpec, Session, SessionId, Streams};
use crate::runtime::{Error, Runtime};

/// Stream protocols over SPDY, in upstream's order.
const SPDY_PROTOCOLS: [&str; 5] =
    ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
/// How long a client may take to open its SPDY streams. Parity: `DefaultStreamCreationTimeout`.
const CREATION_LIMIT: Duration = Duration::from_secs(30);
/// Longest text of terminal sizes that is not yet one: an object of two numbers.
const SIZE_MAX: usize = 1024;

/// What is to be joined.
pub struct Asked {
    /// The container.
    pub engine_id: String,
    /// The command; none for the container's own process.
    pub command: Option<Vec<String>>,
    /// What the client wants.
    pub streams: Streams,
    /// Whether the process has a terminal.
    pub terminal: bool,
}

/// Agrees to the upgrade, and begins when it is there.
pub async fn answer(upgrade: Upgrade, talk: Talk, asked: Asked, tasks: &TaskTracker) -> Response {
    match upgrade {
        Upgrade::WebSocket(parts, protocols) => {
            let then = |socket, protocol: Protocol| async move {
                let (ends, channels) = channels(asked.streams, protocol);
                let serving = websocket::serve(socket, protocol, channels, &talk.idle);
                tokio::join!(serving, converse(&talk, &asked, ends));
            };
            upgrade::websocket(*parts, &protocols, &websocket::COMMANDS, tasks, then).await
        }
        Upgrade::Spdy(on_upgrade, protocols) => {
            upgrade::spdy(on_upgrade, &protocols, &SPDY_PROTOCOLS, tasks, |io, protocol| async move {
                let (sender, streams) = mpsc::channel(1);
                let talking = async {
                    let gathered = tokio::time::timeout(CREATION_LIMIT, gather(streams, asked.streams, protocol)).await;
                    match gathered {
                        Ok(Some(ends)) => converse(&talk, &asked, ends).await,
                        Ok(None) => {}
                        Err(_) => tracing::warn!("timed out waiting for client to create streams"),
                    }
                };
                tokio::join!(connection::serve(io, sender, &talk.idle), talking);
            })
        }
    }
}

/// The ends of a conversation over a WebSocket, and what its loop needs.
fn channels(streams: Streams, protocol: Protocol) -> (Ends, Channels) {
    let (out, messages) = mpsc::channel(websocket::QUEUE);
    let mut inputs = HashMap::new();
    let mut input = |number: u8| {
        let (sender, receiver) = mpsc::channel(websocket::QUEUE);
        inputs.insert(number, sender);
        receiver
    };
    let stdin = streams.stdin.then(|| input(0));
    let resize = Some(input(4));
    let sink = |wanted: bool, number: u8| wanted.then(|| Sink::Channel(number, out.clone()));
    let ends = Ends {
        stdin,
        resize,
        stdout: sink(streams.stdout, 1),
        stderr: sink(streams.stderr, 2),
        error: Sink::Channel(3, out.clone()),
        detailed: protocol.version >= 4,
    };
    // Parity: an empty message tells the client that the connection is there.
    let first = [&ends.stdout, &ends.stderr].into_iter().flatten().next().unwrap_or(&ends.error);
    if let Sink::Channel(number, _) = first {
        // The queue is empty, so there is room.
        let _room = out.try_send((*number, Bytes::new()));
    }
    (ends, Channels { inputs, out: messages })
}

/// Waits for the streams that the client's wishes imply; none where it goes before. Parity: `waitForStreams` of the
/// kubelet's protocol handlers.
async fn gather(mut streams: mpsc::Receiver<Stream>, wanted: Streams, protocol: &str) -> Option<Ends> {
    let resizes = wanted.tty && !matches!(protocol, "v2.channel.k8s.io" | "channel.k8s.io");
    let expected = [true, wanted.stdin, wanted.stdout, wanted.stderr, resizes].into_iter().filter(|one| *one).count();
    let mut known: HashMap<String, Stream> = HashMap::new();
    while known.len() < expected {
        let stream = streams.recv().await?;
        match stream.headers.get("streamtype").map(String::as_str) {
            Some(kind @ ("error" | "stdin" | "stdout" | "stderr" | "resize")) => {
                known.insert(kind.to_owned(), stream);
            }
            Some(_) | None => stream.output.refuse().await,
        }
    }
    let mut take = |kind: &str| known.remove(kind);
    let stdin = take("stdin");
    let error = take("error")?;
    Some(Ends {
        stdin: stdin.map(|stream| stream.input),
        resize: take("resize").map(|stream| stream.input),
        stdout: take("stdout").map(|stream| Sink::Stream(stream.output)),
        stderr: take("stderr").map(|stream| Sink::Stream(stream.output)),
        error: Sink::Stream(error.output),
        detailed: matches!(protocol, "v5.channel.k8s.io" | "v4.channel.k8s.io"),
    })
}

/// How a conversation ended.
enum Ended {
    /// The command did, with this code; an attach has none.
    Code(Option<i32>),
    /// The client went.
    Gone,
    /// Something failed.
    Failed(String),
}

async fn converse(talk: &Talk, asked: &Asked, mut ends: Ends) {
    let ended = tokio::select! {
        ended = begin_and_join(talk, asked, &mut ends) => ended,
        () = talk.stop.cancelled() => Ended::Failed("jobdock is shutting down".to_owned()),
        () = talk.idle.expired() => Ended::Failed("nothing was said for too long".to_owned()),
    };
    let Some(status) = status(&ended) else { return };
    let text = if ends.detailed { Some(status.to_string()) } else { words(&status) };
    if let Some(text) = text {
        let _gone = ends.error.send(text.into()).await;
    }
    for sink in ends.stdout.iter().chain(&ends.stderr).chain([&ends.error]) {
        sink.end().await;
    }
}

async fn begin_and_join(talk: &Talk, asked: &Asked, ends: &mut Ends) -> Ended {
    let runtime = &*talk.runtime;
    let failed = |error: Error| match &asked.command {
        Some(_) => Ended::Failed(format!("error executing command in container: {error}")),
        None => Ended::Failed(format!("error attaching to container: {error}")),
    };
    let begun = match &asked.command {
        Some(command) => {
            let spec = ExecSpec { command: command.clone(), streams: asked.streams, ..ExecSpec::default() };
            runtime.exec(&asked.engine_id, &spec).await
        }
        None => runtime.attach(&asked.engine_id, Streams { tty: asked.terminal, ..asked.streams }).await,
    };
    let mut session = match begun {
        Ok(session) => session,
        Err(error) => return failed(error),
    };
    let id = session.id.clone();
    let gone = ends.error.clone();
    let joined = async {
        match join(runtime, &mut session, ends, asked.terminal).await {
            Ok(true) => end_of(runtime, &id).await.unwrap_or_else(failed),
            Ok(false) => Ended::Gone,
            Err(error) => failed(error),
        }
    };
    let ended = tokio::select! {
        ended = joined => ended,
        () = gone.closed() => Ended::Gone,
    };
    if let (Ended::Gone, SessionId::Exec(_), true) = (&ended, &id, asked.terminal) {
        hang_up(runtime, &id).await;
    }
    ended
}

async fn end_of(runtime: &dyn Runtime, id: &SessionId) -> Result<Ended, Error> {
    match id {
        SessionId::Exec(_) => session::exit(runtime, id).await.map(|code| Ended::Code(Some(code))),
        SessionId::Attach(_) => Ok(Ended::Code(None)),
    }
}

/// A terminal whose other side is gone tells its programs so. An engine keeps it open, so they have to be told.
async fn hang_up(runtime: &dyn Runtime, id: &SessionId) {
    match runtime.signal_exec(id, "SIGHUP").await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("a command whose client has gone runs on: this engine cannot end it"),
        Err(error) => tracing::warn!(%error, "a command whose client has gone could not be told"),
    }
}

/// Carries everything until the process's output ends; false where the client is gone before.
async fn join(runtime: &dyn Runtime, session: &mut Session, ends: &mut Ends, terminal: bool) -> Result<bool, Error> {
    let Session { id, output, input } = session;
    let Ends { stdin, resize, stdout, stderr, .. } = ends;
    let feeding = async {
        if let Some(stdin) = stdin {
            while let Some(bytes) = stdin.recv().await {
                // A process that has closed its input is not waiting for ours.
                if input.write_all(&bytes).await.is_err() || (stdin.is_empty() && input.flush().await.is_err()) {
                    break;
                }
            }
            // A terminal has no end of input but a key, and an engine that is told of one stops telling the output.
            if !terminal {
                let _closed = input.shutdown().await;
            }
        }
        std::future::pending::<()>().await;
    };
    let sizing = async {
        if let Some(resize) = resize {
            follow_sizes(runtime, id, resize).await;
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        while let Some(piece) = output.next().await {
            let piece = piece?;
            let sink = if piece.stderr { &*stderr } else { &*stdout };
            if let Some(sink) = sink
                && sink.send(piece.bytes).await.is_err()
            {
                return Ok(false);
            }
        }
        Ok(true)
    };
    tokio::select! {
        outcome = reading => outcome,
        () = feeding => Ok(false),
        () = sizing => Ok(false),
    }
}

/// A terminal's size, as clients send it.
#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width", default)]
    width: u16,
    #[serde(rename = "Height", default)]
    height: u16,
}

async fn follow_sizes(runtime: &dyn Runtime, id: &SessionId, resize: &mut mpsc::Receiver<Bytes>) {
    let mut text = Vec::new();
    while let Some(bytes) = resize.recv().await {
        text.extend_from_slice(&bytes);
        let (sizes, read) = sizes(&text);
        text.drain(..read);
        if text.len() > SIZE_MAX {
            return;
        }
        // Of several only the last is still true.
        if let Some(Size { width, height }) = sizes.last()
            && let Err(error) = runtime.resize(id, *height, *width).await
        {
            tracing::debug!(%error, "a terminal keeps its size");
        }
    }
}

/// The sizes at the head of a text, and how many bytes they are.
fn sizes(text: &[u8]) -> (Vec<Size>, usize) {
    let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<Size>();
    let mut sizes = Vec::new();
    while let Some(Ok(size)) = stream.next() {
        sizes.push(size);
    }
    (sizes, stream.byte_offset())
}

/// The `Status` of an end; none where nobody is left to read it. Parity: `ServeExec` of the kubelet.
fn status(ended: &Ended) -> Option<Value> {
    match ended {
        Ended::Gone => None,
        Ended::Code(None | Some(0)) => Some(json!({"metadata": {}, "status": "Success"})),
        Ended::Code(Some(code)) => Some(json!({
            "metadata": {},
            "status": "Failure",
            "message":
                format!("command terminated with non-zero exit code: command terminated with exit code {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        })),
        Ended::Failed(why) => Some(Problem::internal(why).status()),
    }
}

/// What versions before 4 are told: only of a failure, and only its words.
fn words(status: &Value) -> Option<String> {
    (status["status"] != "Success").then(|| status["message"].as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_come() {
        for (text, expected, read) in [
            (r#"{"Width":80,"Height":24}"#, vec![(80, 24)], 24),
            ("{\"Width\":80,\"Height\":24}\n{\"Width\":1,\"Height\":2}\n", vec![(80, 24), (1, 2)], 48),
            (r#"{"Width":80,"Height":24}{"Wid"#, vec![(80, 24)], 24),
            (r#"{"Wid"#, vec![], 0),
            ("", vec![], 0),
        ] {
            let (sizes, bytes) = sizes(text.as_bytes());
            let sizes: Vec<_> = sizes.iter().map(|size| (size.width, size.height)).collect();
            assert_eq!(sizes, expected, "{text}");
            assert!(bytes >= read && bytes <= text.len(), "{text}: {bytes}");
        }
    }

    #[test]
    fn an_end_is_told_as_a_kubelet_tells_it() {
        let told = |ended: Ended| status(&ended).map(|status| (status.to_string(), words(&status)));
        assert_eq!(told(Ended::Gone), None);
        assert_eq!(told(Ended::Code(Some(0))), Some((r#"{"metadata":{},"status":"Success"}"#.to_owned(), None)));
        let (status, words) = told(Ended::Code(Some(7))).expect("told");
        assert!(status.contains(r#""causes":[{"message":"7","reason":"ExitCode"}]"#), "{status}");
        let message = "command terminated with non-zero exit code: command terminated with exit code 7";
        assert_eq!(words.as_deref(), Some(message));
        let (status, _) = told(Ended::Failed("why".to_owned())).expect("told");
        assert!(status.contains(r#""message":"Internal error occurred: why""#), "{status}");
    }
}
