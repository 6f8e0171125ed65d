//! PURE. Owns which of the images that jobdock pulled go when their disk is full, and what is said where that is not
//! enough. Never removes one: `collect` does. Never touches an image that somebody else brought.
//!
//! ```text
//!  disk at or over `high` --> unused ones, least recently used first --until `low`--> done
//!                                    \--not enough--> FreeDiskSpaceFailed
//! ```
//!
//! Parity: `image_gc_manager` of `pkg/kubelet/images`. Differs: switched off unless asked for, because a machine of one's
//! own holds images that its user wants to keep; and the kubelet takes any image.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::pressure::Reading;
use crate::runtime::ImageLine;
use crate::runtime::reference::Reference;

/// Pulled images that are remembered; of more, the least recently used are left to their user.
const MAX_REMEMBERED: usize = 500;
/// A threshold that is never reached: nothing is collected. Parity: the kubelet's.
pub const OFF: u8 = 100;

/// When images go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Percent of the disk in use at which collecting begins; [`OFF`] for never.
    pub high: u8,
    /// Percent of the disk in use down to which it goes.
    pub low: u8,
    /// A younger image stays: who pulled it may not have started yet.
    pub min_age: SignedDuration,
}

impl Default for Policy {
    /// Parity: the kubelet's `imageGCLowThresholdPercent` and `imageMinimumGCAge`.
    fn default() -> Self {
        Self { high: OFF, low: 80, min_age: SignedDuration::from_secs(120) }
    }
}

impl Policy {
    /// Whether anything is ever collected.
    pub fn is_on(&self) -> bool {
        self.high < OFF
    }

    /// What is wrong with it. Parity: the kubelet's words.
    pub fn check(&self) -> Result<(), String> {
        if self.is_on() && self.low >= self.high {
            return Err(format!(
                "--image-gc-low-threshold {} must be less than --image-gc-high-threshold {}",
                self.low, self.high
            ));
        }
        Ok(())
    }
}

/// What is remembered of one pulled image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// Names under which it was pulled.
    pub names: BTreeSet<String>,
    /// When it was first pulled.
    pub at: Timestamp,
    /// When it was last seen in use; when it was pulled, before that.
    pub used: Timestamp,
}

/// The images that jobdock pulled, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory(BTreeMap<String, Pulled>);

impl Memory {
    /// Enters a pull that brought an image.
    pub fn pulled(&mut self, id: &str, name: &str, now: Timestamp) {
        let fresh = || Pulled { names: BTreeSet::new(), at: now, used: now };
        let entry = self.0.entry(id.to_owned()).or_insert_with(fresh);
        entry.names.insert(name.to_owned());
        entry.used = now;
        while self.0.len() > MAX_REMEMBERED {
            let oldest = self.0.iter().min_by_key(|(_, one)| one.used).map(|(id, _)| id.clone());
            self.0.remove(&oldest.unwrap_or_default());
        }
    }

    /// Whether an image is one of these.
    pub fn holds(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Enters what is in use, and forgets what the engine no longer has.
    pub fn looked(&mut self, images: &[ImageLine], in_use: &BTreeSet<String>, now: Timestamp) {
        self.0.retain(|id, _| images.iter().any(|image| image.id == *id));
        for (_, one) in self.0.iter_mut().filter(|(id, _)| in_use.contains(*id)) {
            one.used = now;
        }
    }
}

/// An image that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its id.
    pub id: String,
    /// The names to take from it: those under which jobdock pulled it; its id where it has no name at all.
    pub names: Vec<String>,
    /// Bytes that it takes.
    pub bytes: u64,
}

/// The images that may go, in the order of their going. Each was pulled by jobdock, is old enough and in nobody's use.
pub fn victims(
    policy: &Policy,
    memory: &Memory,
    images: &[ImageLine],
    in_use: &BTreeSet<String>,
    now: Timestamp,
) -> Vec<Victim> {
    let mut all: Vec<(&Pulled, Victim)> = images
        .iter()
        .filter(|image| !in_use.contains(&image.id))
        .filter_map(|image| {
            let pulled = memory.0.get(&image.id)?;
            let old = now.duration_since(pulled.at) >= policy.min_age;
            let names = ours(image, pulled);
            let victim = Victim { id: image.id.clone(), names, bytes: image.bytes };
            (old && !victim.names.is_empty()).then_some((pulled, victim))
        })
        .collect();
    all.sort_by_key(|(pulled, victim)| (pulled.used, pulled.at, victim.id.clone()));
    all.into_iter().map(|(_, victim)| victim).collect()
}

/// Names that jobdock gave the image. A name that somebody else gave it keeps it.
fn ours(image: &ImageLine, pulled: &Pulled) -> Vec<String> {
    let whole = |name: &String| Reference::parse(name).map(|reference| reference.to_string()).ok();
    let known: BTreeSet<String> = pulled.names.iter().filter_map(whole).collect();
    let mine = |name: &&String| whole(name).is_some_and(|name| known.contains(&name));
    let place = |name: &String| Reference::parse(name).map(|reference| reference.name()).ok();
    let places: BTreeSet<String> = pulled.names.iter().filter_map(place).collect();
    let from_there = |name: &&String| place(name).is_some_and(|place| places.contains(&place));
    match (image.tags.is_empty(), image.digests.is_empty()) {
        (false, _) => image.tags.iter().filter(mine).cloned().collect(),
        // A tag that has moved on, or a pull by digest.
        (true, false) => image.digests.iter().filter(from_there).cloned().collect(),
        (true, true) => vec![image.id.clone()],
    }
}

/// Bytes to free, where the disk is too full; an error where its size makes no sense.
pub fn excess(policy: &Policy, disk: Reading) -> Result<Option<u64>, String> {
    if disk.capacity == 0 {
        return Err("invalid capacity 0 on image filesystem".to_owned());
    }
    let available = disk.available.min(disk.capacity);
    let share = |percent: u128| u64::try_from(u128::from(disk.capacity) * percent / 100).unwrap_or(u64::MAX);
    let free = u128::from(available) * 100 / u128::from(disk.capacity);
    let wanted = share(100 - u128::from(policy.low)).saturating_sub(available);
    Ok((100 - free >= u128::from(policy.high)).then_some(wanted))
}

/// What is said where too little could be freed.
pub fn shortfall(wanted: u64, freed: u64) -> String {
    format!(
        "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {freed} \
         bytes eligible to free."
    )
}

/// What is said where images could not be removed.
pub fn removal_failed(wanted: u64, freed: u64, errors: &[String]) -> String {
    let errors = errors.join(", ");
    format!("wanted to free {wanted} bytes, but freed {freed} bytes space with errors in image deletion: [{errors}]")
}
