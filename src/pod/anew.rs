//! PURE. Owns a pod that begins anew in its place: a container ended as a rule with the action RestartAllContainers says.
//! Never starts anything: once all have ended, `start` goes through them from the first init container.
//!
//! ```text
//!  one ended by the rule --marks kept with its end--> the others killed, no preStop --all ended, recorded--> Run
//! ```
//!
//! Parity: KEP-5532, on by default since 1.36.

use super::draft::Draft;
use super::facts::Action;
use super::restart;
use super::tracks::{State, Track};
use crate::model::event::Severity;

/// The pod is to begin anew, or its old containers have not all ended yet.
pub fn due(draft: &Draft<'_>) -> bool {
    draft.tracks.iter().any(asks) || ending(draft)
}

/// Its end asks for the whole pod, and nothing was done about that yet.
fn asks(track: &Track<'_>) -> bool {
    !track.again
        && track.end().is_some_and(|end| !end.disrupted && restart::restarts_all(track.spec, end.terminated.exit_code))
}

/// Some container of the life before has not ended, or its end is not recorded.
pub fn ending(draft: &Draft<'_>) -> bool {
    draft.tracks.iter().any(|track| {
        track.with_all
            && match &track.state {
                State::Running(..) | State::Settling(_) => true,
                State::Ended(end) => !end.recorded,
                State::Waiting | State::Created(_) => false,
            }
    })
}

/// Marks every container that has run, and ends those that do.
pub fn begin_anew(draft: &mut Draft<'_>) {
    draft.outcome.anew = true;
    for index in 0..draft.tracks.len() {
        let track = &draft.tracks[index];
        let (container, attempt, marked) = (track.spec.name.clone(), track.attempt, track.with_all);
        let running = match &track.state {
            State::Waiting => continue,
            State::Created(seen) => {
                let name = seen.name.clone();
                draft.act(Action::RemoveContainer { name });
                continue;
            }
            State::Running(seen, _) => Some(seen.name.clone()),
            State::Settling(_) | State::Ended(_) => None,
        };
        if !marked {
            draft.enter_again(&container, attempt, true);
        }
        let Some(name) = running.filter(|name| !draft.facts.killed.contains(name)) else { continue };
        if !marked {
            draft.note(Severity::Normal, "Killing", format!("Stopping container {container}"), Some(&container));
        }
        draft.act(Action::Kill { name });
    }
}
