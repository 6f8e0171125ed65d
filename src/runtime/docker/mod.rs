//! Owns the Docker engine as a [`Runtime`]: one pooled connection set, one store's containers and volumes.
//! Never decides anything, and never lists, adopts, stops or removes what does not carry its store's id.
//!
//! ```text
//! endpoint (which addresses) -> connect (greets one, agrees on a version) -> wire (pool, limits, refusals)
//!                                                                             |
//!                           containers   images   events   logs   sessions  -- convert, reply, failure, frames, mux (PURE)
//! ```
//!
//! `wait` is never called, and so neither its early answers for containers that were not started (EDGES D4, D5) nor
//! bollard's way to report an exit code as an error (D7) can mislead: an event wakes, an inspection tells. `stop` is
//! never called either (D8): a signal is sent, and who sent it counts the grace period. Timers are tokio's, which are
//! monotonic (D28).

mod connect;
mod containers;
mod dial;
mod events;
mod files;
mod image_mounts;
mod images;
mod logs;
mod privilege;
mod sessions;
mod tls;
mod volumes;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;

use self::wire::{Ask, Wire};
use super::endpoint::Surroundings;
use super::failure::Act;
use super::reply::{self, BridgeReply, InfoReply, VersionReply};
use super::session::{ExecSpec, Pipe, Session, SessionId, Streams};
use super::{
    ContainerSeen, ContainerSpec, EngineSeen, EntrySeen, Error, Heard, Hint, ImageLine, ImageSeen, Limits, LogChunk,
    RegistryAuth, Runtime, VolumeSeen, VolumeSpec,
};

/// Time for a reply that only reads. An engine under load takes seconds; one that hangs on a broken container (D3)
/// takes for ever.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// A Docker engine (or podman behind Docker's API), seen through one store's id. Clones share its connections.
#[derive(Clone)]
pub struct Docker {
    inner: Arc<Inner>,
}

struct Inner {
    wire: Wire,
    bollard: bollard::Docker,
    store_id: String,
    version: VersionReply,
    known: containers::Known,
    /// One load of the sandbox's image at a time.
    sandbox: tokio::sync::Mutex<()>,
}

impl Docker {
    /// Finds the engine as the docker command line does (`host` is its `--host`) and connects to it. `store_id` marks
    /// what belongs to this store.
    ///
    /// # Errors
    /// [`Error::Unreachable`] whose source tells each thing that was tried, why it failed, and the remedy;
    /// [`Error::Refused`] where a named engine makes no sense or is too old.
    pub async fn connect(host: Option<&str>, store_id: &str) -> Result<Docker, Error> {
        Docker::connect_from(&Surroundings::of_process(), host, store_id).await
    }

    /// Like [`Docker::connect`], with other surroundings than the process's.
    ///
    /// # Errors
    /// As [`Docker::connect`].
    pub async fn connect_from(around: &Surroundings, host: Option<&str>, store_id: &str) -> Result<Docker, Error> {
        let (wire, version) = connect::connect(host, around).await?;
        let bollard = wire.bollard()?;
        let store_id = store_id.to_owned();
        let (known, sandbox) = Default::default();
        Ok(Docker { inner: Arc::new(Inner { wire, bollard, store_id, version, known, sandbox }) })
    }

    /// Where the engine is: `unix:///var/run/docker.sock`.
    pub fn endpoint(&self) -> &str {
        self.inner.wire.endpoint()
    }

    /// Whether the engine speaks this version of its API.
    fn speaks(&self, version: (u32, u32)) -> bool {
        connect::number(&self.inner.version.api_version).is_some_and(|newest| newest >= version)
    }

    fn wire(&self) -> &Wire {
        &self.inner.wire
    }
}

