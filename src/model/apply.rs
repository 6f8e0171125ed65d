//! Owns who owns which field: `metadata.managedFields`, and server-side apply, which is decided by them.
//! Never admits an object: `admit` decodes, defaults and validates what comes out of here.
//!
//! ```text
//!  create, update, patch:  compare(live, new) --> the writer owns what it changed, others lose it
//!  apply:  merge(live, config) --> prune what the applier owned, no longer names, and nobody else owns
//!            --> compare(live, merged): what others own and this changes is a conflict (or is taken, by force)
//! ```
//!
//! `path` and `set` are the sets of fields and their text, `shape` says how a type's values are divided, `walk` compares,
//! merges and prunes values by it, `check` finds what does not fit, `managers` reads and writes `managedFields`, `track`
//! and `merge` are the two rules above.
//!
//! Parity: structured-merge-diff v6 and apimachinery's `util/managedfields`. Differs: what jobdock's own controllers write
//! into the store (a pod made for a Job, any status) has no manager; it is nobody's until an API client changes it.

mod check;
mod managers;
mod merge;
mod path;
mod set;
mod shape;
mod track;
mod walk;

pub use self::managers::{MANAGER_MAX, manager_name};
pub use self::merge::{Applied, Apply, ApplyError, Cause, apply, read};
pub use self::track::{settled, track};

use jiff::Timestamp;

use super::admit::Part;
use super::kind::Kind;
use set::Set;

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager; empty for one that did not say.
    pub name: &'a str,
    /// The time of the write.
    pub now: Timestamp,
}

/// What is never anybody's: the server sets it.
/// Parity: `stripMetaManager`.
fn stripped() -> Set {
    let mut set = Set::default();
    for path in ["apiVersion", "kind", "metadata"] {
        set.insert(&[path]);
    }
    let server = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    for field in server {
        set.insert(&["metadata", field]);
    }
    set
}

/// What a write to this part of an object cannot change, so that it owns none of it.
/// Parity: each strategy's `GetResetFields`.
fn ignored(kind: &Kind, part: Part) -> Set {
    let mut set = Set::default();
    match part {
        Part::Main if kind.status => set.insert(&["status"]),
        Part::Main => {}
        Part::Finalizers | Part::Resize => set.insert(&["status"]),
        Part::Status => {
            set.insert(&["spec"]);
            if kind.kind == "Pod" {
                set.insert(&["metadata", "deletionTimestamp"]);
                set.insert(&["metadata", "ownerReferences"]);
            }
        }
    }
    set
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
