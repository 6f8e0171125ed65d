//! Owns the way to a working engine: tries what `endpoint` found, greets it, agrees on an API version.
//! Never falls back from an engine that was named.

use std::error::Error as StdError;
use std::time::Duration;

use super::wire::{Ask, Wire};
use crate::runtime::Error;
use crate::runtime::endpoint::{Candidate, NoEngine, Surroundings, candidates};
use crate::runtime::failure::Act;
use crate::runtime::reply::VersionReply;

/// Time for an engine to greet. Generous, because an engine started on demand (a socket unit) boots first.
const GREETING_LIMIT: Duration = Duration::from_secs(20);
/// Newest API that this code was written against.
const NEWEST_API: (u32, u32) = (1, 51);
/// Oldest API with all that is asked here: Docker 20.10's, and what podman offers.
const OLDEST_API: (u32, u32) = (1, 41);

/// Connects to the first engine that answers.
///
/// # Errors
/// [`Error::Unreachable`] with [`NoEngine`] as its source where none does; [`Error::Refused`] where the named engine
/// cannot be used.
pub(super) async fn connect(host: Option<&str>, around: &Surroundings) -> Result<(Wire, VersionReply), Error> {
    let mut tried = Vec::new();
    for candidate in candidates(host, around)? {
        match greet(&candidate).await {
            Ok(greeted) => {
                tracing::info!(engine = %candidate.address, origin = candidate.origin, "connected to the engine"); // D25
                return Ok(greeted);
            }
            Err(refused @ Error::Refused(_)) => return Err(refused),
            Err(error) => tried.push((candidate, causes(&error))),
        }
    }
    Err(NoEngine { tried }.into_error())
}

async fn greet(candidate: &Candidate) -> Result<(Wire, VersionReply), Error> {
    let wire = Wire::new(candidate)?;
    let version: VersionReply =
        wire.read(GREETING_LIMIT, Ask::get(Act::Read, "the engine", "/version".to_owned())).await?;
    let agreed = agree(&version.api_version, &version.min_api_version)
        .map_err(|problem| Error::Refused(format!("the engine at {} {problem}", wire.endpoint())))?;
    Ok((wire.with_version(&agreed), version))
}

/// The newest version that both sides speak (D10: Docker 29 refuses clients below 1.44, 20.10 those above 1.41).
fn agree(newest: &str, oldest: &str) -> Result<String, String> {
    let newest = number(newest).ok_or_else(|| "is no container engine: it tells no API version".to_owned())?;
    let oldest = number(oldest).unwrap_or((1, 0));
    if newest < OLDEST_API {
        return Err(format!(
            "speaks API {}.{}; jobdock needs {}.{} (Docker 20.10) or later",
            newest.0, newest.1, OLDEST_API.0, OLDEST_API.1
        ));
    }
    if oldest > NEWEST_API {
        return Err(format!(
            "wants API {}.{} or later; this jobdock speaks up to {}.{}: a newer jobdock is needed",
            oldest.0, oldest.1, NEWEST_API.0, NEWEST_API.1
        ));
    }
    let agreed = newest.min(NEWEST_API);
    Ok(format!("{}.{}", agreed.0, agreed.1))
}

/// `1.41` as two numbers.
pub(super) fn number(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// The innermost reason, which names what the system said ("No such file or directory").
fn causes(error: &Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::agree;

    #[test]
    fn an_api_version_is_agreed_on() {
        for (newest, oldest, expected) in [
            ("1.41", "1.12", Ok("1.41")),
            ("1.52", "1.44", Ok("1.51")),
            ("1.44", "", Ok("1.44")),
            ("1.40", "1.12", Err("speaks API 1.40; jobdock needs 1.41 (Docker 20.10) or later")),
            ("1.70", "1.60", Err("wants API 1.60 or later; this jobdock speaks up to 1.51: a newer jobdock is needed")),
            ("", "", Err("is no container engine: it tells no API version")),
        ] {
            let agreed = agree(newest, oldest);
            assert_eq!(agreed.as_deref().map_err(String::as_str), expected, "{newest} to {oldest}");
        }
    }
}
