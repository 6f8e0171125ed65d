//! PURE. Owns what a probe is once it is read from a container: what is looked at, when, and what a row of results comes
//! to. Never looks by itself: `prober` does.
//!
//! ```text
//!  begun --result--> the same as before? run + 1, else run = 1 --run reaches the threshold--> settled: true or false
//! ```
//!
//! Parity: `worker.go`, `prober.go` and `prober_manager.go` of `pkg/kubelet/prober`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, EnvVar, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::expand::expand;

/// The default of `periodSeconds`, for a pod that was stored without defaults.
const DEFAULT_PERIOD_SECONDS: i32 = 10;
/// The default of `failureThreshold`, likewise.
const DEFAULT_FAILURES: i32 = 3;

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Holds the others back until it has succeeded once; the container is restarted where it does not.
    Startup,
    /// Says whether the container is ready.
    Readiness,
    /// The container is restarted where it fails.
    Liveness,
}

impl Kind {
    /// As it begins the texts of Events.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    /// The container's probe of this kind.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// One probe of one run of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The engine name of the run.
    pub name: String,
    /// Which probe.
    pub kind: Kind,
}

/// Something that is done to see how a container is, or to tell it something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A command in the container.
    Exec {
        /// Its engine name.
        name: String,
        /// Program and arguments.
        command: Vec<String>,
    },
    /// A GET.
    Http {
        /// `http` or `https`.
        url: String,
        /// Headers as given, `Host` among them.
        headers: Vec<(String, String)>,
    },
    /// A connection.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The standard health service.
    Grpc {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// The service asked about; empty for the server as a whole.
        service: String,
    },
    /// Time passes; hooks only.
    Sleep {
        /// How long.
        time: Duration,
    },
    /// It cannot be done, for this reason.
    Impossible {
        /// Upstream's words.
        words: String,
    },
}

/// What one look showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Success,
    /// Well, but somebody should know.
    Warning {
        /// What.
        words: String,
    },
    /// Not well.
    Failure {
        /// Why, as the Event tells it.
        words: String,
    },
    /// The look itself failed: it counts for nothing.
    Unknown {
        /// Why.
        words: String,
    },
}

/// A probe that is to be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Which.
    pub key: Key,
    /// The container's name in the pod.
    pub container: String,
    /// What is done each time.
    pub check: Check,
    /// How long one look may take.
    pub timeout: Duration,
    /// Time between two looks.
    pub period: Duration,
    /// Successes in a row that count.
    pub successes: u32,
    /// Failures in a row that count.
    pub failures: u32,
    /// When the looks that count begin.
    pub first: Timestamp,
    /// When to look once before that; its failure counts for nothing.
    pub early: Option<Timestamp>,
    /// The container ran before this agent did: begins after a random part of the period, so that not all begin at once.
    pub resumed: bool,
}

/// Where a container is reached.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its specification.
    pub container: &'a Container,
    /// Its engine name.
    pub name: &'a str,
    /// The pod's address; empty where it has none.
    pub ip: &'a str,
}

/// How a probe of a container that started at `since` is carried out.
pub fn watch(kind: Kind, probe: &Probe, target: Target<'_>, since: Timestamp, resumed: bool) -> Watch {
    let seconds = |value: Option<i32>, default: i32, least: i32| {
        Duration::from_secs(value.unwrap_or(default).max(least).unsigned_abs().into())
    };
    let count = |value: Option<i32>, default: i32| value.unwrap_or(default).max(1).unsigned_abs();
    let period = seconds(probe.period_seconds.filter(|period| *period > 0), DEFAULT_PERIOD_SECONDS, 1);
    let delay = seconds(probe.initial_delay_seconds, 0, 0);
    let after = |time: Duration| since + SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    let (first, early) = match kind {
        // Parity: readiness is looked at as soon as the container has started.
        Kind::Readiness => (after(delay), None),
        // Parity: the others are looked at with the ticks of the period, so that a container has its
        // failureThreshold * periodSeconds to come up.
        // Differs: one look goes before them, since a container that is up at once need not wait for the first tick.
        Kind::Startup => (after(delay.max(period)), Some(after(delay)).filter(|_| delay < period)),
        Kind::Liveness => (after(delay.max(period)), None),
    };
    Watch {
        key: Key { name: target.name.to_owned(), kind },
        container: target.container.name.clone(),
        check: of_probe(probe, target),
        timeout: seconds(probe.timeout_seconds, 1, 1),
        period,
        successes: count(probe.success_threshold, 1),
        failures: count(probe.failure_threshold, DEFAULT_FAILURES),
        first,
        early,
        resumed,
    }
}

