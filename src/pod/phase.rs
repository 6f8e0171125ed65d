//! PURE. Owns a pod's phase, as it follows from its container statuses. Never looks at the engine.
//!
//! ```text
//!  Pending --every container started--> Running --all ended for good--> Succeeded | Failed   (never left again)
//! ```
//!
//! Parity: `getPhase` of `pkg/kubelet/kubelet_pods.go`.

use k8s_openapi::api::core::v1::{ContainerStatus, PodSpec};

use super::restart::{self, Role};
pub use crate::model::phase::terminal;

#[derive(Default)]
struct Counts {
    init_pending: bool,
    init_failed: bool,
    main_started: bool,
    sidecar_pending: bool,
    unknown: u32,
    running: u32,
    waiting: u32,
    stopped: u32,
    stopped_for_good: u32,
    succeeded: u32,
}

/// The phase of a pod with these statuses (main containers and init containers together). `ending` says that nothing
/// will be started again, whatever the policies say; `again` names what will be, whatever they say.
pub fn phase(
    spec: &PodSpec,
    statuses: &[&ContainerStatus],
    ending: bool,
    again: impl Fn(&str) -> bool,
) -> &'static str {
    let counts = count(spec, statuses, again);
    if counts.init_failed {
        return "Failed";
    }
    if counts.init_pending
        || (counts.sidecar_pending && !counts.main_started)
        || counts.waiting > 0
        || counts.unknown > 0
    {
        return "Pending";
    }
    if counts.running > 0 {
        return "Running";
    }
    if counts.stopped == 0 {
        return "Pending";
    }
    if !ending && counts.stopped != counts.stopped_for_good {
        return "Running";
    }
    if counts.stopped == counts.succeeded { "Succeeded" } else { "Failed" }
}

fn count(spec: &PodSpec, statuses: &[&ContainerStatus], again: impl Fn(&str) -> bool) -> Counts {
    let mut counts = Counts::default();
    for (role, container) in restart::containers(spec) {
        let status = statuses.iter().find(|status| status.name == container.name);
        let state = status.and_then(|status| status.state.as_ref());
        let running = state.is_some_and(|state| state.running.is_some());
        let code = state.and_then(|state| state.terminated.as_ref()).map(|end| end.exit_code);
        let last = status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref()).map(|end| end.exit_code);
        let for_good = |code: i32| !again(&container.name) && !restart::restarts(spec, role, container, code);
        match role {
            Role::Init => match code.or(last.filter(|_| !running)) {
                Some(0) => {}
                Some(code) => counts.init_failed |= for_good(code),
                None => counts.init_pending = true,
            },
            Role::Sidecar => match (running, code.or(last)) {
                (true, _) => {
                    counts.running += 1;
                    counts.sidecar_pending |= status.is_some_and(|status| status.started != Some(true));
                }
                (false, Some(_)) => {}
                (false, None) => {
                    counts.sidecar_pending = true;
                    counts.waiting += 1;
                }
            },
            Role::Main if status.is_none() => counts.unknown += 1,
            Role::Main if running => {
                counts.running += 1;
                counts.main_started = true;
            }
            Role::Main => match code.or(last) {
                Some(ended) => {
                    counts.main_started = true;
                    counts.stopped += 1;
                    counts.stopped_for_good += u32::from(for_good(ended));
                    counts.succeeded += u32::from(code == Some(0));
                }
                None => counts.waiting += 1,
            },
        }
    }
    counts
}
