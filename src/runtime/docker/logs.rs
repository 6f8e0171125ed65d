//! Owns the reading of a container's output: the request, and bytes into chunks as they come.
//! Never keeps output: the store's log files do, filled from here while the container runs.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;

use super::Docker;
use super::containers::check_name;
use super::wire::{Ask, Wire};
use crate::runtime::failure::Act;
use crate::runtime::frames::LogDecoder;
use crate::runtime::{Error, LogChunk, convert};

/// Time without a byte after which reading a log that is not followed has failed: the engine hangs (D3). A followed
/// log may be silent for as long as its container is, and podman holds even the headers back until the first line.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Opens the stream. It ends with the log, or with the container where it is followed.
pub(super) async fn logs(
    docker: &Docker,
    name: &str,
    since: Option<Timestamp>,
    follow: bool,
) -> Result<BoxStream<'static, Result<LogChunk, Error>>, Error> {
    check_name(name)?;
    let since = since.map(|at| format!("&since={}", convert::since(at))).unwrap_or_default();
    let path = format!("/containers/{name}/logs?stdout=true&stderr=true&timestamps=true&follow={follow}{since}");
    let call = docker.wire().open(Ask::get(Act::Logs, name, path));
    let reply = if follow { call.await } else { docker.wire().within(SILENCE_LIMIT, call).await };
    Ok(match reply? {
        None => stream::empty().boxed(),
        Some(response) => {
            let reading = Reading {
                wire: docker.wire().clone(),
                body: Some(response.into_body()),
                decoder: LogDecoder::default(),
                ready: VecDeque::new(),
                limit: (!follow).then_some(SILENCE_LIMIT),
            };
            stream::try_unfold(
                reading,
                |mut reading| async move { Ok(reading.next().await?.map(|chunk| (chunk, reading))) },
            )
            .boxed()
        }
    })
}

struct Reading {
    wire: Wire,
    /// Gone once it has ended.
    body: Option<Incoming>,
    decoder: LogDecoder,
    ready: VecDeque<LogChunk>,
    limit: Option<Duration>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<LogChunk>, Error> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Ok(Some(chunk));
            }
            let Some(body) = &mut self.body else { return Ok(None) };
            let frame = match self.limit {
                Some(limit) => self.wire.within(limit, async { Ok(body.frame().await) }).await?,
                None => body.frame().await,
            };
            let chunks = match frame {
                Some(Ok(frame)) => frame.into_data().map_or(Ok(Vec::new()), |bytes| self.decoder.push(&bytes)),
                Some(Err(error)) => return Err(self.wire.unreachable(error)),
                None => {
                    self.body = None;
                    self.decoder.finish()
                }
            };
            self.ready.extend(chunks.map_err(|error| Error::Engine(error.to_string()))?);
        }
    }
}
