//! PURE. Owns how a pod gets to run: what stands before each container (volumes, sandbox, configuration, image) and the
//! order of containers. Never stops anything.
//!
//! ```text
//!  init 1 -> init 2 -> sidecar (runs on) -> init 3 -> every main container
//!  each: back-off -> volumes -> sandbox -> files of variables -> configuration -> image -> created -> started
//! ```
//!
//! Parity: `computePodActions` and `SyncPod` of `pkg/kubelet/kuberuntime`, `EnsureImageExists` of `pkg/kubelet/images`.
//! Differs: the configuration is resolved before the image is pulled, so that a missing ConfigMap pulls nothing.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::devices::DevicesFact;
use super::draft::{Draft, Novelty};
use super::environment::environment;
use super::facts::{Action, Attempt, StartStep, VolumesFact};
use super::mounts::Root;
use super::restart::Role;
use super::tracks::State;
use super::{backoff, devices, env_file, health, hosts, plan, pulls, resize, spec, status, tokens, volumes_plan};
use crate::model::event::Severity;
use crate::model::go_text;
use crate::runtime::{ContainerSpec, DeviceSpec, Seen};

/// How often something that nobody announces is looked for: an image that is never pulled, a mended configuration.
pub const RETRY: SignedDuration = SignedDuration::from_secs(10);

/// Starts whatever may start now.
pub fn run(draft: &mut Draft<'_>) {
    if let Some(at) = plan::deadline(draft) {
        draft.wake(at);
    }
    refresh(draft);
    // A pod that runs from an earlier life of the agent has a file that is to be kept up to date again.
    hosts_stand(draft);
    let initialized = draft.initialized();
    for index in 0..draft.tracks.len() {
        let go_on = match draft.tracks[index].role {
            Role::Init if initialized => true,
            Role::Init => draft.tracks[index].succeeded() || step(draft, index),
            Role::Sidecar => step(draft, index) || initialized,
            // One main container never waits for another, but for its postStart hook. Parity: the kubelet starts them
            // in order, each with its hook.
            Role::Main => {
                step(draft, index);
                !draft.outcome.hooked.contains(&draft.tracks[index].spec.name)
            }
        };
        if !go_on {
            return;
        }
    }
}

/// The pod's sandbox cannot be made, and may be later: nobody announces that.
pub fn no_sandbox(draft: &mut Draft<'_>, why: &str) {
    let text = format!("Failed to create pod sandbox: {why}");
    let ordinary = status::ordinary_wait(draft.spec);
    let news: Vec<Novelty> =
        (0..draft.tracks.len()).map(|index| draft.wait(index, ordinary, Some(text.clone()))).collect();
    if news.iter().any(|novelty| *novelty != Novelty::Same) {
        draft.note(Severity::Warning, "FailedCreatePodSandBox", text, None);
    }
    draft.wake(draft.now + RETRY);
}

/// What running containers see of ConfigMaps, Secrets and the pod's own fields follows these; tokens are replaced before
/// they end.
fn refresh(draft: &mut Draft<'_>) {
    let at = draft.facts.tokens_due;
    if let Some(at) = at.filter(|at| *at > draft.now) {
        draft.wake(at);
    }
    let due = at.is_some_and(|at| at <= draft.now);
    let files = draft.spec.volumes.iter().flatten().any(volumes_plan::is_files);
    let changed = files && !draft.facts.files_fresh && !draft.running().is_empty();
    if !(due || changed) || matches!(draft.facts.volumes, VolumesFact::Failed { .. }) {
        return;
    }
    let ip = status::pod_ip(draft.facts, draft.spec).unwrap_or_default();
    let work = volumes_plan::refreshed(draft.context(&ip));
    draft.act(Action::RefreshFiles(work));
}

/// The volume of the engine that something lies in.
fn in_engine(root: &Root) -> Option<&str> {
    match root {
        Root::Engine(name) => Some(name),
        Root::Host(_) | Root::Sandbox(..) | Root::Image(_) => None,
    }
}

/// The container through which these volumes of the engine are reached, where there are any.
fn holder(draft: &Draft<'_>, volumes: BTreeSet<&str>) -> Option<ContainerSpec> {
    let image = draft.facts.sandbox_image.as_deref().unwrap_or_default();
    (!volumes.is_empty()).then(|| volumes_plan::holder(draft.pod(), image, volumes))
}

/// A pod that holds a token and cannot use it should know.
fn tell_unreachable(draft: &mut Draft<'_>) {
    let holds = tokens::of_pod(draft.spec).any(|(audience, _)| audience.is_empty());
    if holds && draft.facts.node.api.from_pod(draft.spec).is_none() {
        let text = "the pod has a service account token, but the API cannot be reached from its network: start jobdock \
                    serve with --also-listen and an address that containers can reach, or set hostNetwork";
        draft.note(Severity::Warning, "APIUnreachable", text.to_owned(), None);
    }
}

