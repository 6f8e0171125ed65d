//! Owns the state of the fake engine and its transitions, each at a given time.
//! Never waits and never looks at a clock: times come in as durations since the engine began.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::script::{OnTerm, Script, command, script};
use super::{Call, Fault};
use crate::runtime::enforcement::Enforcement;
use crate::runtime::sandbox::SANDBOX_IMAGE;
use crate::runtime::session::{ExecSpec, SessionId};
use crate::runtime::{
    ContainerSeen, ContainerSpec, EngineSeen, EntrySeen, Error, Hint, ImageLine, ImageSeen, LABEL_IMAGE, LABEL_POD_UID,
    LABEL_STORE, Limits, LogChunk, Network, Seen, VolumeSeen, VolumeSpec, convert,
};

/// The store that everything here belongs to.
const STORE_ID: &str = "fake";
/// Exit code of a SIGKILL.
pub(super) const KILLED: i32 = 137;
/// An image whose name holds this is nowhere to be had.
const MISSING: &str = "missing";

/// All there is.
#[derive(Default)]
pub(super) struct Engine {
    containers: BTreeMap<String, Container>,
    /// When which container's script ends. May name one that has ended otherwise or is gone.
    ends: BinaryHeap<Reverse<(Duration, String)>>,
    pub volumes: BTreeMap<String, VolumeSeen>,
    /// What a test says that volumes and containers hold, by name.
    pub bytes: BTreeMap<String, u64>,
    pub absent_images: BTreeSet<String>,
    /// What a test says that the engine lists.
    pub images: Vec<ImageLine>,
    pub faults: BTreeMap<Call, VecDeque<Fault>>,
    pub calls: BTreeMap<Call, u64>,
    pub drop_hints: bool,
    readers: BTreeMap<u64, Waiting>,
    readers_made: u64,
    /// Commands beside the containers' own, by id.
    execs: BTreeMap<String, Exec>,
    /// What terminals were told, by session.
    pub sizes: BTreeMap<SessionId, Vec<(u16, u16)>>,
    /// How many were started, for addresses.
    started: u32,
    /// How often it restarted.
    pub lives: u64,
}

/// Hints that a reader has not fetched: each pod once, so never more than there are pods.
#[derive(Default)]
struct Waiting {
    resync: bool,
    pods: BTreeSet<String>,
}

/// A command beside a container's own.
#[derive(Clone, Copy)]
struct Exec {
    code: i32,
    /// None for one that reads its input to an end that has not come, or never ends.
    end: Option<Duration>,
}

struct Container {
    labels: BTreeMap<String, String>,
    image: String,
    network: Network,
    life: Life,
    script: Script,
    env: Vec<String>,
    hostname: Option<String>,
    ip: Option<String>,
    uploads: BTreeMap<String, Bytes>,
    limits: Limits,
}

#[derive(Clone)]
enum Life {
    Created { error: Option<String> },
    Running { since: Duration },
    Exited { code: i32, oom_killed: bool, since: Duration, at: Duration },
}

/// The next line of a container's output.
pub(super) enum Output {
    /// Here it is.
    Line(LogChunk),
    /// Not yet; perhaps at this time.
    Later(Option<Duration>),
    /// There will be none.
    End,
}

/// What the engine says of itself: a machine that is large enough for most tests, and always the same.
pub(super) fn seen(lives: u64) -> EngineSeen {
    EngineSeen {
        runtime_version: "fake://1.0.0".to_owned(),
        name: "fake".to_owned(),
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        kernel: "6.1.0".to_owned(),
        os_image: "Fake".to_owned(),
        cpus: 64,
        memory_bytes: 256 << 30,
        cgroup_version: 2,
        rootless: false,
        own_users: false,
        selinux: false,
        app_armor: true,
        least_oom_score: -1000,
        runtimes: ["fake".to_owned()].into(),
        devices: BTreeMap::new(),
        enforcement: Enforcement::default(),
        host_gateway: "172.17.0.1".to_owned(),
        instance: lives.to_string(),
        ahead: SignedDuration::ZERO,
    }
}

