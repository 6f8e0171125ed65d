//! Owns `pods/log`: which container's which attempt is meant, and the errors where there is none.
//! Never reads an engine: the store keeps the logs.
//!
//! Parity: option checks and container choice of upstream's pod registry, and the kubelet's texts for containers that have
//! no log.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec};
use tokio::sync::OwnedSemaphorePermit;

use super::ApiState;
use super::call::Call;
use super::encode;
use super::error::Problem;
use super::query::Params;
use crate::model::field::{ErrorType, FieldError};
use crate::model::object::Key;
use crate::model::phase;
use crate::store::logs::{Gap, LogKey, LogQuery};
use crate::store::{Logs, Store};

/// Response header with the restart count of the container whose output follows: a client that reads each run of a
/// container cannot tell otherwise whether it restarted while the request was on its way. A request that has it wants the
/// output of one run alone.
const ATTEMPT: HeaderName = HeaderName::from_static("jobdock-attempt");
/// What a client is told of a log whose oldest lines had to go; kubectl shows it.
const CUT: &str = "the beginning of this log was dropped: a limit on kept logs was passed \
    (--log-limit-per-pod and --log-limit of the daemon)";
/// Gaps of one log that a client is told of: a header is no place for many.
const GAPS: usize = 5;
/// How long the output of a container that has ended may take to be copied from the engine: milliseconds, unless the
/// engine is busy.
const COPY_WAIT: Duration = Duration::from_secs(5);
/// Pause between looks at it.
const COPY_PAUSE: Duration = Duration::from_millis(10);
/// Pause between looks at a pod whose container may be started again.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// `get` of `pods/log`. The permit is kept for as long as the stream lives.
pub async fn log(state: &ApiState, call: &Call, permit: OwnedSemaphorePermit) -> Result<Response, Problem> {
    let name = &call.target.name;
    let object = state.store.get(&call.key())?.ok_or_else(|| Problem::not_found(call.kind(), name))?;
    let pod = object.typed::<Pod>().ok_or_else(Problem::no_path)?;
    let query = query(&call.params, name, Timestamp::now())?;
    let container = container(&call.params, pod)?;
    let spec = pod.spec.clone().unwrap_or_default();
    if spec.node_name.unwrap_or_default().is_empty() {
        // Parity: nobody has taken the pod yet, so there is nobody to ask.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let attempts = attempts(pod, &container, call.params.flag("previous")).map_err(Problem::bad_request)?;
    let logs = state.store.logs();
    let key = |attempt| LogKey { pod_uid: object.uid().to_owned(), container: container.clone(), attempt };
    if !attempts.running {
        copied(logs, &attempts.candidates.iter().map(|attempt| key(*attempt)).collect::<Vec<_>>()).await;
    }
    let mut kept = None;
    for attempt in attempts.candidates {
        let exists = logs.read(&key(attempt), LogQuery::default()).map_err(Problem::internal)?.is_some();
        // A log that is still to come is waited for, one that never came is empty.
        if exists || (attempts.running && query.follow) {
            kept = Some(key(attempt));
            break;
        }
    }
    let warnings = kept.as_ref().map(|key| missing(logs, key)).transpose().map_err(Problem::internal)?;
    let served = kept.as_ref().map(|key| HeaderValue::from(key.attempt));
    // Whoever counts bytes counts those of one run.
    let goes_on =
        attempts.running && query.follow && query.limit_bytes.is_none() && !call.headers.contains_key(ATTEMPT);
    let stream = match kept {
        Some(key) => logs.read(&key, query.clone()).map_err(Problem::internal)?.map(|first| match goes_on {
            true => first.chain(later_runs(state.store.clone(), call.key(), key, query)).boxed(),
            false => first,
        }),
        None => None,
    };
    let body = match stream {
        Some(stream) => {
            let stop = state.stop.clone();
            // The permit lives in the stream: it is given back when the stream ends or the client goes.
            let held = stream.inspect(move |_| {
                let _ = &permit;
            });
            Body::from_stream(held.take_until(async move { stop.cancelled().await }))
        }
        None => Body::empty(),
    };
    let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain")], body).into_response();
    if let Some(served) = served {
        response.headers_mut().insert(ATTEMPT, served);
    }
    if let Some(warnings) = warnings.filter(|warnings| !warnings.is_empty()) {
        encode::warn(&mut response, &warnings);
    }
    Ok(response)
}

/// The output of the runs that follow one, as the container is started again in its pod, until it is not any more.
/// Differs: a kubelet's answer ends with the run.
fn later_runs(
    store: Store,
    pod: Key,
    first: LogKey,
    query: LogQuery,
) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let query = LogQuery { since: None, tail_lines: None, ..query };
    let runs = stream::unfold(first, move |key| {
        let (store, pod, query) = (store.clone(), pod.clone(), query.clone());
        async move {
            let next = next_run(&store, &pod, &key).await?;
            let output = match store.logs().read(&next, query) {
                Ok(output) => output.unwrap_or_else(|| stream::empty().boxed()),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            };
            Some((output, next))
        }
    });
    runs.flatten()
}

