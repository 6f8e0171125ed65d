//! Owns an engine that is only memory: a [`Runtime`] for tests, benches and `serve --runtime fake`. Containers "run" a
//! script that is read from their spec (see [`script`]); nothing is executed.
//! Never guesses: what a container does follows from its spec and the clock (tokio's, so paused time works), and what
//! goes wrong is what a test asked for.
//!
//! Cheap by construction: a running container is one entry in a heap of ends. Nothing runs for it; whoever looks next,
//! or the hints stream's one timer, moves on what is due.
//!
//! ```text
//!  create ──► Created ──start──► Running ──end of script, signal, finish()──► Exited ──► removed
//!                 └─ script cannot start: stays Created, with its error
//! ```

mod engine;
pub mod script;
mod sessions;
mod shell;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use self::engine::Engine;
use super::sandbox::SANDBOX_IMAGE;
use super::session::{ExecSpec, Pipe, Session, SessionId, Streams};
use super::{
    ContainerSeen, ContainerSpec, EngineSeen, EntrySeen, Error, Heard, Hint, ImageLine, ImageSeen, Limits, LogChunk,
    RegistryAuth, Runtime, VolumeSeen, VolumeSpec,
};

/// The calls of [`Runtime`], to count them and to make one fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`Runtime::engine`].
    Engine,
    /// [`Runtime::containers`].
    Containers,
    /// [`Runtime::inspect`].
    Inspect,
    /// [`Runtime::create`].
    Create,
    /// [`Runtime::start`].
    Start,
    /// [`Runtime::update`].
    Update,
    /// [`Runtime::kill`].
    Kill,
    /// [`Runtime::remove`].
    Remove,
    /// [`Runtime::logs`].
    Logs,
    /// [`Runtime::image`].
    Image,
    /// [`Runtime::pull`].
    Pull,
    /// [`Runtime::images`] and [`Runtime::images_in_use`].
    Images,
    /// [`Runtime::remove_image`].
    RemoveImage,
    /// [`Runtime::mountable_image`].
    MountableImage,
    /// [`Runtime::sandbox_image`].
    SandboxImage,
    /// [`Runtime::create_volume`].
    CreateVolume,
    /// [`Runtime::volumes`].
    Volumes,
    /// [`Runtime::remove_volume`].
    RemoveVolume,
    /// [`Runtime::upload`].
    Upload,
    /// [`Runtime::exec`].
    Exec,
    /// [`Runtime::attach`].
    Attach,
    /// [`Runtime::resize`].
    Resize,
    /// [`Runtime::exec_exit`].
    ExecExit,
    /// [`Runtime::signal_exec`].
    SignalExec,
    /// [`Runtime::dial`].
    Dial,
    /// [`Runtime::entry`].
    Entry,
    /// [`Runtime::volume_bytes`].
    VolumeBytes,
    /// [`Runtime::written_bytes`].
    WrittenBytes,
}

/// How a call fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The engine is not reached; nothing happens.
    Unreachable,
    /// It happens, but the reply is lost: the caller sees [`Error::Unreachable`].
    LoseReply,
    /// [`Error::Refused`] with these words; nothing happens.
    Refuse(String),
    /// [`Error::Engine`] with these words; nothing happens.
    Fail(String),
}

/// The engine in memory. Clones are the same engine.
#[derive(Clone)]
pub struct Fake {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Mutex<Engine>,
    /// Told at each change; who waits looks again.
    changed: watch::Sender<()>,
    /// While true, calls hang.
    paused: watch::Sender<bool>,
    origin: Instant,
    epoch: Timestamp,
}

impl Default for Fake {
    fn default() -> Fake {
        Fake::new()
    }
}

impl Fake {
    /// An empty engine whose clock shows the real time.
    pub fn new() -> Fake {
        Fake::at(Timestamp::now())
    }