impl Engine {
    /// Ends what is due.
    pub fn settle(&mut self, now: Duration) {
        while let Some(Reverse((at, _))) = self.ends.peek()
            && *at <= now
            && let Some(Reverse((at, name))) = self.ends.pop()
        {
            let Some(container) = self.containers.get(&name) else { continue };
            let Life::Running { since } = container.life else { continue };
            // A signal may have moved the end, or the name may be a later container's.
            let Some(end) = container.script.end.filter(|end| since + end.after == at) else { continue };
            self.end(&name, end.code, end.oom_killed, at);
        }
    }

    /// When the next script ends.
    pub fn next_end(&self) -> Option<Duration> {
        self.ends.peek().map(|Reverse((at, _))| *at)
    }

    /// Ends a running container.
    pub fn end(&mut self, name: &str, code: i32, oom_killed: bool, at: Duration) {
        let Some(container) = self.containers.get_mut(name) else { return };
        let Life::Running { since } = container.life else { return };
        container.life = Life::Exited { code, oom_killed, since, at };
        container.script.lines.retain(|line| since + line.after <= at);
        container.ip = None;
        let uid = container.labels.get(LABEL_POD_UID).cloned();
        self.hint(uid);
    }

    /// Ends all that run.
    pub fn end_all(&mut self, code: i32, at: Duration) {
        self.lives += 1;
        let names: Vec<String> = self.containers.keys().cloned().collect();
        names.iter().for_each(|name| self.end(name, code, false, at));
    }

    fn hint(&mut self, uid: Option<String>) {
        let Some(uid) = uid.filter(|_| !self.drop_hints) else { return };
        for waiting in self.readers.values_mut() {
            waiting.pods.insert(uid.clone());
        }
    }

    /// Tells every reader to look at all.
    pub fn hint_all(&mut self) {
        self.readers.values_mut().for_each(|waiting| waiting.resync = true);
    }

    /// A new reader, who begins with a look at all.
    pub fn add_reader(&mut self) -> u64 {
        self.readers_made += 1;
        self.readers.insert(self.readers_made, Waiting { resync: true, pods: BTreeSet::new() });
        self.readers_made
    }

    pub fn remove_reader(&mut self, reader: u64) {
        self.readers.remove(&reader);
    }

    pub fn next_hint(&mut self, reader: u64) -> Option<Hint> {
        let waiting = self.readers.get_mut(&reader)?;
        if std::mem::take(&mut waiting.resync) {
            return Some(Hint::Resync);
        }
        waiting.pods.pop_first().map(|uid| Hint::Pod { uid })
    }

    pub fn add_foreign(&mut self, name: &str) {
        let spec = ContainerSpec { name: name.to_owned(), ..ContainerSpec::default() };
        self.containers.insert(name.to_owned(), Container::of(&spec, BTreeMap::new()));
    }

    fn ours(&self, name: &str) -> Result<Option<&Container>, Error> {
        match self.containers.get(name) {
            Some(container) if container.labels.contains_key(LABEL_STORE) => Ok(Some(container)),
            Some(_) => Err(Error::NameTaken(name.to_owned())),
            None => Ok(None),
        }
    }

    /// Errors where a container of ours is not there.
    pub fn must_have(&self, name: &str) -> Result<(), Error> {
        self.ours(name)?.map(|_| ()).ok_or_else(|| Error::NoContainer(name.to_owned()))
    }

    pub fn containers(&self, epoch: Timestamp) -> Vec<ContainerSeen> {
        let ours = self.containers.iter().filter(|(_, container)| container.labels.contains_key(LABEL_STORE));
        ours.map(|(name, container)| container.seen(name, epoch)).collect()
    }

    pub fn inspect(&self, name: &str, epoch: Timestamp) -> Option<ContainerSeen> {
        self.ours(name).ok().flatten().map(|container| container.seen(name, epoch))
    }

    pub fn create(&mut self, spec: &ContainerSpec) -> Result<(), Error> {
        if let Some(found) = self.containers.get(&spec.name) {
            let ours = convert::is_ours(&found.labels, spec, STORE_ID);
            return if ours { Ok(()) } else { Err(Error::NameTaken(spec.name.clone())) };
        }
        if self.image(&spec.image).is_none() {
            return Err(Error::NoImage(format!("No such image: {}", spec.image)));
        }
        let mut labels = spec.labels.clone();
        labels.insert(LABEL_STORE.to_owned(), STORE_ID.to_owned());
        self.containers.insert(spec.name.clone(), Container::of(spec, labels));
        Ok(())
    }

