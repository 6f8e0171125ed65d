//! PURE. Owns which pods of lower priority make room for one that waits.
//! Never deletes any: `apply` does.
//!
//! Parity: the DefaultPreemption plugin (`PodEligibleToPreemptOthers`, `SelectVictimsOnNode`), for one node and without
//! disruption budgets. Pods that may only be disrupted together (`disruptionMode.all`) are one victim.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::fit::{self, Misfit};
use super::ledger::{Guest, Load, NodeSeen};
use super::neighbours::Namespaces;

/// What is said where the room that is missing is nobody's to give.
const HELPLESS: &str = "0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
/// What is said where everybody is at least as important.
const NO_VICTIMS: &str = "0/1 nodes are available: 1 No preemption victims found for incoming pod.";
/// What is said to a pod that does not want it.
const NEVER: &str = "not eligible due to preemptionPolicy=Never.";
/// What is said while victims are still ending.
const UNDER_WAY: &str = "not eligible due to a terminating pod on the nominated node.";

/// What comes of looking for victims.
#[derive(Debug)]
pub enum Preemption {
    /// These have to go.
    Victims(Vec<Arc<Guest>>),
    /// Enough of them are going already; with what is said of it.
    UnderWay(&'static str),
    /// Nothing; with what is said of it.
    Nothing(String),
}

/// What a pod is told that nobody makes room for.
pub fn hopeless(misfit: &Misfit) -> &'static str {
    if misfit.resolvable { NO_VICTIMS } else { HELPLESS }
}

/// Looks for pods that make room for `guest`, which does not fit beside `load`; `doomed` are going already, and those of
/// an `inseparable` Job stay or go together.
pub fn preempt(
    node: &NodeSeen,
    spaces: &Namespaces,
    load: &Load,
    doomed: &HashSet<String>,
    inseparable: &HashSet<String>,
    guest: &Guest,
    misfit: &Misfit,
) -> Preemption {
    let spec = guest.pod().spec.as_ref();
    if spec.is_some_and(|spec| spec.preemption_policy.as_deref() == Some("Never")) {
        return Preemption::Nothing(NEVER.to_owned());
    }
    let mut lesser: Vec<Arc<Guest>> = load.guests().filter(|other| other.priority < guest.priority).cloned().collect();
    if !misfit.resolvable || lesser.is_empty() {
        return Preemption::Nothing(hopeless(misfit).to_owned());
    }
    let misfit = |load: &Load| fit::misfit(node, spaces, load, guest.pod(), &guest.demand);
    let going = |other: &Guest| other.object.meta().deletion_timestamp.is_some() || doomed.contains(other.object.uid());
    let mut rest = load.clone();
    for other in lesser.iter().filter(|other| going(other)) {
        rest.remove(other.object.uid());
    }
    if rest.count() < load.count() && misfit(&rest).is_none() {
        return Preemption::UnderWay(UNDER_WAY);
    }
    lesser.retain(|other| !going(other));
    for other in &lesser {
        rest.remove(other.object.uid());
    }
    if let Some(still) = misfit(&rest) {
        return Preemption::Nothing(still.message(""));
    }
    // The important ones first, each stays if there is room for it all the same.
    let mut units = units(lesser, inseparable);
    units.sort_by_key(|unit| {
        let importance = unit.iter().map(|other| other.priority).max();
        (std::cmp::Reverse(importance), unit.iter().map(|other| started(other)).min())
    });
    units.retain(|unit| {
        unit.iter().for_each(|other| rest.add(other));
        let stays = misfit(&rest).is_none();
        if !stays {
            unit.iter().for_each(|other| drop(rest.remove(other.object.uid())));
        }
        !stays
    });
    Preemption::Victims(units.into_iter().flatten().collect())
}

/// Pods by what is disrupted at once: those of an inseparable Job, or one alone.
fn units(guests: Vec<Arc<Guest>>, inseparable: &HashSet<String>) -> Vec<Vec<Arc<Guest>>> {
    let mut units: BTreeMap<String, Vec<Arc<Guest>>> = BTreeMap::new();
    for guest in guests {
        let job = guest.owner.as_ref().filter(|owner| inseparable.contains(*owner));
        let unit = job.map_or_else(|| guest.object.uid().to_owned(), Clone::clone);
        units.entry(unit).or_default().push(guest);
    }
    units.into_values().collect()
}

/// Who has run for longer is more important.
fn started(guest: &Guest) -> Option<jiff::Timestamp> {
    guest.pod().status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0)
}