    /// An empty engine whose clock shows this time now, and goes on with tokio's clock.
    pub fn at(epoch: Timestamp) -> Fake {
        Fake {
            inner: Arc::new(Inner {
                engine: Mutex::new(Engine::default()),
                changed: watch::Sender::new(()),
                paused: watch::Sender::new(false),
                origin: Instant::now(),
                epoch,
            }),
        }
    }

    /// Makes the next call of this kind fail; further ones queue behind it.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        self.engine().faults.entry(call).or_default().push_back(fault);
    }

    /// Has the engine list these images.
    pub fn show_images(&self, images: Vec<ImageLine>) {
        self.engine().images = images;
    }

    /// While set, what happens wakes nobody.
    pub fn drop_hints(&self, drop: bool) {
        self.engine().drop_hints = drop;
    }

    /// Sends [`Hint::Resync`] to every reader of hints.
    pub fn resync(&self) {
        self.engine().hint_all();
        self.inner.changed.send_replace(());
    }

    /// While set, every call hangs until it is unset, as with an engine that is stopped.
    pub fn pause(&self, paused: bool) {
        self.inner.paused.send_replace(paused);
    }

    /// The engine restarts: whatever runs has ended with this code, and readers of hints are told to look at all.
    pub fn restart(&self, code: i32) {
        let now = self.now();
        let mut engine = self.engine();
        engine.settle(now);
        engine.end_all(code, now);
        engine.hint_all();
        drop(engine);
        self.inner.changed.send_replace(());
    }

    /// Ends a running container with this code; nothing where it does not run.
    pub fn finish(&self, name: &str, code: i32) {
        self.end(name, code, false);
    }

    /// Ends a running container as the kernel's OOM killer does.
    pub fn finish_oom(&self, name: &str) {
        self.end(name, engine::KILLED, true);
    }

    fn end(&self, name: &str, code: i32, oom_killed: bool) {
        let now = self.now();
        let mut engine = self.engine();
        engine.settle(now);
        engine.end(name, code, oom_killed, now);
        drop(engine);
        self.inner.changed.send_replace(());
    }

    /// Puts a container there that is not this store's.
    pub fn add_foreign(&self, name: &str) {
        self.engine().add_foreign(name);
    }

    /// Takes an image away, until it is pulled.
    pub fn forget_image(&self, reference: &str) {
        self.engine().absent_images.insert(reference.to_owned());
    }

    /// Says how many bytes a volume holds, or a container has written.
    pub fn set_size(&self, name: &str, bytes: u64) {
        self.engine().bytes.insert(name.to_owned(), bytes);
    }

    /// The archives that were uploaded to a container that is still there, by path.
    pub fn uploads(&self, name: &str) -> BTreeMap<String, Bytes> {
        self.engine().uploads(name)
    }

    /// The sizes that a session's terminal was given, height first.
    pub fn sizes(&self, id: &SessionId) -> Vec<(u16, u16)> {
        self.engine().sizes.get(id).cloned().unwrap_or_default()
    }

    /// How often each call was made.
    pub fn calls(&self) -> BTreeMap<Call, u64> {
        self.engine().calls.clone()
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.inner.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since this engine began.
    fn now(&self) -> Duration {
        self.inner.origin.elapsed()
    }

    /// The way of every call: hangs while paused, counts, moves on what is due, fails if it is to.
    async fn call<T>(
        &self,
        call: Call,
        effect: impl FnOnce(&mut Engine, Duration) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let mut paused = self.inner.paused.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = paused.wait_for(|paused| !paused).await;
        let now = self.now();
        let mut engine = self.engine();
        engine.settle(now);
        *engine.calls.entry(call).or_default() += 1;
        let fault = engine.faults.get_mut(&call).and_then(std::collections::VecDeque::pop_front);
        let outcome = match fault {
            None => effect(&mut engine, now),
            Some(Fault::Refuse(words)) => Err(Error::Refused(words)),
            Some(Fault::Fail(words)) => Err(Error::Engine(words)),
            Some(Fault::Unreachable) => Err(unreachable("it is not there")),
            Some(Fault::LoseReply) => effect(&mut engine, now).and_then(|_| Err(unreachable("the reply was lost"))),
        };
        drop(engine);
        self.inner.changed.send_replace(());
        outcome
    }

    /// Waits for a change, or until this time since the engine's beginning.
    async fn wait(&self, changes: &mut watch::Receiver<()>, until: Option<Duration>) {
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(self.inner.origin + until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = changes.changed() => {}
            () = timer => {}
        }
    }
}

