//! PURE. Owns the reading of the engine's refusals: what an HTTP status and its words mean for the act that met them.
//! Never retries and never talks: it answers whether the wish is already fulfilled, and if not, what the caller
//! should do, as an [`Error`].
//!
//! The rules are those of EDGES D9 (304, 404 and 409 are often success), D14 (failed starts), D17 (dead containers),
//! D21 (logs that cannot be read) and D24 (errors inside a pull).

use super::Error;

/// What was asked of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Create a container.
    Create,
    /// Start a container.
    Start,
    /// Change a container's limits.
    Update,
    /// Signal a container.
    Kill,
    /// Remove a container or volume.
    Remove,
    /// Read about containers, volumes, images, the engine itself.
    Read,
    /// Read a container's output.
    Logs,
    /// Fetch or load an image.
    Image,
    /// Take a name from an image.
    RemoveImage,
    /// Unpack an archive into a container.
    Upload,
    /// Create a volume.
    Volume,
    /// Run a command in a container, join its streams, or ask about either.
    Session,
}

/// Words with which engines say that a signal's target does not run (Docker; podman, old and new).
const NOT_RUNNING: [&str; 3] = ["is not running", "container state improper", "can only kill running containers"];
/// Words with which a start fails for reasons that lie in the container: the OCI runtime's own. A repeat ends the same.
const OCI_FAILURE: [&str; 4] = ["oci runtime", "runc create failed", "crun:", "failed to create shim"];
/// Words with which a registry says that this image will not be had by asking again.
const NO_IMAGE: [&str; 9] = [
    "manifest unknown",
    "not found",
    "no such image",
    "pull access denied",
    "repository does not exist",
    "unauthorized",
    "denied:",
    "no matching manifest",
    "invalid reference format",
];

/// Judges a reply that was not a success. `Ok` says that the wish is fulfilled all the same.
///
/// # Errors
/// What the caller should do about it.
pub fn judge(act: Act, subject: &str, status: u16, message: &str) -> Result<(), Error> {
    let words = message.to_lowercase();
    let no_container = words.contains("no such container") || words.contains("no container with");
    let own = message.to_owned();
    match (act, status) {
        // Already running; already stopped; already gone (D9).
        (Act::Start, 304) | (Act::Kill | Act::Remove | Act::RemoveImage, 404) => Ok(()),
        (Act::Kill, 409 | 500) if NOT_RUNNING.iter().any(|sign| words.contains(sign)) => Ok(()),
        (Act::Remove, 409) if words.contains("already in progress") => Ok(()),

        (Act::Create | Act::Volume, 409) => Err(Error::NameTaken(subject.to_owned())),
        // Podman's way to say the same.
        (Act::Create, 500) if words.contains("already in use") => Err(Error::NameTaken(subject.to_owned())),
        (Act::Create, 404) if words.contains("image") => Err(Error::NoImage(own)),
        (Act::Image, _) => Err(image_failure(status, message)),
        (_, 404) if no_container => Err(Error::NoContainer(subject.to_owned())),
        // D14: the command cannot be run; the container stays as created, with the reason in its state.
        (Act::Start, 500..) if OCI_FAILURE.iter().any(|sign| words.contains(sign)) => Err(Error::Refused(own)),
        // Podman's way to say it, in the words that clients know from Docker.
        (Act::Session, 409 | 500) if says_otherwise(&words) => {
            Err(Error::Refused(format!("container {subject} is not running: {own}")))
        }
        // D17: a dead container, or one marked for removal: only its removal is left. One that does not run or is
        // paused: nothing can be run in it, and nobody waits until it can.
        (Act::Logs | Act::Session, 409) => Err(Error::Refused(own)),
        // In use, being changed by somebody else: it passes.
        (_, 409 | 423 | 429) => Err(Error::Engine(own)),
        // Asked wrongly; or not to be done here (D21: a logging driver that cannot be read).
        (_, 400..=499 | 501) => Err(Error::Refused(own)),
        (_, _) => Err(Error::Engine(own)),
    }
}

/// That a container does not run, not in Docker's words.
fn says_otherwise(words: &str) -> bool {
    let [dockers, others @ ..] = NOT_RUNNING;
    !words.contains(dockers) && others.iter().any(|sign| words.contains(sign))
}

/// An error on the way to an image, whether it came as a status or inside a 200 stream (D24, status 200 then).
pub fn image_failure(status: u16, message: &str) -> Error {
    let words = message.to_lowercase();
    let own = message.to_owned();
    if words.contains("toomanyrequests") || status == 429 {
        return Error::Engine(own);
    }
    match status {
        401 | 403 | 404 => Error::NoImage(own),
        400 => Error::Refused(own),
        _ if NO_IMAGE.iter().any(|sign| words.contains(sign)) => Error::NoImage(own),
        _ => Error::Engine(own),
    }
}