#[async_trait]
impl Runtime for Docker {
    async fn engine(&self) -> Result<EngineSeen, Error> {
        let info: InfoReply =
            self.wire().read(READ_LIMIT, Ask::get(Act::Read, "the engine", "/info".to_owned())).await?;
        let ahead = reply::ahead(&info, Timestamp::now());
        // D1, D2: no reply names the engine's present life, but the id of its own network changes with it (unless
        // containers lived on through the restart, and then none was ended by it).
        let bridge = Ask::get(Act::Read, "the engine's network", "/networks/bridge".to_owned());
        let bridge = match self.wire().read::<BridgeReply>(READ_LIMIT, bridge).await {
            Ok(bridge) => bridge,
            Err(error @ Error::Unreachable { .. }) => return Err(error),
            // An engine without that network (podman) cannot tell.
            Err(_) => BridgeReply::default(),
        };
        let seen = reply::engine_seen(info, &self.inner.version);
        let host_gateway = reply::host_gateway(&bridge, &seen.os_image);
        let least_oom_score = privilege::least_oom_score(self.endpoint()).await;
        Ok(EngineSeen { instance: bridge.id, host_gateway, ahead, least_oom_score, ..seen })
    }

    async fn containers(&self) -> Result<Vec<ContainerSeen>, Error> {
        containers::list(self).await
    }

    async fn inspect(&self, name: &str) -> Result<Option<ContainerSeen>, Error> {
        containers::inspect(self, name).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error> {
        containers::create(self, spec).await
    }

    async fn start(&self, name: &str) -> Result<(), Error> {
        containers::start(self, name).await
    }

    async fn update(&self, name: &str, limits: &Limits) -> Result<(), Error> {
        containers::update(self, name, limits).await
    }

    async fn kill(&self, name: &str, signal: &str) -> Result<(), Error> {
        containers::kill(self, name, signal).await
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        containers::remove(self, name).await
    }

    async fn logs(
        &self,
        name: &str,
        since: Option<Timestamp>,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<LogChunk, Error>>, Error> {
        logs::logs(self, name, since, follow).await
    }

    async fn exec(&self, name: &str, spec: &ExecSpec) -> Result<Session, Error> {
        sessions::exec(self, name, spec).await
    }

    async fn attach(&self, name: &str, streams: Streams) -> Result<Session, Error> {
        sessions::attach(self, name, streams).await
    }

    async fn resize(&self, id: &SessionId, height: u16, width: u16) -> Result<(), Error> {
        sessions::resize(self, id, height, width).await
    }

    async fn exec_exit(&self, id: &SessionId) -> Result<Option<i32>, Error> {
        sessions::exit(self, id).await
    }

    async fn signal_exec(&self, id: &SessionId, signal: &str) -> Result<bool, Error> {
        sessions::signal(self, id, signal).await
    }

    async fn dial(&self, name: &str, port: u16) -> Result<Pipe, Error> {
        dial::dial(self, name, port).await
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageSeen>, Error> {
        images::inspect(self, reference).await
    }

    async fn pull(&self, reference: &str, auth: Option<&RegistryAuth>, heard: Heard<'_>) -> Result<(), Error> {
        images::pull(self, reference, auth, heard).await
    }

    async fn images(&self) -> Result<Vec<ImageLine>, Error> {
        images::list(self).await
    }

    async fn images_in_use(&self) -> Result<BTreeSet<String>, Error> {
        images::in_use(self).await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        images::remove(self, reference).await
    }

    async fn mountable_image(&self, image: &str) -> Result<(), Error> {
        image_mounts::prepare(self, image).await
    }

    async fn sandbox_image(&self) -> Result<String, Error> {
        images::sandbox(self).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Error> {
        volumes::create(self, spec).await
    }

    async fn volumes(&self) -> Result<Vec<VolumeSeen>, Error> {
        volumes::list(self).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), Error> {
        volumes::remove(self, name).await
    }

    async fn upload(&self, name: &str, path: &str, tar: Bytes) -> Result<(), Error> {
        containers::upload(self, name, path, tar).await
    }

    async fn entry(&self, name: &str, path: &str) -> Result<Option<EntrySeen>, Error> {
        files::entry(self, name, path).await
    }

    async fn read(&self, name: &str, path: &str, most: usize) -> Result<Option<Vec<u8>>, Error> {
        files::read(self, name, path, most).await
    }

    async fn volume_bytes(&self, names: &[String]) -> Result<BTreeMap<String, u64>, Error> {
        files::volume_bytes(self, names).await
    }

    async fn written_bytes(&self, name: &str) -> Result<Option<u64>, Error> {
        files::written_bytes(self, name).await
    }

    fn hints(&self) -> BoxStream<'static, Hint> {
        events::hints(self)
    }
}
