//! PURE. Owns how a container gets its images: what its wait for one is called, which Events tell of it, and when a pull is
//! due. Never asks an engine or a registry: the facts come from `images`.
//!
//! ```text
//!  wanted -> pulling (ContainerCreating, with how far it is) -> ready
//!                 \--failed: ErrImagePull, 2 s later ImagePullBackOff --time--> wanted
//! ```
//!
//! Parity: `EnsureImageExists` of `pkg/kubelet/images`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};

use super::draft::{Draft, Novelty};
use super::facts::{Action, Attempt, ImageFact, ImageUser};
use super::start::RETRY;
use super::status;
use crate::model::event::Severity;
use crate::runtime::ImageSeen;
use crate::runtime::progress::PullSeen;

/// How long a failed pull shows as ErrImagePull before it shows as ImagePullBackOff.
const PULL_ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(2);

/// What a container waits for.
struct Want<'a> {
    /// The container's place among the tracks.
    index: usize,
    user: ImageUser,
    /// The image as it is written.
    image: &'a str,
}

/// The image of a container, once it is there, and whether it was pulled for this run.
pub fn of_container(draft: &mut Draft<'_>, index: usize, run: &Attempt) -> Option<(ImageSeen, bool)> {
    let container = draft.tracks[index].spec;
    let fact = draft.facts.images.get(&container.name);
    let image = container.image.as_deref().unwrap_or_default();
    ready(draft, &Want { index, user: ImageUser::Container(run.clone()), image }, fact)
}

/// Whether the images of the volumes that a container mounts are here and can be mounted; then those that were here
/// before, as they are written.
///
/// Parity: `getImageVolumes` of `pkg/kubelet/kuberuntime`: they are had as containers' images are, their Events are about
/// the pod, and only the containers that mount one wait for it.
pub fn of_volumes(draft: &mut Draft<'_>, index: usize) -> Option<Vec<String>> {
    let (mut all, mut present) = (true, Vec::new());
    for volume in mounted(draft.spec, draft.tracks[index].spec) {
        let image = volume.image.as_ref().and_then(|source| source.reference.as_deref()).unwrap_or_default();
        let want = Want { index, user: ImageUser::Volume(volume.name.clone()), image };
        let facts = draft.facts;
        let Some((seen, pulled)) = ready(draft, &want, facts.image_volumes.get(&volume.name)) else {
            all = false;
            continue;
        };
        present.extend((!pulled).then(|| image.to_owned()));
        if facts.mountable.get(&seen.id) != Some(&true) {
            all = false;
        }
        if !facts.mountable.contains_key(&seen.id) {
            let container = draft.tracks[index].spec.name.clone();
            draft.act(Action::MountImage { container, image: seen.id });
        }
    }
    all.then_some(present)
}

/// The image volumes that a container mounts.
fn mounted<'a>(spec: &'a PodSpec, container: &'a Container) -> impl Iterator<Item = &'a Volume> {
    let mounts = |volume: &Volume| container.volume_mounts.iter().flatten().any(|mount| mount.name == volume.name);
    spec.volumes.iter().flatten().filter(move |volume| volume.image.is_some() && mounts(volume))
}

/// The kubelet's text for an image that needs no pull.
pub fn present(image: &str) -> String {
    format!("Container image \"{image}\" already present on machine")
}

/// Warns of an image for another platform: its programs may not run, and say so in words that few understand.
/// Differs: upstream says nothing; a machine that emulates the other processor runs them.
pub fn tell_platform(draft: &mut Draft<'_>, index: usize, image: &ImageSeen) {
    let (node, container) = (&draft.facts.node, draft.tracks[index].spec);
    let differs = |its: &str, nodes: &str| !its.is_empty() && !nodes.is_empty() && its != nodes;
    if differs(&image.os, &node.os) || differs(&image.architecture, &node.architecture) {
        let name = container.image.as_deref().unwrap_or_default();
        let (its, nodes) =
            (format!("{}/{}", image.os, image.architecture), format!("{}/{}", node.os, node.architecture));
        let text = format!("Image \"{name}\" is for {its}, the node is {nodes}: its programs may not run");
        draft.note(Severity::Warning, "ImagePlatformMismatch", text, Some(&container.name));
    }
}

