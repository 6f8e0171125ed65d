//! Owns the rules of probes, lifecycle handlers and the actions that they are made of.
//! Never runs one.
//!
//! Parity: core's `validateProbe`, `validateLifecycle` and `validateHandler` at 1.32.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{names, text};
use crate::model::field::{Errors, Path};

/// The lifecycle and the probes of a container that may have them; `grace` is the pod's grace period.
pub fn of_container(errors: &mut Errors, container: &Container, grace: Option<i64>, path: &Path<'_>) {
    if let Some(lifecycle) = &container.lifecycle {
        self::lifecycle(errors, lifecycle, grace, &path.child("lifecycle"));
    }
    if let Some(probe) = &container.liveness_probe {
        once(errors, probe, &path.child("livenessProbe"));
    }
    if let Some(probe) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        self::probe(errors, probe, &path);
        if let Some(seconds) = probe.termination_grace_period_seconds {
            let path = path.child("terminationGracePeriodSeconds");
            errors.invalid(&path, &seconds, "must not be set for readinessProbes");
        }
    }
    if let Some(probe) = &container.startup_probe {
        once(errors, probe, &path.child("startupProbe"));
    }
}

/// A probe that one success satisfies.
fn once(errors: &mut Errors, probe: &Probe, path: &Path<'_>) {
    self::probe(errors, probe, path);
    let successes = probe.success_threshold.unwrap_or(0);
    if successes != 1 {
        errors.invalid(&path.child("successThreshold"), &successes, "must be 1");
    }
}

fn probe(errors: &mut Errors, probe: &Probe, path: &Path<'_>) {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref().map(|grpc| grpc.port),
        sleep: None,
    };
    self::handler(errors, &handler, None, path);
    errors.nonnegative_if_set(&path.child("initialDelaySeconds"), probe.initial_delay_seconds);
    errors.nonnegative_if_set(&path.child("timeoutSeconds"), probe.timeout_seconds);
    errors.nonnegative_if_set(&path.child("periodSeconds"), probe.period_seconds);
    errors.nonnegative_if_set(&path.child("successThreshold"), probe.success_threshold);
    errors.nonnegative_if_set(&path.child("failureThreshold"), probe.failure_threshold);
    if let Some(seconds) = probe.termination_grace_period_seconds.filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("terminationGracePeriodSeconds"), &seconds, "must be greater than 0");
    }
}

fn lifecycle(errors: &mut Errors, lifecycle: &Lifecycle, grace: Option<i64>, path: &Path<'_>) {
    for (name, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(hook) = hook {
            handler(errors, &Handler::of(hook), grace, &path.child(name));
        }
    }
}

/// What is done, by a probe or a hook: one of these.
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<i32>,
    sleep: Option<&'a SleepAction>,
}

impl<'a> Handler<'a> {
    fn of(hook: &'a LifecycleHandler) -> Self {
        Self {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.as_ref(),
        }
    }
}

fn handler(errors: &mut Errors, handler: &Handler<'_>, grace: Option<i64>, path: &Path<'_>) {
    let mut given = 0;
    let mut first = |errors: &mut Errors, path: &Path<'_>| {
        given += 1;
        if given > 1 {
            errors.forbidden(path, "may not specify more than 1 handler type");
        }
        given == 1
    };
    if let Some(action) = handler.exec
        && first(errors, &path.child("exec"))
        && action.command.as_ref().is_none_or(Vec::is_empty)
    {
        errors.required(&path.child("exec").child("command"), "");
    }
    if let Some(action) = handler.http_get
        && first(errors, &path.child("httpGet"))
    {
        http_get(errors, action, &path.child("httpGet"));
    }
    if let Some(action) = handler.tcp_socket
        && first(errors, &path.child("tcpSocket"))
    {
        port(errors, &action.port, &path.child("tcpSocket").child("port"));
    }
    if let Some(number) = handler.grpc
        && first(errors, &path.child("grpc"))
    {
        errors.invalid_each(&path.child("grpc").child("port"), &number, names::port_number(number));
    }
    if let Some(action) = handler.sleep
        && first(errors, &path.child("sleep"))
    {
        sleep(errors, action.seconds, grace, &path.child("sleep"));
    }
    if given == 0 {
        errors.required(path, "must specify a handler type");
    }
}

fn http_get(errors: &mut Errors, action: &HTTPGetAction, path: &Path<'_>) {
    errors.required_if_empty(&path.child("path"), text(&action.path));
    port(errors, &action.port, &path.child("port"));
    errors.one_of(&path.child("scheme"), text(&action.scheme), &["HTTP", "HTTPS"]);
    for header in action.http_headers.iter().flatten() {
        errors.invalid_each(&path.child("httpHeaders"), &header.name, names::http_header(&header.name));
    }
}

/// A port by number or by name.
pub fn port(errors: &mut Errors, port: &IntOrString, path: &Path<'_>) {
    match port {
        IntOrString::Int(number) => errors.invalid_each(path, number, names::port_number(*number)),
        IntOrString::String(name) => errors.invalid_each(path, name, names::port_name(name)),
    }
}

fn sleep(errors: &mut Errors, seconds: i64, grace: Option<i64>, path: &Path<'_>) {
    let Some(grace) = grace else { return };
    if seconds <= 0 || seconds > grace {
        let words = format!(
            "must be greater than 0 and less than terminationGracePeriodSeconds ({grace}). \
             Enable AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep."
        );
        errors.invalid(path, &seconds, &words);
    }
}
