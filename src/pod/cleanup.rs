//! PURE. Owns what is put away and when: logs are kept to their end, then dead containers go, then volumes, and at last
//! a deleted pod itself. Never removes what is not recorded.
//!
//! ```text
//!  ended, recorded --log complete--> container removed --all removed--> volumes removed --deleted--> object removed
//! ```

use super::draft::Draft;
use super::facts::{Action, Attempt};
use super::names;
use super::tracks::State;
use super::volumes_plan;

/// Sees to it that the output of every run is copied, and removes containers of runs that are recorded and copied.
pub fn logs(draft: &mut Draft<'_>) {
    for index in 0..draft.tracks.len() {
        let track = &draft.tracks[index];
        let name = track.spec.name.clone();
        let mut kept: Vec<(Attempt, String, bool)> = track
            .old
            .iter()
            .filter_map(|seen| {
                let (_, number) = names::identity(seen)?;
                Some((Attempt { container: name.clone(), number }, seen.name.clone(), true))
            })
            .collect();
        let run = track.run();
        match &track.state {
            State::Waiting | State::Created(_) => {}
            State::Running(seen, _) | State::Settling(seen) => kept.push((run, seen.name.clone(), false)),
            State::Ended(end) => {
                let engine_name = names::container(draft.uid(), &run.container, run.number);
                let engine_name = end.seen.map_or(engine_name, |seen| seen.name.clone());
                kept.push((run, engine_name, end.recorded && end.seen.is_some()));
            }
        }
        for (run, name, removable) in kept {
            if !draft.facts.logs_finished.contains(&run) {
                if !draft.facts.logs_followed.contains(&run) {
                    draft.act(Action::FollowLogs { attempt: run, name });
                }
            } else if removable {
                draft.act(Action::RemoveContainer { name });
            }
        }
    }
}

/// A pod whose phase is final: what is left of it goes.
pub fn over(draft: &mut Draft<'_>) {
    draft.outcome.ending = true;
    // Nothing of it should run or be about to; where something does, somebody else ended the pod.
    for index in 0..draft.tracks.len() {
        let stray = match &draft.tracks[index].state {
            State::Running(seen, _) | State::Created(seen) => Some(seen.name.clone()),
            State::Waiting | State::Settling(_) | State::Ended(_) => None,
        };
        if let Some(name) = stray {
            draft.act(Action::RemoveContainer { name });
        }
    }
    // The sandbox last: podman removes none whose namespaces others share.
    if draft.facts.containers.iter().all(|seen| names::identity(seen).is_none()) {
        for seen in &draft.facts.containers {
            draft.act(Action::RemoveContainer { name: seen.name.clone() });
        }
    }
    if !draft.facts.containers.is_empty() {
        return;
    }
    if draft.facts.has_data {
        let engine_volumes = volumes_plan::engine_volumes(draft.pod());
        draft.act(Action::RemoveData { engine_volumes });
        return;
    }
    let meta = &draft.pod().metadata;
    if meta.deletion_timestamp.is_some() && meta.deletion_grace_period_seconds != Some(0) {
        draft.act(Action::FinishDeletion);
    }
}
