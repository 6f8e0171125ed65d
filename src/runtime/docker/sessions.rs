//! Owns exec and attach: connections that the engine turns into a process's streams.
//! Never reads a session to its end: whoever asked for it does.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::Method;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::wire::Ask;
use super::{Docker, READ_LIMIT, containers, dial};
use crate::runtime::Error;
use crate::runtime::failure::Act;
use crate::runtime::mux::OutputDecoder;
use crate::runtime::session::{ExecSpec, Output, Session, SessionId, Streams};

/// Bytes read at once; the engine sends pieces of 32 KiB.
const READ_SIZE: usize = 64 * 1024;
/// Keys that detach a terminal from the engine, which nobody here wants: its default (ctrl-p, ctrl-q) would be taken
/// from every shell and editor. None cannot be said, so it is a series that nobody types. The engine holds the first
/// key back until the next is typed; this one is the least missed.
const DETACH_KEYS: &str = "ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^";

/// How often a process's number is asked for, and the pause between: together longer than an engine under load takes
/// to begin a process.
const PID_LOOKS: usize = 100;
const PID_PAUSE: Duration = Duration::from_millis(50);

/// What the engine calls a command that it made.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MadeReply {
    id: String,
}

/// What it tells of one.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExecReply {
    #[serde(default)]
    running: bool,
    exit_code: Option<i64>,
    #[serde(default)]
    pid: i32,
    #[serde(default, rename = "ContainerID")]
    container: String,
}

pub(super) async fn exec(docker: &Docker, name: &str, spec: &ExecSpec) -> Result<Session, Error> {
    containers::must_be_here(docker, name).await?;
    let Streams { stdin, stdout, stderr, tty } = spec.streams;
    let body = json!({
        "Cmd": spec.command, "Env": spec.env, "Tty": tty, "DetachKeys": DETACH_KEYS,
        "AttachStdin": stdin, "AttachStdout": stdout, "AttachStderr": stderr,
    });
    let made: MadeReply = docker.wire().read(READ_LIMIT, post(name, format!("/containers/{name}/exec"), &body)).await?;
    containers::check_name(&made.id)?;
    let body = json!({"Detach": false, "Tty": tty});
    let start = post(name, format!("/exec/{}/start", made.id), &body);
    open(docker, SessionId::Exec(made.id.clone()), spec.streams, start).await
}

pub(super) async fn attach(docker: &Docker, name: &str, streams: Streams) -> Result<Session, Error> {
    containers::must_be_here(docker, name).await?;
    let Streams { stdin, stdout, stderr, .. } = streams;
    let keys = containers::form(DETACH_KEYS);
    let path = format!(
        "/containers/{name}/attach?stream=true&stdin={stdin}&stdout={stdout}&stderr={stderr}&detachKeys={keys}"
    );
    // Without a body: podman would give it to the process as its input.
    let ask = Ask::post(Act::Session, name, path, "application/json", Bytes::new());
    open(docker, SessionId::Attach(name.to_owned()), streams, ask).await
}

fn post<'a>(name: &'a str, path: String, body: &serde_json::Value) -> Ask<'a> {
    Ask::post(Act::Session, name, path, "application/json", Bytes::from(body.to_string()))
}

async fn open(docker: &Docker, id: SessionId, streams: Streams, ask: Ask<'_>) -> Result<Session, Error> {
    let connection = docker.wire().within(READ_LIMIT, docker.wire().hijack(ask)).await?;
    let (reader, writer) = tokio::io::split(connection);
    Ok(Session { id, output: output(docker, streams.tty, reader), input: Box::pin(writer) })
}

fn output(
    docker: &Docker,
    tty: bool,
    reader: impl AsyncRead + Send + Unpin + 'static,
) -> BoxStream<'static, Result<Output, Error>> {
    let reading = (docker.clone(), reader, OutputDecoder::new(tty), BytesMut::new());
    let pieces = stream::try_unfold(reading, |(docker, mut reader, mut decoder, mut buffer)| async move {
        buffer.reserve(READ_SIZE);
        let read = match reader.read_buf(&mut buffer).await {
            Ok(read) => read,
            // The engine has hung up on input that nobody reads (podman, where the process has ended): all output came
            // before, and what became of the process is asked of the engine, which will tell if it is gone itself.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(docker.wire().unreachable(error)),
        };
        if read == 0 {
            return Ok(None);
        }
        let pieces = decoder.push(buffer.split().freeze()).map_err(|error| Error::Engine(error.to_string()))?;
        Ok(Some((stream::iter(pieces).map(Ok::<_, Error>), (docker, reader, decoder, buffer))))
    });
    futures::TryStreamExt::try_flatten(pieces).boxed()
}

pub(super) async fn resize(docker: &Docker, id: &SessionId, height: u16, width: u16) -> Result<(), Error> {
    let (subject, place) = match id {
        SessionId::Exec(id) => (id, "exec"),
        SessionId::Attach(name) => (name, "containers"),
    };
    let path = format!("/{place}/{subject}/resize?h={height}&w={width}");
    let ask = Ask { method: Method::POST, ..Ask::get(Act::Session, subject, path) };
    docker.wire().within(READ_LIMIT, docker.wire().open(ask)).await.map(|_| ())
}

pub(super) async fn exit(docker: &Docker, id: &SessionId) -> Result<Option<i32>, Error> {
    let reply = inspect(docker, id).await?;
    Ok(reply.exit_code.filter(|_| !reply.running).map(|code| i32::try_from(code).unwrap_or(i32::MAX)))
}

async fn inspect(docker: &Docker, id: &SessionId) -> Result<ExecReply, Error> {
    match id {
        SessionId::Exec(id) => {
            docker.wire().read(READ_LIMIT, Ask::get(Act::Session, id, format!("/exec/{id}/json"))).await
        }
        SessionId::Attach(name) => {
            Err(Error::Refused(format!("{name} is attached to: the container has the exit code")))
        }
    }
}

/// The engine has no call for it: the process is signalled by its number, which is this machine's only where the
/// engine runs on it.
pub(super) async fn signal(docker: &Docker, id: &SessionId, signal: &str) -> Result<bool, Error> {
    let signal: Signal = signal.parse().map_err(|_| Error::Refused(format!("{signal:?} is no signal")))?;
    let mut reply = inspect(docker, id).await?;
    // The engine learns the number after the process may have spoken already.
    for _ in 0..PID_LOOKS {
        if !reply.running || reply.pid > 1 {
            break;
        }
        tokio::time::sleep(PID_PAUSE).await;
        reply = inspect(docker, id).await?;
    }
    if !reply.running {
        return Ok(true);
    }
    if !dial::is_process_here(reply.pid, &reply.container).await {
        return Ok(false);
    }
    Ok(matches!(kill(Pid::from_raw(reply.pid), signal), Ok(()) | Err(Errno::ESRCH)))
}