/// What a probe does.
fn of_probe(probe: &Probe, target: Target<'_>) -> Check {
    if let Some(exec) = &probe.exec {
        let own = target.container.env.as_deref().unwrap_or_default();
        let command = exec.command.iter().flatten().map(|word| expand(word, |name| literal(own, name))).collect();
        return Check::Exec { name: target.name.to_owned(), command };
    }
    if let Some(get) = &probe.http_get {
        return http(get, target);
    }
    if let Some(tcp) = &probe.tcp_socket {
        let host = host(tcp.host.as_deref(), target);
        return match port(&tcp.port, target.container) {
            Ok(port) => Check::Tcp { host, port },
            Err(words) => Check::Impossible { words },
        };
    }
    if let Some(grpc) = &probe.grpc {
        return match u16::try_from(grpc.port) {
            Ok(port) => {
                let service = grpc.service.clone().unwrap_or_default();
                Check::Grpc { host: target.ip.to_owned(), port, service }
            }
            Err(_) => Check::Impossible { words: format!("invalid port number: {}", grpc.port) },
        };
    }
    Check::Impossible { words: format!("missing probe handler for container {}", target.container.name) }
}

/// A variable that is given as a value. Parity: `ExpandContainerCommandOnlyStatic`; others are kept as written.
fn literal<'a>(env: &'a [EnvVar], name: &str) -> Option<&'a str> {
    let last = env.iter().rev().find(|variable| variable.name == name && variable.value_from.is_none())?;
    last.value.as_deref().filter(|value| !value.is_empty())
}

/// The GET of a probe or a hook.
pub fn http(get: &HTTPGetAction, target: Target<'_>) -> Check {
    let port = match port(&get.port, target.container) {
        Ok(port) => port,
        Err(words) => return Check::Impossible { words },
    };
    let host = host(get.host.as_deref(), target);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_ascii_lowercase();
    let path = get.path.as_deref().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let headers = get.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
    Check::Http { url: format!("{scheme}://{host}:{port}{slash}{path}"), headers: headers.collect() }
}

fn host(given: Option<&str>, target: Target<'_>) -> String {
    given.filter(|host| !host.is_empty()).unwrap_or(target.ip).to_owned()
}

/// A port by its number or by the name that the container gives it. Parity: `ResolveContainerPort`.
fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            match named.map_or_else(|| name.parse(), |port| Ok(port.container_port)) {
                Ok(number) => number,
                Err(_) => return Err(format!("strconv.Atoi: parsing {name:?}: invalid syntax")),
            }
        }
    };
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

/// Results so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    last: Option<bool>,
    run: u32,
}

impl Tally {
    /// Counts one result; says what it comes to where that many in a row count.
    pub fn count(&mut self, well: bool, watch: &Watch) -> Option<bool> {
        self.run = if self.last == Some(well) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(well);
        let threshold = if well { watch.successes } else { watch.failures };
        (self.run >= threshold).then_some(well)
    }
}

/// A probe that has come to this is not looked at again in this run.
pub fn settled_for_good(kind: Kind, well: bool) -> bool {
    match kind {
        Kind::Startup => true,
        // Parity: on hold until there is a new container.
        Kind::Liveness => !well,
        Kind::Readiness => false,
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
