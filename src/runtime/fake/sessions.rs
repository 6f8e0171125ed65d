//! Owns the fake's sessions: the output of a script, at its times, as a stream. `cat` alone reads its input, and says
//! it again until its end; it is what a test of streams needs.
//! Never keeps anything: the engine knows which commands there were.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::script::{Line, Script};
use super::{Call, Fake};
use crate::runtime::session::{ExecSpec, Output, Pipe, Session, SessionId, Streams};
use crate::runtime::{Error, Runtime};

/// Bytes that wait in `cat` before whoever writes has to: a pipe's.
const PIPE: usize = 64 * 1024;
/// The port on which nobody listens.
const CLOSED_PORT: u16 = 1;

pub(super) async fn exec(fake: &Fake, name: &str, spec: &ExecSpec) -> Result<Session, Error> {
    let cat = spec.command == ["cat"] && spec.streams.stdin;
    let (id, script) = fake.call(Call::Exec, |engine, now| engine.exec(name, spec, cat, now)).await?;
    if cat {
        let (input, far) = tokio::io::duplex(PIPE);
        let output = echo(fake.clone(), id.clone(), far);
        return Ok(Session { id: SessionId::Exec(id), output, input: Box::pin(input) });
    }
    let output = said(fake.clone(), SessionId::Exec(id.clone()), script, spec.streams);
    Ok(Session { id: SessionId::Exec(id), output, input: Box::pin(tokio::io::sink()) })
}

/// What the container prints from now on, until its end. Its program reads nothing.
pub(super) async fn attach(fake: &Fake, name: &str, streams: Streams) -> Result<Session, Error> {
    let name = fake.call(Call::Attach, |engine, _| engine.must_run(name)).await?;
    let now = fake.inner.epoch.checked_add(fake.now()).ok();
    let lines = fake.logs(&name, now, true).await?;
    let output = lines.filter_map(move |chunk| async move {
        let piece = chunk.map(|chunk| piece(&chunk.line, chunk.partial, chunk.stderr && !streams.tty));
        Some(piece).filter(|piece| piece.as_ref().map_or(true, |piece| wanted(piece, streams)))
    });
    let output = output.boxed();
    Ok(Session { id: SessionId::Attach(name), output, input: Box::pin(tokio::io::sink()) })
}

/// Every port but [`CLOSED_PORT`] says again what it is told.
pub(super) async fn dial(fake: &Fake, name: &str, port: u16) -> Result<Pipe, Error> {
    fake.call(Call::Dial, |engine, _| engine.must_run(name)).await?;
    if port == CLOSED_PORT {
        return Err(Error::Refused(format!("cannot connect to port {port}: Connection refused (os error 111)")));
    }
    let (near, far) = tokio::io::duplex(PIPE);
    tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(far);
        // Whoever hangs up in the middle has heard enough.
        let _hung_up = tokio::io::copy(&mut reader, &mut writer).await;
        let _hung_up = writer.shutdown().await;
    });
    Ok(Box::new(near))
}

fn wanted(piece: &Output, streams: Streams) -> bool {
    if piece.stderr { streams.stderr } else { streams.stdout }
}

fn piece(text: &[u8], partial: bool, stderr: bool) -> Output {
    let end: &[u8] = if partial { b"" } else { b"\n" };
    Output { stderr, bytes: Bytes::from([text, end].concat()) }
}

fn echo(fake: Fake, id: String, far: DuplexStream) -> BoxStream<'static, Result<Output, Error>> {
    stream::unfold((fake, id, far), |(fake, id, mut far)| async move {
        let mut bytes = vec![0; PIPE];
        match far.read(&mut bytes).await {
            Ok(read) if read > 0 => {
                bytes.truncate(read);
                Some((Ok(Output { stderr: false, bytes: bytes.into() }), (fake, id, far)))
            }
            Ok(_) | Err(_) => {
                let now = fake.now();
                fake.engine().end_exec(&id, 0, now);
                None
            }
        }
    })
    .boxed()
}

/// A script's lines at their times, and the stream's end with the script's, or with a signal.
fn said(fake: Fake, id: SessionId, script: Script, streams: Streams) -> BoxStream<'static, Result<Output, Error>> {
    let begin = fake.now();
    let mut lines: std::collections::VecDeque<Line> = script.lines.into();
    if let Some(words) = script.start_error {
        let text = format!("OCI runtime exec failed: {words}\r");
        lines = [Line { after: std::time::Duration::ZERO, stderr: false, text, partial: false }].into();
    }
    let changes = fake.inner.changed.subscribe();
    stream::unfold((fake, id, lines, changes), move |(fake, id, mut lines, mut changes)| async move {
        loop {
            changes.borrow_and_update();
            let now = fake.now();
            let ended = fake.engine().exec_exit(&id, now).map_or(true, |code| code.is_some());
            let due = lines.front().map(|line| begin + line.after);
            match due {
                Some(due) if due <= now => {
                    let piece = lines.pop_front().map(|line| piece(line.text.as_bytes(), line.partial, line.stderr));
                    if let Some(piece) = piece.filter(|piece| wanted(piece, streams)) {
                        return Some((Ok(piece), (fake, id, lines, changes)));
                    }
                }
                _ if ended => return None,
                later => {
                    let end = script.end.map(|end| begin + end.after);
                    fake.wait(&mut changes, later.or(end)).await;
                }
            }
        }
    })
    .boxed()
}
