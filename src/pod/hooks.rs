//! Owns the running of lifecycle hooks, each in a task of its own. Never decides what follows from one: it enters how
//! far the hook is, and wakes the pod.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::check;
use super::core::Core;
use super::draft::KUBELET;
use super::facts::Note;
use super::hook::{Fact, Key, Progress};
use super::probe::Check;
use crate::model::event::Severity;

/// A postStart hook has no limit upstream; this one only bounds a task whose container never ends.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Begins a hook, unless it was begun before.
pub fn begin(core: &Arc<Core>, uid: &str, key: Key, container: String, check: Check, limit: Option<Duration>) {
    let fresh = core.memories.with(uid, |memory| {
        let fresh = !memory.hooks.contains_key(&key);
        let fact = Fact { begun: Timestamp::now(), progress: Progress::Running };
        memory.hooks.entry(key.clone()).or_insert(fact);
        fresh
    });
    if !fresh {
        return;
    }
    let (core_of_task, uid) = (Arc::clone(core), uid.to_owned());
    core.tasks.spawn(async move {
        let core = core_of_task;
        let run = check::hook(core.engine.as_ref(), &check, limit.unwrap_or(LONGEST));
        let Some(outcome) = core.stop.run_until_cancelled(run).await else { return };
        core.memories.known(&uid, |memory| {
            let Some(fact) = memory.hooks.get_mut(&key) else { return };
            let Err(words) = outcome else {
                fact.progress = Progress::Done;
                return;
            };
            fact.progress = Progress::Failed { words };
            let (reason, message) = key.hook.failure();
            let (severity, message) = (Severity::Warning, message.to_owned());
            memory.note(Note { component: KUBELET, severity, reason, message, container: Some(container) });
        });
        core.queue.add(uid);
    });
}
