//! Owns images: which the engine has, which are being fetched, which could not be. Never decides whether a container
//! may start: that is `plan`, from the [`ImageFact`]s given here.
//!
//! ```text
//!  wanted --pull--> pulling (one task per image, whoever waits for it) --ok--> ready, for those who waited
//!     ^                                                               \--failed--> back-off 10 s .. 5 min --+
//!     +-----------------------------------------------------------------------------------------------------+
//! ```
//!
//! What is lost when the agent ends is only time: a pull starts again.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::backoff;
use super::draft::KUBELET;
use super::facts::{ImageFact, ImageUser, Note};
use crate::model::defaults::image as defaults;
use crate::model::event::Severity;
use crate::model::go_text;
use crate::runtime::progress::PullSeen;
use crate::runtime::reference::Reference;
use crate::runtime::{self, Heard, ImageSeen, RegistryAuth, Runtime};

/// Images fetched at once: more would only share one network and one disk.
const PARALLEL_PULLS: usize = 4;
/// How long it is believed that an image is still there. Somebody who removes one by hand meets a failed create, which
/// forgets it at once.
const BELIEVED: Duration = Duration::from_secs(30);
/// How often those who wait are told how far a pull is: each telling is a write of their status.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// Where many wait for one image, it is told so much more seldom: ten writes a second for an image, at most.
const PROGRESS_WRITE: Duration = Duration::from_millis(100);
/// Failed pulls that nobody asks for any more are forgotten after this long. Parity: `flowcontrol.Backoff.GC`.
const FORGET_FAILURE: jiff::SignedDuration = jiff::SignedDuration::from_secs(600);

/// Somebody in one pod who needs an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiter {
    uid: String,
    user: ImageUser,
}

impl Waiter {
    fn new(uid: &str, user: &ImageUser) -> Self {
        Self { uid: uid.to_owned(), user: user.clone() }
    }
}

/// A fetch under way.
struct Fetch {
    /// Who waits for it, with the image as each has written it.
    waiters: HashMap<Waiter, String>,
    /// How far it is.
    seen: PullSeen,
    /// How far it was when that was last told.
    told: Option<PullSeen>,
}

impl Fetch {
    fn new(waiter: Waiter, reference: &str) -> Self {
        let waiters = HashMap::from([(waiter, reference.to_owned())]);
        Self { waiters, seen: PullSeen::default(), told: None }
    }

    /// Tells how far it is; returns the pods that should look.
    fn tell(&mut self) -> Vec<String> {
        let news = self.seen != PullSeen::default() && self.told != Some(self.seen);
        self.told = Some(self.seen).filter(|_| news).or(self.told);
        let waiters = self.waiters.keys().filter(|_| news);
        waiters.map(|waiter| waiter.uid.clone()).collect()
    }

    /// How long until it is told again.
    fn pause(&self) -> Duration {
        let waiters = u32::try_from(self.waiters.len()).unwrap_or(u32::MAX);
        PROGRESS_EVERY.max(PROGRESS_WRITE.saturating_mul(waiters))
    }
}

#[derive(Default)]
struct State {
    /// What the engine has, and when it said so.
    present: HashMap<String, (ImageSeen, Instant)>,
    pulling: HashMap<String, Fetch>,
    failed: HashMap<String, Failure>,
    /// Users whose image was pulled for them.
    pulled: HashSet<Waiter>,
}

#[derive(Clone)]
struct Failure {
    count: u32,
    message: String,
    at: Timestamp,
    retry_at: Timestamp,
}

/// What a pull has brought.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The image's id.
    pub id: String,
    /// The name under which it was pulled.
    pub name: String,
    /// The images that were there before; none where the engine did not tell.
    pub before: Option<HashSet<String>>,
}

/// What a pull tells its waiters.
pub trait Audience: Send + Sync + 'static {
    /// Something to say about the pod.
    fn note(&self, uid: &str, note: Note);
    /// The pod should be looked at again.
    fn wake(&self, uid: &str);
}

/// The images of one engine.
#[derive(Clone)]
pub struct Images {
    engine: Arc<dyn Runtime>,
    state: Arc<Mutex<State>>,
    permits: Arc<Semaphore>,
}

impl Images {
    /// Nothing known yet.
    pub fn new(engine: Arc<dyn Runtime>) -> Self {
        Self { engine, state: Arc::default(), permits: Arc::new(Semaphore::new(PARALLEL_PULLS)) }
    }

