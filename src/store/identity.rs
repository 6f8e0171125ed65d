//! Owns what only the store may give an object: uid, the tail of a generated name, creation time, an Event's uid and name.
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
/// Hexadecimal digits of a time in nanoseconds, at the end of an Event's name.
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

/// The uid of the Event that says this: the same message about the same object, or part of it, has the same, so that it
/// is found again, after a restart too.
pub(super) fn event_uid(event: &Event) -> Uuid {
    digest(event, [event.involved_object.field_path.as_deref(), event.message.as_deref()])
}

/// What Events have in common that differ in their message alone; the uid of the one that stands for many of them.
/// Parity: `EventAggregatorByReasonFunc`.
pub(super) fn event_group(event: &Event) -> Uuid {
    digest(event, [])
}

fn digest<const N: usize>(event: &Event, said: [Option<&str>; N]) -> Uuid {
    let component = event.source.as_ref().and_then(|source| source.component.as_deref());
    let common = [
        event.involved_object.uid.as_deref(),
        event.reason.as_deref(),
        component.or(event.reporting_component.as_deref()),
        event.type_.as_deref(),
    ];
    let mut hash = Sha256::new();
    for part in common.into_iter().chain(said) {
        let part = part.unwrap_or_default();
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Parity: upstream's recorder names an Event after its object and the time, so that a list by name is one by time.
pub(super) fn event_name(event: &Event, nanos: i128) -> String {
    let name = event.involved_object.name.as_deref().unwrap_or_default();
    format!("{}.{nanos:x}", cut(name, SUBDOMAIN_MAX - 1 - EVENT_DIGITS))
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
