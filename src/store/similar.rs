//! Owns the bound on Events of one object that say much the same: their messages hold ids or times, so that each is new.
//! Never keeps an Event, and nothing over a restart: then the count begins anew, as upstream's does.
//!
//! ```text
//!  messages of one (object, reason): 1st to 9th --> an Event each
//!                                    from the 10th --> one Event that tells the newest, until 10 minutes are quiet
//! ```
//!
//! Parity: `EventAggregator` of client-go's `events_cache.go`.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// From this many different messages on they are combined. Parity: `defaultAggregateMaxEvents`.
const MOST: usize = 10;
/// Silence after which they are told one by one again. Parity: `defaultAggregateIntervalInSeconds`.
const QUIET: SignedDuration = SignedDuration::from_mins(10);
/// Groups that are remembered. Parity: `maxLruCacheEntries`.
const GROUPS: usize = 4096;
/// What the one Event's message begins with.
pub(super) const COMBINED: &str = "(combined from similar events): ";

/// What was said lately, and when the newest Event was named.
#[derive(Default)]
pub(super) struct Similar {
    groups: HashMap<Uuid, Group>,
    newest: i128,
}

struct Group {
    said: HashSet<Uuid>,
    last: Timestamp,
}

impl Similar {
    /// Whether this message of its group is one of too many.
    pub(super) fn too_many(&mut self, group: Uuid, said: Uuid, now: Timestamp) -> bool {
        let quiet = |group: &Group| now.duration_since(group.last) > QUIET;
        if self.groups.len() >= GROUPS && !self.groups.contains_key(&group) {
            self.groups.retain(|_, group| !quiet(group));
            if self.groups.len() >= GROUPS {
                self.groups.clear();
            }
        }
        let group = self.groups.entry(group).or_insert_with(|| Group { said: HashSet::new(), last: now });
        if quiet(group) {
            group.said.clear();
        }
        group.last = now;
        let many = group.said.len() + 1 >= MOST && !group.said.contains(&said);
        if !many {
            group.said.insert(said);
        }
        many
    }

    /// The time in nanoseconds by which a new Event is named: later than every one before.
    pub(super) fn stamp(&mut self, now: Timestamp) -> i128 {
        self.newest = now.as_nanosecond().max(self.newest + 1);
        self.newest
    }
}