/// Brings one container nearer to running; says whether it runs. An init container that runs is not over yet, so
/// nothing after it starts.
fn step(draft: &mut Draft<'_>, index: usize) -> bool {
    let track = &draft.tracks[index];
    let attempt = track.attempt;
    match &track.state {
        State::Running(..) => resize::tend(draft, index) && health::tend(draft, index),
        State::Settling(_) => false,
        State::Waiting => {
            begin(draft, index, attempt);
            false
        }
        State::Created(_) => {
            begin(draft, index, attempt);
            false
        }
        State::Ended(end) => {
            if track.over(draft.spec) {
                return false;
            }
            let ended = end.at.min(draft.now);
            let at = backoff::restart_at(draft.restarts().get(&track.spec.name), attempt, ended);
            if at > draft.now {
                crash_loop(draft, index, at.duration_since(ended), at);
            } else {
                if let Some(words) = health::post_start_failure(draft, index) {
                    draft.wait(index, "PostStartHookError", Some(words));
                }
                begin(draft, index, attempt + 1);
            }
            false
        }
    }
}

fn crash_loop(draft: &mut Draft<'_>, index: usize, delay: SignedDuration, at: Timestamp) {
    let name = draft.tracks[index].spec.name.clone();
    let pod = spec::pod_text(draft.pod());
    let message = format!("back-off {} restarting failed container={name} pod={pod}", go_text::duration(delay));
    if draft.wait(index, "CrashLoopBackOff", Some(message)) == Novelty::New {
        let text = format!("Back-off restarting failed container {name} in pod {pod}");
        draft.note(Severity::Warning, "BackOff", text, Some(&name));
    }
    draft.wake(at);
}

/// Takes one run as far as the facts allow.
fn begin(draft: &mut Draft<'_>, index: usize, attempt: u32) {
    if held_back(draft, index) || !volumes_stand(draft) || !sandbox_stands(draft) || !hosts_stand(draft) {
        return;
    }
    let track = &draft.tracks[index];
    let run = Attempt { container: track.spec.name.clone(), number: attempt };
    let message_file = Some(spec::message_file(&draft.facts.node.pod_dir, &run));
    if let State::Created(seen) = &track.state {
        let name = seen.name.clone();
        draft.act(Action::Start { attempt: run, create: None, name, message_file, parts: Box::default() });
        return;
    }
    if !env_files_stand(draft, index, &run) {
        return;
    }
    let track = &draft.tracks[index];
    let ip = status::pod_ip(draft.facts, draft.spec).unwrap_or_default();
    let context = draft.context(&ip);
    let env = match environment(context, track.spec) {
        Ok(env) => env,
        Err(message) => return misconfigured(draft, index, message),
    };
    // Both, so that they are pulled side by side.
    let volumes = pulls::of_volumes(draft, index);
    let Some((image, pulled)) = pulls::of_container(draft, index, &run) else { return };
    let Some(present) = volumes else { return };
    let context = draft.context(&ip);
    match spec::container(context, draft.spec, draft.tracks[index].spec, &run, &env, &image) {
        Ok((mut create, parts)) => {
            create.devices = given(draft, index);
            pulls::tell_platform(draft, index, &image);
            present.into_iter().for_each(|image| draft.note(Severity::Normal, "Pulled", pulls::present(&image), None));
            let volumes = parts.iter().filter_map(|part| in_engine(&part.root)).collect();
            let holder = holder(draft, volumes);
            let parts = Box::new((parts, holder));
            let name = create.name.clone();
            if attempt > 0 {
                draft.enter_restart(&run.container, attempt);
            }
            if !pulled {
                draft.note(Severity::Normal, "Pulled", pulls::present(&create.image), Some(&run.container));
            }
            draft.act(Action::Start { attempt: run, create: Some(Box::new(create)), name, message_file, parts });
        }
        Err(message) => misconfigured(draft, index, message),
    }
}

/// The files that the run's variables come from were read: right before it, for what ran until now may have written them.
fn env_files_stand(draft: &mut Draft<'_>, index: usize, run: &Attempt) -> bool {
    let files = env_file::files(draft.pod(), draft.tracks[index].spec);
    let read = draft.facts.sources.env_files.get(&run.container);
    let fresh = read.is_some_and(|read| read.number == run.number && read.at + RETRY > draft.now);
    if files.is_empty() || fresh {
        return true;
    }
    let volumes = files.iter().filter_map(|file| in_engine(&file.root)).collect();
    let holder = holder(draft, volumes).map(Box::new);
    draft.act(Action::ReadEnvFiles { attempt: run.clone(), files, holder });
    false
}

