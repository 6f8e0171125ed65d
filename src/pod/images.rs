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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use tokio::sync::Semaphore;

use super::backoff;
use super::draft::KUBELET;
use super::facts::{Attempt, ImageFact, Note};
use crate::model::event::Severity;
use crate::runtime::reference::Reference;
use crate::runtime::{self, ImageSeen, RegistryAuth, Runtime};

/// Images fetched at once: more would only share one network and one disk.
const PARALLEL_PULLS: usize = 4;
/// How long it is believed that an image is still there. Somebody who removes one by hand meets a failed create, which
/// forgets it at once.
const BELIEVED: Duration = Duration::from_secs(30);
/// Failed pulls that nobody asks for any more are forgotten after this long. Parity: `flowcontrol.Backoff.GC`.
const FORGET_FAILURE: jiff::SignedDuration = jiff::SignedDuration::from_secs(600);

/// One start of one container of one pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiter {
    uid: String,
    container: String,
    attempt: u32,
}

impl Waiter {
    fn new(uid: &str, attempt: &Attempt) -> Self {
        Self { uid: uid.to_owned(), container: attempt.container.clone(), attempt: attempt.number }
    }
}

#[derive(Default)]
struct State {
    /// What the engine has, and when it said so.
    present: HashMap<String, (ImageSeen, Instant)>,
    /// Who waits for which image.
    pulling: HashMap<String, HashSet<Waiter>>,
    failed: HashMap<String, Failure>,
    /// Starts whose image was pulled for them.
    pulled: HashSet<Waiter>,
}

#[derive(Clone)]
struct Failure {
    count: u32,
    message: String,
    at: Timestamp,
    retry_at: Timestamp,
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

    /// The image of one start of a container. Asks the engine only where it was not asked lately, a registry never.
    pub async fn fact(
        &self,
        uid: &str,
        container: &Container,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<ImageFact, runtime::Error> {
        let image = match normalized(container.image.as_deref().unwrap_or_default()) {
            Ok(image) => image,
            Err(fault) => return Ok(ImageFact::Invalid(fault)),
        };
        let pulled = self.state().pulled.contains(&Waiter::new(uid, attempt));
        let policy = policy(container, &image);
        if pulled || policy != "Always" {
            if let Some(image) = self.present(&image).await? {
                return Ok(ImageFact::Ready { image, pulled });
            }
            if policy == "Never" {
                return Ok(ImageFact::NeverPulled);
            }
        }
        let mut state = self.state();
        if let Some(waiters) = state.pulling.get_mut(&image) {
            waiters.insert(Waiter::new(uid, attempt));
            return Ok(ImageFact::Pulling);
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
        for waiters in state.pulling.values_mut() {
            waiters.retain(|waiter| waiter.uid != uid);
        }
    }

    async fn present(&self, image: &str) -> Result<Option<ImageSeen>, runtime::Error> {
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

    /// Fetches an image for one start, or joins a fetch that is under way. The caller runs what is returned.
    pub fn pull(
        &self,
        uid: &str,
        attempt: &Attempt,
        reference: &str,
        auth: Option<RegistryAuth>,
        audience: Arc<dyn Audience>,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let image = normalized(reference).ok()?;
        let waiter = Waiter::new(uid, attempt);
        let text = format!("Pulling image \"{reference}\"");
        audience.note(uid, note(Severity::Normal, "Pulling", text, &attempt.container));
        let mut state = self.state();
        if let Some(waiters) = state.pulling.get_mut(&image) {
            waiters.insert(waiter);
            return None;
        }
        state.pulling.insert(image.clone(), HashSet::from([waiter]));
        drop(state);
        let this = self.clone();
        Some(async move { this.fetch(image, auth, audience).await })
    }

    async fn fetch(self, image: String, auth: Option<RegistryAuth>, audience: Arc<dyn Audience>) {
        let asked = Instant::now();
        // The semaphore is never closed; without a permit the pull would only be less bounded.
        let _permit = self.permits.acquire().await.ok();
        let begun = Instant::now();
        let outcome = self.engine.pull(&image, auth.as_ref()).await;
        let waiters = self.settle(&image, &outcome);
        for waiter in waiters {
            let said = match &outcome {
                Ok(()) => {
                    let (took, waited) = (go_seconds(begun.elapsed()), go_seconds(asked.elapsed()));
                    let text = format!("Successfully pulled image \"{image}\" in {took} ({waited} including waiting)");
                    note(Severity::Normal, "Pulled", text, &waiter.container)
                }
                Err(error) => {
                    let text = format!("Failed to pull image \"{image}\": {error}");
                    note(Severity::Warning, "Failed", text, &waiter.container)
                }
            };
            audience.note(&waiter.uid, said);
            audience.wake(&waiter.uid);
        }
    }

    /// Enters how a pull ended; returns who waited for it.
    fn settle(&self, image: &str, outcome: &Result<(), runtime::Error>) -> HashSet<Waiter> {
        let mut state = self.state();
        let waiters = state.pulling.remove(image).unwrap_or_default();
        state.present.remove(image);
        match outcome {
            Ok(()) => {
                state.failed.remove(image);
                state.pulled.extend(waiters.iter().cloned());
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

/// The reference with `:latest` where it has neither tag nor digest, or the kubelet's words for what is wrong with it.
fn normalized(image: &str) -> Result<String, String> {
    let reference =
        Reference::parse(image).map_err(|error| format!("couldn't parse image reference \"{image}\": {error}"))?;
    let bare = reference.tag.is_none() && reference.digest.is_none();
    Ok(if bare { format!("{image}:latest") } else { image.to_owned() })
}

/// The container's pull policy, with upstream's default where the object was not defaulted.
fn policy<'a>(container: &'a Container, image: &str) -> &'a str {
    let default = if image.ends_with(":latest") { "Always" } else { "IfNotPresent" };
    container.image_pull_policy.as_deref().filter(|policy| !policy.is_empty()).unwrap_or(default)
}

fn note(severity: Severity, reason: &'static str, message: String, container: &str) -> Note {
    Note { component: KUBELET, severity, reason, message, container: Some(container.to_owned()) }
}

/// A duration as the kubelet prints it: `412ms`, `1.5s`.
fn go_seconds(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis < 1000 => format!("{millis}ms"),
        millis => format!("{}.{:03}s", millis / 1000, millis % 1000),
    }
}
