//! Owns the mounting of images on engines that cannot: the image's files are copied into a volume, once for all who mount
//! it. Never removes a copy: whoever knows that nobody needs it does, as any volume.
//!
//! ```text
//!  container of the image, never started --export--> rewrite --unpack--> its volume, `complete` last
//! ```
//!
//! The bytes pass through here without being held, and the engine unpacks them: it may be another machine's, and only it
//! may give files to whom they belong. What a crash leaves is found by its name: the container is adopted, the copy made
//! again.

use std::io::{self, BufWriter, Read, Write};
use std::time::Duration;

use bollard::query_parameters::UploadToContainerOptionsBuilder;
use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::wire::Ask;
use super::{Docker, containers, files, volumes};
use crate::runtime::failure::Act;
use crate::runtime::image_copy::{self, COMPLETE, PLACE};
use crate::runtime::{ContainerSpec, Error, LABEL_IMAGE, Mount, MountSource, VolumeSpec};

/// Time for a copy: an image of models has some hundred gigabytes at most, a disk some hundred megabytes a second.
const COPY_LIMIT: Duration = Duration::from_secs(3600);
/// Pieces of an archive that wait for their reader: whoever is faster waits for the other.
const PIECES: usize = 16;
/// Bytes of a piece.
const PIECE_BYTES: usize = 256 * 1024;

type Piece = io::Result<Bytes>;

/// Name of the volume that holds the copy, and of the container that makes it. The store's id is part of it: another
/// store's copy is that one's to remove.
pub(super) fn copy_name(docker: &Docker, image: &str) -> String {
    format!("jobdock-{}-image-{}", docker.inner.store_id, image.trim_start_matches("sha256:"))
}

/// Makes the copy, unless the engine needs none or has it.
pub(super) async fn prepare(docker: &Docker, image: &str) -> Result<(), Error> {
    if docker.speaks(files::IMAGE_MOUNTS) {
        return Ok(());
    }
    let name = copy_name(docker, image);
    let labels = [(LABEL_IMAGE.to_owned(), image.to_owned())];
    volumes::create(docker, &VolumeSpec { name: name.clone(), labels: labels.clone().into(), memory: None }).await?;
    let holder = ContainerSpec {
        name: name.clone(),
        labels: labels.into(),
        image: image.to_owned(),
        // Never run; an image of nothing but data has no command of its own, and the engine wants one.
        command: Some(vec!["-".to_owned()]),
        mounts: vec![Mount {
            source: MountSource::Volume(name.clone()),
            target: format!("/{PLACE}"),
            ..Mount::default()
        }],
        ..ContainerSpec::default()
    };
    containers::create(docker, &holder).await?;
    let outcome = async {
        match files::entry(docker, &name, &format!("/{PLACE}/{COMPLETE}")).await? {
            Some(_) => Ok(()),
            None => docker.wire().within(COPY_LIMIT, fill(docker, &name)).await,
        }
    };
    let outcome = outcome.await;
    outcome.and(containers::remove(docker, &name).await)
}

/// Three at once: one reads the export, one rewrites it, one hands it to the engine.
async fn fill(docker: &Docker, name: &str) -> Result<(), Error> {
    let ask = Ask::get(Act::Read, name, format!("/containers/{name}/export"));
    let response = docker.wire().open(ask).await?;
    let response = response.ok_or_else(|| Error::Engine(format!("{name} cannot be exported")))?;
    let (exported, from) = mpsc::channel(PIECES);
    let (to, rewritten) = mpsc::channel(PIECES);
    let rewriting = tokio::task::spawn_blocking(move || rewrite(from, to));
    let body = futures::stream::unfold(rewritten, |mut rewritten: mpsc::Receiver<Piece>| async move {
        rewritten.recv().await.map(|piece| (piece, rewritten))
    });
    let place = format!("/{PLACE}");
    let options = UploadToContainerOptionsBuilder::default().path(&place).build();
    let uploading = docker.inner.bollard.upload_to_container(name, Some(options), bollard::body_try_stream(body));
    let ((), rewriting, uploaded) = tokio::join!(read(response.into_body(), exported), rewriting, uploading);
    // The first of the three that failed took the others with it; the engine's words say most.
    match uploaded {
        Err(error @ bollard::errors::Error::DockerResponseServerError { .. }) => {
            docker.wire().judged(Act::Upload, name, error)
        }
        uploaded => {
            let rewritten = rewriting.map_err(io::Error::other).and_then(|outcome| outcome);
            rewritten.map_err(|error| docker.wire().unreachable(error))?;
            uploaded.or_else(|error| docker.wire().judged(Act::Upload, name, error))
        }
    }
}

/// Hands a body on until it ends, breaks off, or nobody reads any more.
async fn read(mut body: Incoming, to: mpsc::Sender<Piece>) {
    while let Some(frame) = body.frame().await {
        let piece = frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(io::Error::other);
        let broken = piece.is_err();
        if to.send(piece).await.is_err() || broken {
            return;
        }
    }
}

fn rewrite(from: mpsc::Receiver<Piece>, to: mpsc::Sender<Piece>) -> io::Result<()> {
    let source = Source { from, rest: Bytes::new() };
    let outcome = image_copy::rewrite(source, BufWriter::with_capacity(PIECE_BYTES, Sink(to.clone())));
    if let Err(error) = &outcome {
        // The engine must not take the end of the bytes for the end of the archive. It may have gone already.
        let _gone = to.blocking_send(Err(io::Error::other(error.to_string())));
    }
    outcome
}

/// Pieces as a reader.
struct Source {
    from: mpsc::Receiver<Piece>,
    rest: Bytes,
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.from.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let count = buf.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buf[..count]);
        Ok(count)
    }
}

/// A writer into pieces.
struct Sink(mpsc::Sender<Piece>);

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(buf)));
        sent.map(|()| buf.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
