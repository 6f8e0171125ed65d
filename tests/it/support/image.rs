//! The image that tests run containers from: busybox, built by the engine itself, so that no registry is needed.

use std::path::Path;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::query_parameters::BuildImageOptionsBuilder;
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::sync::OnceCell;

/// Its name; no registry has it, so a pull of it would be a mistake that shows.
pub const NAME: &str = "jobdock-test/busybox:latest";
/// Where Debian's packages put the static binary, old and new.
const BINARIES: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
const DOCKERFILE: &str = include_str!("../../../docker/busybox/Dockerfile");

/// Builds the image once per test run, if the engine does not have it.
pub async fn ensure() -> Result<()> {
    static BUILT: OnceCell<()> = OnceCell::const_new();
    BUILT.get_or_try_init(build_if_missing).await?;
    Ok(())
}

async fn build_if_missing() -> Result<()> {
    let docker = Docker::connect_with_defaults().context("these tests need a Docker engine: start one")?;
    match docker.inspect_image(NAME).await {
        Ok(_) => return Ok(()),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(error) => return Err(error).context("these tests need a Docker engine: start one, or set DOCKER_HOST"),
    }
    let Some(binary) = BINARIES.iter().find(|path| Path::new(path).is_file()) else {
        bail!("these tests need a static busybox: apt-get install busybox-static");
    };
    let options = BuildImageOptionsBuilder::default().dockerfile("Dockerfile").t(NAME).rm(true).build();
    let context = bollard::body_full(build_context(&std::fs::read(binary)?)?);
    let steps: Vec<_> = docker.build_image(options, None, Some(context)).try_collect().await?;
    match steps.into_iter().find_map(|step| step.error_detail.and_then(|detail| detail.message)) {
        Some(error) => bail!("{NAME} cannot be built from {binary} (is it the static one?): {error}"),
        None => docker.inspect_image(NAME).await.map(|_| ()).context("the image was built, but is not there"),
    }
}

fn build_context(binary: &[u8]) -> Result<Bytes> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, content) in [("Dockerfile", 0o644, DOCKERFILE.as_bytes()), ("busybox", 0o755, binary)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        tar.append_data(&mut header, path, content)?;
    }
    Ok(tar.into_inner()?.into())
}