fn ready(draft: &mut Draft<'_>, want: &Want<'_>, fact: Option<&ImageFact>) -> Option<(ImageSeen, bool)> {
    let (image, about) = (want.image, want.user.container());
    match fact {
        Some(ImageFact::Ready { image, pulled }) => return Some((image.clone(), *pulled)),
        Some(ImageFact::Wanted) | None => pull(draft, want),
        Some(ImageFact::Pulling { told: None }) => {}
        Some(ImageFact::Pulling { told: Some(seen) }) => {
            let message = progress(image, *seen);
            // Differs: upstream tells nothing of a pull between its beginning and its end.
            draft.wait(want.index, status::ordinary_wait(draft.spec), Some(message));
        }
        Some(ImageFact::Invalid(fault)) => {
            let message = format!("Failed to apply default image tag \"{image}\": {fault}");
            if draft.wait(want.index, "InvalidImageName", Some(message.clone())) == Novelty::New {
                draft.note(Severity::Warning, "InspectFailed", message, about);
                failed(draft, want, "InvalidImageName");
            }
        }
        Some(ImageFact::NeverPulled) => {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            if draft.wait(want.index, "ErrImageNeverPull", Some(message.clone())) == Novelty::New {
                draft.note(Severity::Warning, "ErrImageNeverPull", message, about);
                failed(draft, want, "ErrImageNeverPull");
            }
            draft.wake(draft.now + RETRY);
        }
        Some(ImageFact::Failed { message, at, retry_at }) => {
            pull_failed(draft, want, message.clone(), (*at, *retry_at));
            if *retry_at <= draft.now {
                pull(draft, want);
            }
        }
    }
    None
}

fn pull(draft: &mut Draft<'_>, want: &Want<'_>) {
    draft.act(Action::Pull { user: want.user.clone(), image: want.image.to_owned() });
}

/// The Event with which a container tells that it does not get its image.
fn failed(draft: &mut Draft<'_>, want: &Want<'_>, reason: &str) {
    let name = draft.tracks[want.index].spec.name.as_str();
    draft.note(Severity::Warning, "Failed", format!("Error: {reason}"), Some(name));
}

fn pull_failed(draft: &mut Draft<'_>, want: &Want<'_>, message: String, times: (Timestamp, Timestamp)) {
    let (failed_at, retry_at) = times;
    let shown_until = failed_at + PULL_ERROR_SHOWN;
    if draft.now < shown_until {
        if draft.wait(want.index, "ErrImagePull", Some(message)) == Novelty::New {
            failed(draft, want, "ErrImagePull");
        }
        draft.wake(shown_until);
    } else {
        let text = format!("Back-off pulling image \"{}\"", want.image);
        // Parity: since 1.32 the message carries the error of the last pull.
        let shown = format!("{text}: ErrImagePull: {message}");
        if draft.wait(want.index, "ImagePullBackOff", Some(shown)) == Novelty::New {
            draft.note(Severity::Normal, "BackOff", text, want.user.container());
            failed(draft, want, "ImagePullBackOff");
        }
        draft.wake(retry_at);
    }
}

/// `Pulling image "x": 12.3 MB of 40.0 MB, 2 of 5 layers`.
fn progress(image: &str, seen: PullSeen) -> String {
    let mut text = format!("Pulling image \"{image}\"");
    if seen.bytes > 0 {
        text += &format!(": {} of {}", megabytes(seen.bytes_done), megabytes(seen.bytes));
    }
    let joint = if seen.bytes > 0 { "," } else { ":" };
    text + &format!("{joint} {} of {} layers", seen.layers_done, seen.layers)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