    /// The image of one user. Asks the engine only where it was not asked lately, a registry never.
    pub async fn fact(
        &self,
        uid: &str,
        user: &ImageUser,
        reference: &str,
        policy: Option<&str>,
        now: Timestamp,
    ) -> Result<ImageFact, runtime::Error> {
        let image = match normalized(reference) {
            Ok(image) => image,
            Err(fault) => return Ok(ImageFact::Invalid(fault)),
        };
        let waiter = Waiter::new(uid, user);
        let pulled = self.state().pulled.contains(&waiter);
        // Upstream's default, where the object was not defaulted.
        let policy = policy.filter(|policy| !policy.is_empty()).unwrap_or_else(|| defaults::pull_policy(&image));
        if pulled || policy != "Always" {
            if let Some(image) = self.present(&image).await? {
                return Ok(ImageFact::Ready { image, pulled });
            }
            if policy == "Never" {
                return Ok(ImageFact::NeverPulled);
            }
        }
        let mut state = self.state();
        if let Some(fetch) = state.pulling.get_mut(&image) {
            fetch.waiters.insert(waiter, reference.to_owned());
            return Ok(ImageFact::Pulling { told: fetch.told });
        }
        state.failed.retain(|_, failure| now.duration_since(failure.retry_at) < FORGET_FAILURE);
        Ok(match state.failed.get(&image) {
            Some(Failure { message, at, retry_at, .. }) => {
                ImageFact::Failed { message: message.clone(), at: *at, retry_at: *retry_at }
            }
            None => ImageFact::Wanted,
        })
    }

    /// What is known of an image without asking anybody.
    pub fn known(&self, reference: &str) -> Option<ImageSeen> {
        let image = normalized(reference).ok()?;
        self.state().present.get(&image).map(|(seen, _)| seen.clone())
    }

    /// The signal that an image asks to be stopped with.
    pub async fn stop_signal(&self, reference: &str) -> Option<String> {
        if let Some(known) = self.known(reference) {
            return known.stop_signal;
        }
        let image = normalized(reference).ok()?;
        self.present(&image).await.ok().flatten()?.stop_signal
    }

    /// An image that was believed to be there is not.
    pub fn missing(&self, reference: &str) {
        if let Ok(image) = normalized(reference) {
            self.state().present.remove(&image);
        }
    }

    /// Forgets what was pulled for a pod that is gone.
    pub fn forget(&self, uid: &str) {
        let mut state = self.state();
        state.pulled.retain(|waiter| waiter.uid != uid);
        for fetch in state.pulling.values_mut() {
            fetch.waiters.retain(|waiter, _| waiter.uid != uid);
        }
    }

    /// The image of this name, as the engine has it or had it lately.
    pub async fn present(&self, reference: &str) -> Result<Option<ImageSeen>, runtime::Error> {
        let Ok(image) = normalized(reference) else { return Ok(None) };
        let image = image.as_str();
        if let Some((seen, at)) = self.state().present.get(image)
            && at.elapsed() < BELIEVED
        {
            return Ok(Some(seen.clone()));
        }
        let seen = self.engine.image(image).await?;
        let mut state = self.state();
        match &seen {
            Some(seen) => state.present.insert(image.to_owned(), (seen.clone(), Instant::now())),
            None => state.present.remove(image),
        };
        Ok(seen)
    }