/// What a container has of the pod's devices.
fn given(draft: &Draft<'_>, index: usize) -> Vec<DeviceSpec> {
    match &draft.facts.devices {
        DevicesFact::Assigned(own) => {
            devices::of_container(draft.spec, draft.tracks[index].spec, own, &draft.facts.node)
        }
        DevicesFact::Unassigned | DevicesFact::Short(_) => Vec::new(),
    }
}

/// An earlier try failed and it is not time yet.
fn held_back(draft: &mut Draft<'_>, index: usize) -> bool {
    let name = draft.tracks[index].spec.name.clone();
    let Some(failure) = draft.facts.failures.get(&name) else { return false };
    let reason = match failure.step {
        StartStep::Configure => "CreateContainerConfigError",
        StartStep::Create => "CreateContainerError",
        StartStep::Start => "RunContainerError",
    };
    let (retry_at, message) = (failure.retry_at, failure.message.clone());
    if draft.wait(index, reason, Some(message.clone())) != Novelty::Same {
        draft.note(Severity::Warning, "Failed", format!("Error: {message}"), Some(&name));
    }
    if retry_at <= draft.now {
        return false;
    }
    draft.wake(retry_at);
    true
}

fn volumes_stand(draft: &mut Draft<'_>) -> bool {
    let prepare = match draft.facts.volumes {
        VolumesFact::Ready => return true,
        VolumesFact::Unknown => true,
        VolumesFact::Failed { retry_at } => {
            draft.wake(retry_at);
            retry_at <= draft.now
        }
    };
    let image = draft.facts.sandbox_image.as_deref();
    match image.or_else(|| (!volumes_plan::reaches_into_volumes(draft.pod())).then_some("")) {
        Some(image) if prepare => {
            let ip = status::pod_ip(draft.facts, draft.spec).unwrap_or_default();
            let work = volumes_plan::work(draft.context(&ip), image);
            tell_unreachable(draft);
            draft.act(Action::PrepareVolumes(work));
        }
        Some(_) => {}
        None => prepare_sandbox_image(draft),
    }
    false
}

/// The sandbox runs, or the pod needs none.
fn sandbox_stands(draft: &mut Draft<'_>) -> bool {
    if let Some(message) = hosts::unusable_name(draft.pod(), draft.spec) {
        let text = format!("Failed to create pod sandbox: {message}");
        draft.note(Severity::Warning, "FailedCreatePodSandBox", text, None);
        draft.wake(draft.now + RETRY);
        return false;
    }
    if !spec::sandboxed(draft.spec, &draft.facts.node) {
        return true;
    }
    match draft.sandbox().map(|seen| (&seen.state, seen.name.clone())) {
        Some((Seen::Running { .. }, _)) => return true,
        Some((Seen::Exited { .. } | Seen::Dead, name)) => {
            draft.act(Action::RemoveContainer { name });
            return false;
        }
        Some((Seen::Created { .. }, _)) | None => {}
    }
    if let Some(failure) = draft.facts.failures.get("").filter(|failure| failure.retry_at > draft.now) {
        draft.wake(failure.retry_at);
        return false;
    }
    match &draft.facts.sandbox_image {
        Some(image) => {
            let sandbox = spec::sandbox(draft.pod(), draft.spec, &draft.facts.node, image);
            draft.act(Action::StartSandbox(Box::new(sandbox)));
        }
        None => prepare_sandbox_image(draft),
    }
    false
}

/// The hosts file says what it should of the pod, or the pod has the engine's.
fn hosts_stand(draft: &mut Draft<'_>) -> bool {
    let facts = draft.facts;
    let shared = draft.spec.host_network == Some(true);
    if facts.node.hosts_file.is_none() {
        return true;
    }
    if !shared && !draft.sandbox().is_some_and(|seen| matches!(seen.state, Seen::Running { .. })) {
        return false;
    }
    let ip = status::pod_ip(facts, draft.spec).unwrap_or_default();
    let head = hosts::head(draft.pod(), draft.spec, &facts.node, &ip, facts.machine_hosts.as_deref());
    let stands = facts.hosts_head.as_ref() == Some(&head);
    if !stands {
        draft.act(Action::WriteHosts { head });
    }
    stands
}

/// Makes sure of the image, unless that failed just now.
fn prepare_sandbox_image(draft: &mut Draft<'_>) {
    match draft.facts.failures.get("").filter(|failure| failure.retry_at > draft.now) {
        Some(failure) => draft.wake(failure.retry_at),
        None => draft.act(Action::PrepareSandboxImage),
    }
}

fn misconfigured(draft: &mut Draft<'_>, index: usize, message: String) {
    let name = draft.tracks[index].spec.name.clone();
    if draft.wait(index, "CreateContainerConfigError", Some(message.clone())) != Novelty::Same {
        draft.note(Severity::Warning, "Failed", format!("Error: {message}"), Some(&name));
    }
    draft.wake(draft.now + RETRY);
}