    /// Holds a container to what of this is not 0.
    pub fn update(&mut self, name: &str, new: &Limits) -> Result<(), Error> {
        self.must_have(name)?;
        let Some(container) = self.containers.get_mut(name) else { return Ok(()) };
        let old = container.limits;
        let changed = |new: u64, old: u64| if new == 0 { old } else { new };
        container.limits = Limits {
            cpu_nanos: changed(new.cpu_nanos, old.cpu_nanos),
            cpu_shares: changed(new.cpu_shares, old.cpu_shares),
            memory_bytes: changed(new.memory_bytes, old.memory_bytes),
            pids: changed(new.pids, old.pids),
        };
        Ok(())
    }

    pub fn start(&mut self, name: &str, now: Duration) -> Result<(), Error> {
        self.must_have(name)?;
        self.check_joined(name)?;
        let address = self.started;
        let Some(container) = self.containers.get_mut(name) else { return Ok(()) };
        if !matches!(container.life, Life::Created { .. }) {
            return Ok(());
        }
        if let Some(error) = container.script.start_error.clone() {
            container.life = Life::Created { error: Some(error.clone()) };
            return Err(Error::Refused(error));
        }
        container.life = Life::Running { since: now };
        if container.network == Network::Default {
            self.started += 1;
            container.ip = Some(format!("172.17.{}.{}", (address / 253) % 256, address % 253 + 2));
        }
        if let Some(end) = container.script.end {
            self.ends.push(Reverse((now + end.after, name.to_owned())));
        }
        self.settle(now);
        Ok(())
    }

    /// A container cannot join what does not run.
    fn check_joined(&self, name: &str) -> Result<(), Error> {
        let Some(Container { network: Network::Container(other), .. }) = self.containers.get(name) else {
            return Ok(());
        };
        match self.containers.get(other).map(|other| &other.life) {
            Some(Life::Running { .. }) => Ok(()),
            Some(Life::Created { .. } | Life::Exited { .. }) | None => {
                Err(Error::Engine(format!("cannot join network of a non running container: {other}")))
            }
        }
    }

    pub fn kill(&mut self, name: &str, signal: &str, now: Duration) -> Result<(), Error> {
        if self.ours(name)?.is_none() {
            return Ok(());
        }
        let Some(number) = signal_number(signal) else {
            return Err(Error::Refused(format!("Invalid signal: {signal}")));
        };
        match number {
            9 => self.end(name, KILLED, false, now),
            15 => self.terminate(name, now),
            // Stop, continue, a change of a child or a window: nothing that ends a program.
            17 | 18 | 19 | 28 => {}
            other => self.end(name, 128 + other, false, now),
        }
        Ok(())
    }

    fn terminate(&mut self, name: &str, now: Duration) {
        let Some(container) = self.containers.get_mut(name) else { return };
        let Life::Running { since } = container.life else { return };
        let OnTerm::Exit { after, code, lines } = container.script.on_term.clone() else { return };
        let elapsed = now.saturating_sub(since);
        // What it would have printed later is never printed; it says its last words instead. A second signal changes
        // nothing, as the first one's handler runs already.
        container.script.on_term = OnTerm::Ignore;
        container.script.lines.retain(|line| line.after <= elapsed);
        container.script.lines.extend(lines.into_iter().map(|line| line.later(elapsed)));
        container.script.end = Some(super::script::End { after: elapsed + after, code, oom_killed: false });
        self.ends.push(Reverse((now + after, name.to_owned())));
        self.settle(now);
    }

    pub fn remove(&mut self, name: &str, now: Duration) -> Result<(), Error> {
        if self.ours(name)?.is_none() {
            return Ok(());
        }
        self.end(name, KILLED, false, now);
        let gone = self.containers.remove(name);
        self.hint(gone.and_then(|gone| gone.labels.get(LABEL_POD_UID).cloned()));
        Ok(())
    }