fn unreachable(why: &str) -> Error {
    Error::Unreachable { endpoint: "fake".to_owned(), source: why.into() }
}

#[async_trait]
impl Runtime for Fake {
    async fn engine(&self) -> Result<EngineSeen, Error> {
        let epoch = self.inner.epoch;
        let seen = |engine: &mut Engine, now| {
            let ahead = engine::moment(epoch, now).duration_since(Timestamp::now());
            Ok(EngineSeen { ahead, ..engine::seen(engine.lives) })
        };
        self.call(Call::Engine, seen).await
    }

    async fn containers(&self) -> Result<Vec<ContainerSeen>, Error> {
        let epoch = self.inner.epoch;
        self.call(Call::Containers, |engine, _| Ok(engine.containers(epoch))).await
    }

    async fn inspect(&self, name: &str) -> Result<Option<ContainerSeen>, Error> {
        let epoch = self.inner.epoch;
        self.call(Call::Inspect, |engine, _| Ok(engine.inspect(name, epoch))).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error> {
        self.call(Call::Create, |engine, _| engine.create(spec)).await
    }

    async fn start(&self, name: &str) -> Result<(), Error> {
        self.call(Call::Start, |engine, now| engine.start(name, now)).await
    }

    async fn update(&self, name: &str, limits: &Limits) -> Result<(), Error> {
        self.call(Call::Update, |engine, _| engine.update(name, limits)).await
    }

    async fn kill(&self, name: &str, signal: &str) -> Result<(), Error> {
        self.call(Call::Kill, |engine, now| engine.kill(name, signal, now)).await
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        self.call(Call::Remove, |engine, now| engine.remove(name, now)).await
    }

    async fn logs(
        &self,
        name: &str,
        since: Option<Timestamp>,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<LogChunk, Error>>, Error> {
        self.call(Call::Logs, |engine, _| engine.must_have(name)).await?;
        let reading = (self.clone(), self.inner.changed.subscribe(), name.to_owned(), 0_usize);
        Ok(stream::unfold(reading, move |(fake, mut changes, name, mut next)| async move {
            loop {
                changes.borrow_and_update();
                let now = fake.now();
                let look = {
                    let mut engine = fake.engine();
                    engine.settle(now);
                    engine.line(&name, next, now, fake.inner.epoch)
                };
                match look {
                    engine::Output::Line(chunk) => {
                        next += 1;
                        if since.is_none_or(|since| chunk.at >= since) {
                            return Some((Ok(chunk), (fake, changes, name, next)));
                        }
                    }
                    engine::Output::Later(at) if follow => fake.wait(&mut changes, at).await,
                    engine::Output::Later(_) | engine::Output::End => return None,
                }
            }
        })
        .boxed())
    }

    async fn exec(&self, name: &str, spec: &ExecSpec) -> Result<Session, Error> {
        sessions::exec(self, name, spec).await
    }

    async fn attach(&self, name: &str, streams: Streams) -> Result<Session, Error> {
        sessions::attach(self, name, streams).await
    }

    async fn resize(&self, id: &SessionId, height: u16, width: u16) -> Result<(), Error> {
        self.call(Call::Resize, |engine, _| engine.resize(id, height, width)).await
    }

    async fn exec_exit(&self, id: &SessionId) -> Result<Option<i32>, Error> {
        self.call(Call::ExecExit, |engine, now| engine.exec_exit(id, now)).await
    }

    async fn signal_exec(&self, id: &SessionId, signal: &str) -> Result<bool, Error> {
        self.call(Call::SignalExec, |engine, now| engine.signal_exec(id, signal, now)).await
    }

    async fn dial(&self, name: &str, port: u16) -> Result<Pipe, Error> {
        sessions::dial(self, name, port).await
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageSeen>, Error> {
        self.call(Call::Image, |engine, _| Ok(engine.image(reference))).await
    }

    async fn pull(&self, reference: &str, _auth: Option<&RegistryAuth>, _: Heard<'_>) -> Result<(), Error> {
        self.call(Call::Pull, |engine, _| engine.pull(reference)).await
    }

    async fn images(&self) -> Result<Vec<ImageLine>, Error> {
        self.call(Call::Images, |engine, _| Ok(engine.images.clone())).await
    }

    async fn images_in_use(&self) -> Result<BTreeSet<String>, Error> {
        self.call(Call::Images, |engine, _| Ok(engine.images_in_use())).await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        self.call(Call::RemoveImage, |engine, _| engine.remove_image(reference)).await
    }

    async fn mountable_image(&self, image: &str) -> Result<(), Error> {
        self.call(Call::MountableImage, |engine, _| engine.mountable_image(image)).await
    }

    async fn sandbox_image(&self) -> Result<String, Error> {
        self.call(Call::SandboxImage, |_, _| Ok(SANDBOX_IMAGE.to_owned())).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Error> {
        self.call(Call::CreateVolume, |engine, _| engine.create_volume(spec)).await
    }

    async fn volumes(&self) -> Result<Vec<VolumeSeen>, Error> {
        self.call(Call::Volumes, |engine, _| Ok(engine.volumes.values().cloned().collect())).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), Error> {
        self.call(Call::RemoveVolume, |engine, _| engine.remove_volume(name)).await
    }

    async fn upload(&self, name: &str, path: &str, tar: Bytes) -> Result<(), Error> {
        self.call(Call::Upload, |engine, _| engine.upload(name, path, tar)).await
    }

    async fn entry(&self, name: &str, path: &str) -> Result<Option<EntrySeen>, Error> {
        self.call(Call::Entry, |engine, _| engine.entry(name, path)).await
    }

    async fn read(&self, name: &str, path: &str, _most: usize) -> Result<Option<Vec<u8>>, Error> {
        self.call(Call::Entry, |engine, _| engine.entry(name, path).map(|_| None)).await
    }

    async fn volume_bytes(&self, names: &[String]) -> Result<BTreeMap<String, u64>, Error> {
        self.call(Call::VolumeBytes, |engine, _| {
            let known = names.iter().filter_map(|name| Some((name.clone(), *engine.bytes.get(name)?)));
            Ok(known.collect())
        })
        .await
    }

    async fn written_bytes(&self, name: &str) -> Result<Option<u64>, Error> {
        self.call(Call::WrittenBytes, |engine, _| Ok(engine.bytes.get(name).copied())).await
    }

    fn hints(&self) -> BoxStream<'static, Hint> {
        let reader = self.engine().add_reader();
        let reading = Reading { fake: self.clone(), reader };
        let changes = self.inner.changed.subscribe();
        stream::unfold((reading, changes), |(reading, mut changes)| async move {
            loop {
                changes.borrow_and_update();
                let (hint, due) = {
                    let now = reading.fake.now();
                    let mut engine = reading.fake.engine();
                    engine.settle(now);
                    (engine.next_hint(reading.reader), engine.next_end())
                };
                match hint {
                    Some(hint) => return Some((hint, (reading, changes))),
                    None => reading.fake.wait(&mut changes, due).await,
                }
            }
        })
        .boxed()
    }
}

/// One reader of hints, forgotten with its stream.
struct Reading {
    fake: Fake,
    reader: u64,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.fake.engine().remove_reader(self.reader);
    }
}
