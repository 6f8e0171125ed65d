//! PURE. Owns which bound pods have to leave because of the node's NoExecute taints, and when.
//! Never keeps new pods away: `fit` does.
//!
//! Parity: the taint eviction controller. Differs: it counts `tolerationSeconds` from when it first saw the taint, and
//! anew after a restart; here the taint is given its `timeAdded`, and the seconds are counted from there.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Taint;

use super::ledger::{Guest, Load, NodeSeen};
use super::taints::{self, NO_EXECUTE, Stay};

/// What the taints ask for.
#[derive(Debug, Default)]
pub struct Evictions {
    /// Pods that have to leave now.
    pub now: Vec<Arc<Guest>>,
    /// When the next has to.
    pub wake_at: Option<Timestamp>,
    /// Some may stay for a while, and nothing says since when the taint is there.
    pub undated: bool,
}

/// Which pods have to leave.
pub fn evictions(node: &NodeSeen, load: &Load, now: Timestamp) -> Evictions {
    let mut out = Evictions::default();
    if !node.taints.iter().any(|taint| taint.effect == NO_EXECUTE) {
        return out;
    }
    let dated = node.taints.iter().filter(|taint| taint.effect == NO_EXECUTE).map(|taint| taint.time_added.as_ref());
    let since: Option<Vec<Timestamp>> = dated.map(|time| time.map(|time| time.0)).collect();
    let since = since.and_then(|times| times.into_iter().max());
    for guest in load.guests().filter(|guest| guest.object.meta().deletion_timestamp.is_none()) {
        let Some(spec) = &guest.pod().spec else { continue };
        match (taints::stay(&node.taints, spec), since) {
            (Stay::Ever, _) => {}
            (Stay::Seconds(0), _) => out.now.push(Arc::clone(guest)),
            (Stay::Seconds(_), None) => out.undated = true,
            (Stay::Seconds(seconds), Some(since)) => match since.checked_add(SignedDuration::from_secs(seconds)) {
                Ok(at) if at <= now => out.now.push(Arc::clone(guest)),
                Ok(at) => out.wake_at = Some(out.wake_at.map_or(at, |known| known.min(at))),
                Err(_beyond_all_time) => {}
            },
        }
    }
    out
}

/// The taints with a time at each of those that send pods away.
pub fn dated(taints: &[Taint], now: Timestamp) -> Vec<Taint> {
    let mut taints = taints.to_vec();
    for taint in taints.iter_mut().filter(|taint| taint.effect == NO_EXECUTE) {
        taint.time_added.get_or_insert_with(|| crate::model::time::seconds(now));
    }
    taints
}