/// Waits for the run after this one; none where there will be none.
async fn next_run(store: &Store, pod: &Key, key: &LogKey) -> Option<LogKey> {
    loop {
        let object = store.get(pod).ok()??;
        match after(object.typed::<Pod>().filter(|_| object.uid() == key.pod_uid)?, key) {
            After::Run(attempt) => return Some(LogKey { attempt, ..key.clone() }),
            After::Nothing => return None,
            After::Unknown => tokio::time::sleep(RESTART_PAUSE).await,
        }
    }
}

/// What comes after a run of a container.
enum After {
    /// This one.
    Run(u32),
    /// Nothing more.
    Nothing,
    /// It is not known yet.
    Unknown,
}

fn after(pod: &Pod, key: &LogKey) -> After {
    let Some(status) = status(pod, &key.container) else { return After::Nothing };
    let attempt = u32::try_from(status.restart_count).unwrap_or(0);
    let state = status.state.clone().unwrap_or_default();
    if attempt > key.attempt && state.waiting.is_none() {
        return After::Run(attempt);
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() || phase::terminal(phase) {
        return After::Nothing;
    }
    match state.terminated {
        Some(end) if !may_run_again(pod, &key.container, end.exit_code) => After::Nothing,
        Some(_) | None => After::Unknown,
    }
}

/// Whether the container may be started again after it has exited with this code.
fn may_run_again(pod: &Pod, container: &str, code: i32) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let own = all.find(|one| one.name == container);
    if own.is_some_and(|own| own.restart_policy_rules.is_some()) {
        return true;
    }
    let policy = own.and_then(|own| own.restart_policy.as_deref()).or(spec.restart_policy.as_deref());
    match policy {
        Some("Never") => false,
        Some("OnFailure") => code != 0,
        Some(_) | None => true,
    }
}

/// What a log does not have, in words.
fn missing(logs: &Logs, key: &LogKey) -> io::Result<Vec<String>> {
    let cut = logs.is_cut(key)?.then(|| CUT.to_owned());
    let lost = |Gap { from, to }| {
        format!("what was written from {from} to {to} is lost: the engine had dropped it before it was kept")
    };
    Ok(cut.into_iter().chain(logs.gaps(key)?.into_iter().take(GAPS).map(lost)).collect())
}

/// Waits until one of these logs is complete. A container's end is told as soon as it is known; the last of its output
/// may still be on its way here, and whoever asks after the end wants all of it.
async fn copied(logs: &Logs, keys: &[LogKey]) {
    let complete = async {
        while !keys.iter().any(|key| logs.finished(key)) {
            tokio::time::sleep(COPY_PAUSE).await;
        }
    };
    // Nobody copies the output of a pod whose status a client wrote: then there is nothing to wait for.
    let _nobody = tokio::time::timeout(COPY_WAIT, complete).await;
}

fn query(params: &Params, name: &str, now: Timestamp) -> Result<LogQuery, Problem> {
    let mut errors = Vec::new();
    let mut refuse = |kind: ErrorType, field: &str, message: String| {
        errors.push(FieldError { kind, field: field.to_owned(), message });
    };
    let tail = params.number("tailLines")?;
    let limit = params.number("limitBytes")?;
    let seconds = params.number("sinceSeconds")?;
    if let Some(lines) = tail.filter(|lines| *lines < 0) {
        refuse(ErrorType::Invalid, "tailLines", format!("Invalid value: {lines}: must be greater than or equal to 0"));
    }
    if let Some(bytes) = limit.filter(|bytes| *bytes < 1) {
        refuse(ErrorType::Invalid, "limitBytes", format!("Invalid value: {bytes}: must be greater than 0"));
    }
    let since_time = params.filled("sinceTime");
    if since_time.is_some() && seconds.is_some() {
        let message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned();
        refuse(ErrorType::Forbidden, "", message);
    }
    if let Some(seconds) = seconds.filter(|seconds| *seconds < 1) {
        refuse(ErrorType::Invalid, "sinceSeconds", format!("Invalid value: {seconds}: must be greater than 0"));
    }
    let stderr = match params.filled("stream") {
        None | Some("All") => None,
        Some("Stdout") => Some(false),
        Some("Stderr") => Some(true),
        Some(other) => {
            let message = format!("Unsupported value: \"{other}\": supported values: \"All\", \"Stderr\", \"Stdout\"");
            refuse(ErrorType::NotSupported, "stream", message);
            None
        }
    };
    if stderr.is_some() && tail.is_some() {
        let message = "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now".to_owned();
        refuse(ErrorType::Forbidden, "", message);
    }
    if !errors.is_empty() {
        return Err(Problem::invalid_of("", "PodLogOptions", name, &errors));
    }
    Ok(LogQuery {
        follow: params.flag("follow"),
        since: since(since_time, seconds, now)?,
        tail_lines: tail.and_then(|lines| u64::try_from(lines).ok()),
        limit_bytes: limit.and_then(|bytes| u64::try_from(bytes).ok()),
        timestamps: params.flag("timestamps"),
        stderr,
    })
}

