//! Owns what only the store may give an object: uid, the tail of a generated name, creation time, an Event's name.
//! The one place of the store that uses chance.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use rand::Rng;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Identity;
use crate::model::time;

/// Upstream's alphabet: no vowels and no look-alikes, so that a name spells nothing.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Characters after a `generateName`.
const SUFFIX: usize = 5;
/// A generated name stays a DNS label; upstream's `maxNameLength`.
const NAME_MAX: usize = 63;
/// An object's name is at most a DNS subdomain.
const SUBDOMAIN_MAX: usize = 253;
/// Hexadecimal digits at the end of an Event's name.
const EVENT_DIGITS: usize = 16;

/// A fresh identity.
pub(super) fn mint() -> Identity {
    let mut rng = rand::rng();
    let suffix = (0..SUFFIX).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect();
    Identity { uid: Uuid::new_v4().to_string(), suffix, now: time::seconds(Timestamp::now()).0 }
}

/// `base` cut to leave room, and `suffix`. Parity: apiserver's `names.SimpleNameGenerator`.
pub(super) fn generated_name(base: &str, suffix: &str) -> String {
    format!("{}{suffix}", cut(base, NAME_MAX - SUFFIX))
}

/// The same message about the same object, or part of it, has the same name.
pub(super) fn event_name(event: &Event) -> String {
    let involved = &event.involved_object;
    let component = event.source.as_ref().and_then(|source| source.component.as_deref());
    let said = [
        involved.uid.as_deref(),
        involved.field_path.as_deref(),
        event.reason.as_deref(),
        event.message.as_deref(),
        component.or(event.reporting_component.as_deref()),
        event.type_.as_deref(),
    ];
    let mut hash = Sha256::new();
    for part in said {
        let part = part.unwrap_or_default();
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash = hash.finalize().iter().take(EVENT_DIGITS / 2).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let name = cut(involved.name.as_deref().unwrap_or_default(), SUBDOMAIN_MAX - 1 - EVENT_DIGITS);
    format!("{name}.{hash:016x}")
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
