//! Owns the tasks that carry out probes and hooks: one for each that is at work, in step with its period, a bounded
//! number of looks at a time. Never decides what a result means: it enters what the results come to, and wakes the pod.
//!
//! ```text
//!  Action::Probe --> (early look) --> look, count, enter --period--> look ... until it is settled for good, ended, or
//!                                                                    the run is forgotten
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::check;
use super::core::Core;
use super::draft::KUBELET;
use super::facts::{Note, ProbeFact};
use super::probe::{self, Outcome, Tally, Watch};
use crate::model::event::Severity;

/// Looks under way at once: each holds a connection or a command in the engine.
const LOOKS: usize = 64;

/// What is at work.
pub struct Probers {
    looks: Semaphore,
    tasks: Mutex<HashMap<(String, probe::Key), AbortHandle>>,
}

impl Default for Probers {
    fn default() -> Self {
        Self { looks: Semaphore::new(LOOKS), tasks: Mutex::default() }
    }
}

impl Probers {
    /// Ends every probe of a run that is gone.
    pub fn end_run(&self, uid: &str, name: &str) {
        self.lock().retain(|(of, key), task| {
            let gone = of == uid && key.name == name;
            if gone {
                task.abort();
            }
            !gone
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, probe::Key), AbortHandle>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a probe, once for each run and kind.
pub fn begin(core: &Arc<Core>, uid: &str, watch: Watch) {
    let fact = ProbeFact { working: true, result: None };
    let fresh = core.memories.with(uid, |memory| {
        let fresh = !memory.probes.contains_key(&watch.key);
        memory.probes.entry(watch.key.clone()).or_insert(fact);
        fresh
    });
    if !fresh {
        return;
    }
    let id = (uid.to_owned(), watch.key.clone());
    let core_of_task = Arc::clone(core);
    // Held over the spawn, so that a task that ends at once finds its entry.
    let mut tasks = core.probers.lock();
    let of = id.clone();
    let task = core.tasks.spawn(async move {
        let core = core_of_task;
        core.stop.run_until_cancelled(work(&core, &of.0, &watch)).await;
        at_rest(&core, &of.0, &of.1);
        core.probers.lock().remove(&of);
    });
    tasks.insert(id, task.abort_handle());
}

/// Ends a probe; what it has come to stays. Nothing where it has ended.
pub fn end(core: &Core, uid: &str, key: &probe::Key) {
    if let Some(task) = core.probers.lock().remove(&(uid.to_owned(), key.clone())) {
        task.abort();
    }
    at_rest(core, uid, key);
}

fn at_rest(core: &Core, uid: &str, key: &probe::Key) {
    core.memories.known(uid, |memory| {
        if let Some(fact) = memory.probes.get_mut(key) {
            fact.working = false;
        }
    });
}

async fn work(core: &Arc<Core>, uid: &str, watch: &Watch) {
    let mut tally = Tally::default();
    if watch.resumed {
        tokio::time::sleep(watch.period.mul_f64(rand::random())).await;
    } else if let Some(early) = watch.early {
        tokio::time::sleep(until(early)).await;
        let outcome = look(core, watch).await;
        if outcome == Outcome::Success && enter(core, uid, watch, &mut tally, outcome) {
            return;
        }
    }
    tokio::time::sleep(until(watch.first)).await;
    let mut ticks = tokio::time::interval(watch.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let outcome = look(core, watch).await;
        if enter(core, uid, watch, &mut tally, outcome) {
            return;
        }
    }
}

fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}

async fn look(core: &Core, watch: &Watch) -> Outcome {
    // The semaphore is never closed.
    let _permit = core.probers.looks.acquire().await;
    check::probe(core.engine.as_ref(), &watch.check, watch.timeout).await
}

/// Counts an outcome and enters what it comes to; says whether the probe is over.
fn enter(core: &Core, uid: &str, watch: &Watch, tally: &mut Tally, outcome: Outcome) -> bool {
    let title = watch.key.kind.title();
    let (well, said) = match outcome {
        Outcome::Success => (Some(true), None),
        Outcome::Warning { words } => (Some(true), Some(("ProbeWarning", format!("{title} probe warning: {words}")))),
        Outcome::Failure { words } => (Some(false), Some(("Unhealthy", format!("{title} probe failed: {words}")))),
        Outcome::Unknown { words } => {
            (None, Some(("Unhealthy", format!("{title} probe errored and resulted in unknown state: {words}"))))
        }
    };
    let result = well.and_then(|well| tally.count(well, watch));
    let container = Some(watch.container.clone());
    let note = said.map(|(reason, message)| Note {
        component: KUBELET,
        severity: Severity::Warning,
        reason,
        message,
        container,
    });
    let entered = core.memories.known(uid, |memory| {
        let fact = memory.probes.get_mut(&watch.key)?;
        let news = (result.is_some() && fact.result != result) || note.is_some();
        fact.result = result.or(fact.result);
        note.into_iter().for_each(|note| memory.note(note));
        Some(news)
    });
    match entered.flatten() {
        None => true,
        Some(news) => {
            if news {
                core.queue.add(uid.to_owned());
            }
            result.is_some_and(|well| probe::settled_for_good(watch.key.kind, well))
        }
    }
}