fn since(time: Option<&str>, seconds: Option<i64>, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    if let Some(text) = time {
        return text.parse().map(Some).map_err(|_| {
            Problem::bad_request(format!(
                "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": it is no such time"
            ))
        });
    }
    // Longer ago than time itself reaches is everything.
    Ok(seconds.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok()))
}

/// The container that is meant. Parity: `validateContainer` of upstream's pod registry.
pub(super) fn container(params: &Params, pod: &Pod) -> Result<String, Problem> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let (main, init, ephemeral) = names(&spec);
    if let Some(asked) = params.filled("container") {
        let known = main.iter().chain(&init).chain(&ephemeral).any(|one| one == asked);
        return match known {
            true => Ok(asked.to_owned()),
            false => Err(Problem::bad_request(format!("container {asked} is not valid for pod {name}"))),
        };
    }
    match main.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Problem::bad_request(format!("a container name must be specified for pod {name}"))),
        several => {
            let list = several.join(" ");
            let mut why = format!("a container name must be specified for pod {name}, choose one of: [{list}]");
            if !init.is_empty() {
                why += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            Err(Problem::bad_request(why))
        }
    }
}

fn names(spec: &PodSpec) -> (Vec<String>, Vec<String>, Vec<String>) {
    (
        spec.containers.iter().map(|container| container.name.clone()).collect(),
        spec.init_containers.iter().flatten().map(|container| container.name.clone()).collect(),
        spec.ephemeral_containers.iter().flatten().map(|container| container.name.clone()).collect(),
    )
}

/// Which of a container's runs is meant.
struct Attempts {
    /// The attempts whose log it may be, the likeliest first.
    candidates: Vec<u32>,
    /// The container is running, so that more may come.
    running: bool,
}

impl Attempts {
    fn ended(candidates: Vec<u32>) -> Self {
        Self { candidates, running: false }
    }
}

/// Parity: the kubelet's `validateContainerLogStatus`.
fn attempts(pod: &Pod, container: &str, previous: bool) -> Result<Attempts, String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let says = |what: &str| format!("container \"{container}\" in pod \"{name}\" {what}");
    let Some(status) = status(pod, container) else { return Err(says("is not available")) };
    let restarts = u32::try_from(status.restart_count).unwrap_or(0);
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    // While a container waits to be restarted, its count is still that of the run that ended.
    let before = match state.waiting.is_some() {
        true => vec![restarts, restarts.saturating_sub(1)],
        false => restarts.checked_sub(1).into_iter().collect(),
    };
    if previous {
        return match last {
            Some(_) => Ok(Attempts::ended(before)),
            None => Err(format!("previous terminated container \"{container}\" in pod \"{name}\" not found")),
        };
    }
    match (state.running, state.terminated, last, state.waiting) {
        (Some(_), ..) => Ok(Attempts { candidates: vec![restarts], running: true }),
        (None, Some(_), ..) => Ok(Attempts::ended(vec![restarts])),
        (None, None, Some(_), _) => Ok(Attempts::ended(before)),
        (None, None, None, Some(waiting)) => {
            let reason = waiting.reason.unwrap_or_default();
            Err(match reason.as_str() {
                "ErrImagePull" => says("is waiting to start: image can't be pulled"),
                "ImagePullBackOff" => says("is waiting to start: trying and failing to pull image"),
                reason => says(&format!("is waiting to start: {reason}")),
            })
        }
        (None, None, None, None) => Err(says("is waiting to start - no logs yet")),
    }
}

/// What is told of a container, of whatever kind.
pub(super) fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let main = status.container_statuses.iter().flatten();
    let init = status.init_container_statuses.iter().flatten();
    let ephemeral = status.ephemeral_container_statuses.iter().flatten();
    main.chain(init).chain(ephemeral).find(|one| one.name == container)
}