    /// The line with this number of a container's output.
    pub fn line(&self, name: &str, number: usize, now: Duration, epoch: Timestamp) -> Output {
        let Some(container) = self.containers.get(name) else { return Output::End };
        let (since, ended) = match container.life {
            Life::Created { .. } => return Output::End,
            Life::Running { since } => (since, false),
            Life::Exited { since, .. } => (since, true),
        };
        match container.script.lines.get(number) {
            Some(line) if since + line.after <= now => Output::Line(LogChunk {
                at: moment(epoch, since + line.after),
                stderr: line.stderr,
                line: Bytes::from(line.text.clone()),
                partial: line.partial,
            }),
            Some(line) => Output::Later(Some(since + line.after)),
            None if ended => Output::End,
            None => Output::Later(container.script.end.map(|end| since + end.after)),
        }
    }

    pub fn image(&self, reference: &str) -> Option<ImageSeen> {
        if reference.contains(MISSING) || self.absent_images.contains(reference) {
            return None;
        }
        let digest = digest(reference);
        let name = reference.split(['@', ':']).next().unwrap_or(reference);
        Some(ImageSeen { repo_digests: vec![format!("{name}@{digest}")], id: digest, ..ImageSeen::default() })
    }

    pub fn pull(&mut self, reference: &str) -> Result<(), Error> {
        if reference.contains(MISSING) {
            return Err(Error::NoImage(format!(
                "pull access denied for {reference}, repository does not exist or may require 'docker login'"
            )));
        }
        self.absent_images.remove(reference);
        Ok(())
    }

    pub fn images_in_use(&self) -> BTreeSet<String> {
        self.containers.values().map(|container| digest(&container.image)).collect()
    }

    pub fn remove_image(&mut self, reference: &str) -> Result<(), Error> {
        for image in &mut self.images {
            image.tags.retain(|tag| tag != reference);
        }
        self.images.retain(|image| !image.tags.is_empty() && image.id != reference);
        self.absent_images.insert(reference.to_owned());
        Ok(())
    }

    /// As an engine that makes a copy.
    pub fn mountable_image(&mut self, image: &str) -> Result<(), Error> {
        let name = format!("copy-of-{}", image.trim_start_matches("sha256:"));
        let labels = BTreeMap::from([(LABEL_IMAGE.to_owned(), image.to_owned())]);
        self.create_volume(&VolumeSpec { name, labels, memory: None })
    }

    pub fn create_volume(&mut self, spec: &VolumeSpec) -> Result<(), Error> {
        let mut labels = spec.labels.clone();
        labels.insert(LABEL_STORE.to_owned(), STORE_ID.to_owned());
        let volume = VolumeSeen { name: spec.name.clone(), labels };
        self.volumes.entry(spec.name.clone()).or_insert(volume);
        Ok(())
    }

    /// Nothing is known of what is in a container: every path may be made.
    pub fn entry(&mut self, name: &str, _path: &str) -> Result<Option<EntrySeen>, Error> {
        self.must_have(name)?;
        Ok(None)
    }

    pub fn remove_volume(&mut self, name: &str) -> Result<(), Error> {
        self.volumes.remove(name);
        Ok(())
    }

    /// Begins a command and returns its id and what it does; `open` where its end is told by [`Engine::end_exec`].
    pub fn exec(&mut self, name: &str, spec: &ExecSpec, open: bool, now: Duration) -> Result<(String, Script), Error> {
        let name = self.must_run(name)?;
        let container = &self.containers[&name];
        let env: Vec<String> = container.env.iter().chain(&spec.env).cloned().collect();
        let script = command(&spec.command, &env, container.hostname.as_deref());
        let id = format!("{name}.{}", self.execs.len());
        let end = script.end.filter(|_| !open).map(|end| now + end.after);
        self.execs.insert(id.clone(), Exec { code: script.end.map_or(0, |end| end.code), end });
        Ok((id, script))
    }

    /// The name of a container that may be given by its id. Errors where nothing can be run or joined.
    pub fn must_run(&self, name: &str) -> Result<String, Error> {
        let mut names = self.containers.keys();
        let name = names.find(|known| *known == name || identity(known) == name).map_or(name, String::as_str);
        self.must_have(name)?;
        match self.containers.get(name).map(|container| &container.life) {
            Some(Life::Running { .. }) => Ok(name.to_owned()),
            Some(Life::Created { .. } | Life::Exited { .. }) | None => {
                Err(Error::Refused(format!("Container {name} is not running")))
            }
        }
    }