    /// Fetches an image for one user, or joins a fetch that is under way. The caller runs what is returned.
    pub fn pull(
        &self,
        uid: &str,
        user: &ImageUser,
        reference: &str,
        auths: Vec<RegistryAuth>,
        audience: Arc<dyn Audience>,
    ) -> Option<impl Future<Output = Option<Brought>> + Send + 'static> {
        let image = normalized(reference).ok()?;
        let waiter = Waiter::new(uid, user);
        let text = format!("Pulling image \"{reference}\"");
        audience.note(uid, note(Severity::Normal, "Pulling", text, user));
        let mut state = self.state();
        if let Some(fetch) = state.pulling.get_mut(&image) {
            fetch.waiters.insert(waiter, reference.to_owned());
            return None;
        }
        state.pulling.insert(image.clone(), Fetch::new(waiter, reference));
        drop(state);
        let this = self.clone();
        Some(async move { this.fetch(image, auths, audience).await })
    }

    async fn fetch(self, image: String, auths: Vec<RegistryAuth>, audience: Arc<dyn Audience>) -> Option<Brought> {
        let asked = Instant::now();
        // The semaphore is never closed; without a permit the pull would only be less bounded.
        let _permit = self.permits.acquire().await.ok();
        let before = self.engine.images().await.ok();
        let begun = Instant::now();
        let heard = |seen: PullSeen| {
            if let Some(fetch) = self.state().pulling.get_mut(&image) {
                fetch.seen = seen;
            }
        };
        let outcome = tokio::select! {
            outcome = self.attempts(&image, &auths, &heard) => outcome,
            never = self.tell(&image, audience.as_ref()) => match never {},
        };
        let (took, waited) = (begun.elapsed(), asked.elapsed());
        self.state().present.remove(&image);
        let brought = match &outcome {
            // Its waiters ask for it anyway.
            Ok(()) => self.present(&image).await.ok().flatten(),
            Err(_) => None,
        };
        let bytes = brought.as_ref().map_or(0, |seen| seen.bytes);
        for (waiter, reference) in self.settle(&image, &outcome) {
            let said = match &outcome {
                Ok(()) => {
                    let text = pulled(&reference, took, waited, bytes);
                    note(Severity::Normal, "Pulled", text, &waiter.user)
                }
                Err(error) => {
                    let text = format!("Failed to pull image \"{reference}\": {error}");
                    note(Severity::Warning, "Failed", text, &waiter.user)
                }
            };
            audience.note(&waiter.uid, said);
            audience.wake(&waiter.uid);
        }
        let before = before.map(|images| images.into_iter().map(|image| image.id).collect());
        brought.map(|seen| Brought { id: seen.id, name: image, before })
    }

    /// Tries each of the credentials until one is let in. Parity: `PullImage` of `pkg/kubelet/kuberuntime`.
    async fn attempts(&self, image: &str, auths: &[RegistryAuth], heard: Heard<'_>) -> Result<(), runtime::Error> {
        let mut failures = Vec::new();
        for auth in auths {
            match self.engine.pull(image, Some(auth), heard).await {
                Ok(()) => return Ok(()),
                Err(error @ runtime::Error::Unreachable { .. }) => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        match together(failures) {
            Some(error) => Err(error),
            None => self.engine.pull(image, None, heard).await,
        }
    }

    /// Tells those who wait how far the pull is, now and then.
    async fn tell(&self, image: &str, audience: &dyn Audience) -> Infallible {
        loop {
            let pause = self.state().pulling.get(image).map_or(PROGRESS_EVERY, Fetch::pause);
            tokio::time::sleep(pause).await;
            let due = self.state().pulling.get_mut(image).map(Fetch::tell);
            due.into_iter().flatten().for_each(|uid| audience.wake(&uid));
        }
    }

    /// Enters how a pull ended; returns who waited for it.
    fn settle(&self, image: &str, outcome: &Result<(), runtime::Error>) -> HashMap<Waiter, String> {
        let mut state = self.state();
        let waiters = state.pulling.remove(image).map(|fetch| fetch.waiters).unwrap_or_default();
        match outcome {
            Ok(()) => {
                state.failed.remove(image);
                state.pulled.extend(waiters.keys().cloned());
            }
            Err(error) => {
                let now = Timestamp::now();
                let count = state.failed.get(image).map_or(1, |failure| failure.count + 1);
                let retry_at = now + backoff::pull_delay(count);
                let failure = Failure { count, message: error.to_string(), at: now, retry_at };
                state.failed.insert(image.to_owned(), failure);
            }
        }
        waiters
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Several failures as one; what is said twice is told once. Parity: `NewAggregate`.
fn together(failures: Vec<runtime::Error>) -> Option<runtime::Error> {
    let mut words: Vec<String> = Vec::new();
    for said in failures.iter().map(ToString::to_string) {
        if !words.contains(&said) {
            words.push(said);
        }
    }
    let first = failures.into_iter().next()?;
    Some(if words.len() == 1 { first } else { runtime::Error::Engine(format!("[{}]", words.join(", "))) })
}

/// The reference with `:latest` where it has neither tag nor digest, or the kubelet's words for what is wrong with it.
fn normalized(image: &str) -> Result<String, String> {
    let reference =
        Reference::parse(image).map_err(|error| format!("couldn't parse image name \"{image}\": {error}"))?;
    let bare = reference.tag.is_none() && reference.digest.is_none();
    Ok(if bare { format!("{image}:latest") } else { image.to_owned() })
}

fn note(severity: Severity, reason: &'static str, message: String, user: &ImageUser) -> Note {
    let container = user.container().map(str::to_owned);
    Note { component: KUBELET, severity, reason, message, container }
}

/// Parity: the kubelet's text, in whole milliseconds.
fn pulled(image: &str, took: Duration, waited: Duration, bytes: u64) -> String {
    let text = |duration: Duration| {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        go_text::duration(SignedDuration::from_millis(millis))
    };
    let (took, waited) = (text(took), text(waited));
    format!("Successfully pulled image \"{image}\" in {took} ({waited} including waiting). Image size: {bytes} bytes.")
}
