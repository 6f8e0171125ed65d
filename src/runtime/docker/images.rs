//! Owns the acts on images: inspect, list, pull, remove, and the load of the sandbox's own.
//! Never pulls what nobody asked for, and never forces an image away.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use super::containers::form;
use super::events::Lines;
use super::wire::Ask;
use super::{Docker, READ_LIMIT};
use crate::runtime::failure::{Act, image_failure};
use crate::runtime::progress::Progress;
use crate::runtime::reference::Reference;
use crate::runtime::reply::{
    ContainerLine, ImageLineReply, ImageReply, ProgressReply, image_line, image_seen, image_used, progress_failure,
};
use crate::runtime::sandbox::{self, SANDBOX_IMAGE};
use crate::runtime::{Error, Heard, ImageLine, ImageSeen, RegistryAuth, Runtime, convert};

/// Time to load an image of a thousand bytes.
const LOAD_LIMIT: Duration = Duration::from_secs(60);
/// Time to remove an image: all of its files.
const REMOVE_LIMIT: Duration = Duration::from_secs(300);
/// Time for a pull to say anything more. The engine reports every layer's progress several times a second, except
/// while it unpacks a large one.
const PULL_SILENCE_LIMIT: Duration = Duration::from_secs(600);

pub(super) async fn inspect(docker: &Docker, reference: &str) -> Result<Option<ImageSeen>, Error> {
    check(reference)?;
    let ask = Ask::get(Act::Image, reference, format!("/images/{reference}/json"));
    match docker.wire().read::<ImageReply>(READ_LIMIT, ask).await {
        Ok(reply) => Ok(Some(image_seen(reply))),
        Err(Error::NoImage(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn list(docker: &Docker) -> Result<Vec<ImageLine>, Error> {
    let ask = Ask::get(Act::Read, "the images", "/images/json".to_owned());
    let lines: Vec<ImageLineReply> = docker.wire().read(READ_LIMIT, ask).await?;
    Ok(lines.into_iter().map(image_line).collect())
}

pub(super) async fn in_use(docker: &Docker) -> Result<BTreeSet<String>, Error> {
    let ask = Ask::get(Act::Read, "the containers", "/containers/json?all=true".to_owned());
    let lines: Vec<ContainerLine> = docker.wire().read(READ_LIMIT, ask).await?;
    Ok(lines.into_iter().map(image_used).collect())
}

pub(super) async fn remove(docker: &Docker, reference: &str) -> Result<(), Error> {
    check(reference)?;
    let path = format!("/images/{reference}");
    let get = Ask::get(Act::RemoveImage, reference, path);
    let call = docker.wire().open(Ask { method: Method::DELETE, ..get });
    docker.wire().within(REMOVE_LIMIT, call).await.map(drop)
}

/// A reference or an id goes into a path: only what is one of both may pass.
fn check(reference: &str) -> Result<(), Error> {
    let id = reference.strip_prefix("sha256:").unwrap_or(reference);
    if id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Reference::parse(reference).map(|_| ()).map_err(|problem| Error::Refused(format!("image {reference:?}: {problem}")))
}

/// Pulls an image by tag or digest. The reply is 200 as soon as the engine begins; its stream says how it ends (D24).
pub(super) async fn pull(
    docker: &Docker,
    reference: &str,
    auth: Option<&RegistryAuth>,
    heard: Heard<'_>,
) -> Result<(), Error> {
    let wanted = Reference::parse(reference)
        .map_err(|problem| Error::Refused(format!("couldn't parse image name {reference:?}: {problem}")))?;
    // With a tag always: without one the engine would pull all that there are.
    let (name, tag) = (form(&wanted.name()), form(wanted.tag_or_digest()));
    let ask = Ask {
        act: Act::Image,
        subject: reference,
        method: Method::POST,
        path: format!("/images/create?fromImage={name}&tag={tag}"),
        header: auth.map(registry_header).transpose()?,
        body: Bytes::new(),
    };
    follow_progress(docker, ask, PULL_SILENCE_LIMIT, heard).await
}

fn registry_header(auth: &RegistryAuth) -> Result<(HeaderName, HeaderValue), Error> {
    let encoded = URL_SAFE.encode(convert::registry_auth(auth));
    let mut value = HeaderValue::try_from(encoded).map_err(|error| Error::Refused(error.to_string()))?;
    value.set_sensitive(true);
    Ok((HeaderName::from_static("x-registry-auth"), value))
}

/// Reads a stream of progress to its end, or to the failure in it.
async fn follow_progress(docker: &Docker, ask: Ask<'_>, silence: Duration, heard: Heard<'_>) -> Result<(), Error> {
    let wire = docker.wire();
    let Some(response) = wire.within(silence, wire.open(ask)).await? else { return Ok(()) };
    let mut lines = Lines::of(response.into_body());
    let mut progress = Progress::default();
    while let Some(line) = wire.within(silence, async { lines.next(wire).await }).await? {
        let line: ProgressReply = serde_json::from_slice(&line).unwrap_or_default();
        if let Some(message) = progress_failure(&line) {
            return Err(image_failure(200, &message));
        }
        if progress.hear(&line) {
            heard(progress.seen());
        }
    }
    Ok(())
}

/// Loads the image that jobdock carries, if the engine does not have it (it may have been pruned since the last time).
pub(super) async fn sandbox(docker: &Docker) -> Result<String, Error> {
    let _one_at_a_time = docker.inner.sandbox.lock().await;
    if inspect(docker, SANDBOX_IMAGE).await?.is_some() {
        return Ok(SANDBOX_IMAGE.to_owned());
    }
    let architecture = docker.engine().await?.architecture;
    let archive = sandbox::archive(&architecture)
        .ok_or_else(|| Error::Refused(format!("jobdock carries no sandbox program for {architecture} processors")))?;
    let path = "/images/load?quiet=true".to_owned();
    let ask = Ask::post(Act::Image, SANDBOX_IMAGE, path, "application/x-tar", archive);
    follow_progress(docker, ask, LOAD_LIMIT, &|_| {}).await?;
    match inspect(docker, SANDBOX_IMAGE).await? {
        Some(_) => Ok(SANDBOX_IMAGE.to_owned()),
        None => Err(Error::Engine(format!("the engine took the image {SANDBOX_IMAGE}, but does not show it"))),
    }
}