    /// Ends a command that has not ended.
    pub fn end_exec(&mut self, id: &str, code: i32, now: Duration) {
        let running = self.execs.get_mut(id).filter(|exec| exec.end.is_none_or(|end| end > now));
        if let Some(exec) = running {
            *exec = Exec { code, end: Some(now) };
        }
    }

    pub fn exec_exit(&self, id: &SessionId, now: Duration) -> Result<Option<i32>, Error> {
        let exec = self.session(id)?;
        Ok(exec.end.filter(|end| *end <= now).map(|_| exec.code))
    }

    pub fn signal_exec(&mut self, id: &SessionId, signal: &str, now: Duration) -> Result<bool, Error> {
        self.session(id)?;
        let number = signal_number(signal).ok_or_else(|| Error::Refused(format!("Invalid signal: {signal}")))?;
        if let SessionId::Exec(id) = id {
            self.end_exec(id, 128 + number, now);
        }
        Ok(true)
    }

    pub fn resize(&mut self, id: &SessionId, height: u16, width: u16) -> Result<(), Error> {
        self.sizes.entry(id.clone()).or_default().push((height, width));
        Ok(())
    }

    fn session(&self, id: &SessionId) -> Result<Exec, Error> {
        let unknown = |id: &str| Error::Refused(format!("No such exec instance: {id}"));
        match id {
            SessionId::Exec(id) => self.execs.get(id).copied().ok_or_else(|| unknown(id)),
            SessionId::Attach(name) => Err(unknown(name)),
        }
    }

    pub fn upload(&mut self, name: &str, path: &str, tar: Bytes) -> Result<(), Error> {
        self.must_have(name)?;
        if let Some(container) = self.containers.get_mut(name) {
            container.uploads.insert(path.to_owned(), tar);
        }
        Ok(())
    }

    pub fn uploads(&self, name: &str) -> BTreeMap<String, Bytes> {
        self.containers.get(name).map(|container| container.uploads.clone()).unwrap_or_default()
    }
}

impl Container {
    fn of(spec: &ContainerSpec, labels: BTreeMap<String, String>) -> Container {
        let argv: Vec<String> = spec.entrypoint.iter().chain(&spec.command).flatten().cloned().collect();
        let script = if spec.image == SANDBOX_IMAGE {
            Script::for_ever()
        } else {
            script(&argv, &spec.env, spec.hostname.as_deref())
        };
        Container {
            labels,
            image: spec.image.clone(),
            network: spec.network.clone(),
            life: Life::Created { error: None },
            script,
            env: spec.env.clone(),
            hostname: spec.hostname.clone(),
            ip: None,
            uploads: BTreeMap::new(),
            limits: spec.limits,
        }
    }

    fn seen(&self, name: &str, epoch: Timestamp) -> ContainerSeen {
        let state = match &self.life {
            Life::Created { error } => Seen::Created { error: error.clone() },
            Life::Running { since } => Seen::Running { started_at: moment(epoch, *since) },
            Life::Exited { code, oom_killed, since, at } => Seen::Exited {
                code: *code,
                oom_killed: *oom_killed,
                error: None,
                started_at: moment(epoch, *since),
                finished_at: moment(epoch, *at),
            },
        };
        ContainerSeen {
            name: name.to_owned(),
            id: identity(name),
            labels: self.labels.clone(),
            image_id: digest(&self.image),
            ip: self.ip.clone(),
            limits: self.limits,
            state,
        }
    }
}

/// A time of this engine as a time of the world.
pub(super) fn moment(epoch: Timestamp, since: Duration) -> Timestamp {
    let since = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
    epoch.checked_add(since).unwrap_or(Timestamp::MAX)
}

/// The id of the container of this name.
fn identity(name: &str) -> String {
    digest(name).trim_start_matches("sha256:").to_owned()
}

fn digest(text: &str) -> String {
    let hex: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// `SIGTERM`, `TERM` or `15`.
fn signal_number(signal: &str) -> Option<i32> {
    let name = signal.trim_start_matches("SIG");
    let known = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CHLD", 17),
        ("CONT", 18),
        ("STOP", 19),
        ("WINCH", 28),
    ];
    let by_name = known.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    by_name.or_else(|| name.parse().ok().filter(|number| (1..=64).contains(number)))
}
