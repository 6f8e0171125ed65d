//! PURE. Owns what a lifecycle hook does and what is told where it fails. Never runs one: `hooks` does.
//!
//! ```text
//!  started --> postStart running --> done | failed (the container is stopped)
//!  to be stopped --> preStop running --> done | failed | out of time --> its stop signal
//! ```
//!
//! A hook that ran when the agent ended is told as the kubelet tells it: a postStart is taken for done, since the
//! container runs; a preStop is run again.
//!
//! Parity: `pkg/kubelet/lifecycle/handlers.go`, `startContainer` and `executePreStopHook` of `pkg/kubelet/kuberuntime`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use super::probe::{self, Check, Target};

/// Which of a container's hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Runs beside the container's first moments; the container counts as running once it is done.
    PostStart,
    /// Runs before the stop signal.
    PreStop,
}

impl Hook {
    /// The container's hook of this kind.
    pub fn of(self, container: &Container) -> Option<&LifecycleHandler> {
        let lifecycle = container.lifecycle.as_ref()?;
        match self {
            Self::PostStart => lifecycle.post_start.as_ref(),
            Self::PreStop => lifecycle.pre_stop.as_ref(),
        }
    }

    /// Reason and text of the Event of its failure. The details are not told: they may hold secrets.
    pub fn failure(self) -> (&'static str, &'static str) {
        match self {
            Self::PostStart => ("FailedPostStartHook", "PostStartHook failed"),
            Self::PreStop => ("FailedPreStopHook", "PreStopHook failed"),
        }
    }
}

/// One hook of one run of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The engine name of the run.
    pub name: String,
    /// Which hook.
    pub hook: Hook,
}

/// How far a hook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// When it began.
    pub begun: Timestamp,
    /// What became of it.
    pub progress: Progress,
}

/// What became of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It runs.
    Running,
    /// It ended well.
    Done,
    /// It did not.
    Failed {
        /// Why.
        words: String,
    },
}

/// What a hook does.
pub fn check(handler: &LifecycleHandler, target: Target<'_>) -> Check {
    if let Some(exec) = &handler.exec {
        return Check::Exec { name: target.name.to_owned(), command: exec.command.clone().unwrap_or_default() };
    }
    if let Some(get) = &handler.http_get {
        let host = get.host.as_deref().unwrap_or_default();
        if host.is_empty() && target.ip.is_empty() {
            return Check::Impossible { words: "failed to find networking container".to_owned() };
        }
        return probe::http(get, target);
    }
    if let Some(sleep) = &handler.sleep {
        return Check::Sleep { time: Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0)) };
    }
    // Parity: tcpSocket is accepted and cannot be run.
    Check::Impossible { words: "invalid handler".to_owned() }
}

/// The kubelet's words for a hook that failed with `error`.
pub fn told(handler: &LifecycleHandler, container: &str, pod: &str, error: &str) -> String {
    let what = match (&handler.exec, &handler.http_get, &handler.sleep) {
        (Some(exec), _, _) => {
            format!("Exec lifecycle hook ([{}])", exec.command.as_deref().unwrap_or_default().join(" "))
        }
        (None, Some(get), _) => format!("HTTP lifecycle hook ({})", get.path.as_deref().unwrap_or_default()),
        (None, None, Some(sleep)) => format!("Sleep lifecycle hook ({})", sleep.seconds),
        (None, None, None) => return format!("Cannot run handler: {error}"),
    };
    format!("{what} for Container {container:?} in Pod {pod:?} failed - error: {error}")
}
