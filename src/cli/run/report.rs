//! Owns what is told about a Job at the end of a run: the facts, and their text (PURE).
//! Never judges pods: what failed was worked out in `pods`, what can never start in `stuck`.

use std::fmt::Write as _;

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use owo_colors::{OwoColorize as _, Style};
use serde::Serialize;

use super::pods::FailedPod;
use super::text;
use super::warnings::Warning;
use crate::cli::exit;

/// How a Job of this run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// The Job is Complete.
    Complete,
    /// The Job is Failed.
    Failed,
    /// A pod of it could never start, so the run deleted it.
    NeverStarted,
    /// `--timeout` passed, so the run deleted it.
    TimedOut,
    /// The run was interrupted and deleted it.
    Interrupted,
    /// Somebody else deleted it before it finished.
    Deleted,
}

/// The condition that ended a Job, or the reason why the run ended it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// `Complete`, `Failed`; absent where the run ended the Job.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// `BackoffLimitExceeded`, `PodFailurePolicy`, ….
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The controller's or the run's own words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The rule of the pod failure policy that ended a Job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Place of the rule in `spec.podFailurePolicy.rules`, from 0.
    pub index: u32,
    /// `FailJob`.
    pub action: String,
    /// `namespace/name` of the pod that it matched.
    pub pod: String,
    /// The container whose exit code matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// That exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The pod condition that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// Everything told about one Job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// How it ended.
    pub result: Verdict,
    /// Why.
    pub condition: Ending,
    /// The pod failure policy's rule that matched, if one ended the Job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_policy_rule: Option<Rule>,
    /// Completions asked for; absent for a work queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completions: Option<i32>,
    /// Pods that succeeded.
    pub succeeded: i32,
    /// Pods that failed.
    pub failed: i32,
    /// From the Job's creation to its end as this run saw them, in seconds.
    #[serde(rename = "durationSeconds", serialize_with = "seconds")]
    pub duration: SignedDuration,
    /// The pods that failed last, oldest first; at most [`super::state::FAILED_PODS`].
    pub failed_pods: Vec<FailedPod>,
    /// Failed pods beyond those.
    pub failed_pods_omitted: usize,
    /// What it and its pods were warned of, oldest first; at most [`super::warnings::TOLD`].
    pub warnings: Vec<Warning>,
}

fn seconds<S: serde::Serializer>(duration: &SignedDuration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// The condition that ended a finished Job.
pub fn ending(job: &Job) -> Option<(Verdict, Ending)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().filter(|it| it.status == "True").find_map(|it| {
        let verdict = match it.type_.as_str() {
            "Complete" => Verdict::Complete,
            "Failed" => Verdict::Failed,
            _ => return None,
        };
        let ending = Ending {
            condition: Some(it.type_.clone()),
            reason: it.reason.clone().unwrap_or_default(),
            message: it.message.clone().unwrap_or_default(),
        };
        Some((verdict, ending))
    })
}

/// Reads the matched rule out of the condition's message, which is the only place where the API tells it:
/// `Container main for pod default/x failed with exit code 42 matching FailJob rule at index 0`, or
/// `Pod default/x has condition DisruptionTarget matching FailJob rule at index 1`.
///
/// Parity: texts of the Job controller's `matchPodFailurePolicy`.
pub fn rule(ending: &Ending) -> Option<Rule> {
    if ending.reason != "PodFailurePolicy" {
        return None;
    }
    let (what, matched) = ending.message.rsplit_once(" matching ")?;
    let (action, index) = matched.split_once(" rule at index ")?;
    let rule = Rule { index: index.trim().parse().ok()?, action: action.to_owned(), ..Rule::default() };
    if let Some(rest) = what.strip_prefix("Container ") {
        let (container, rest) = rest.split_once(" for pod ")?;
        let (pod, code) = rest.split_once(" failed with exit code ")?;
        let exit_code = Some(code.trim().parse().ok()?);
        return Some(Rule { container: Some(container.to_owned()), pod: pod.to_owned(), exit_code, ..rule });
    }
    let (pod, condition) = what.strip_prefix("Pod ")?.split_once(" has condition ")?;
    Some(Rule { pod: pod.to_owned(), condition: Some(condition.to_owned()), ..rule })
}

/// The exit code that these reports add up to.
pub fn exit_code(reports: &[JobReport]) -> u8 {
    let any = |verdict: Verdict| reports.iter().any(|report| report.result == verdict);
    if any(Verdict::Interrupted) {
        exit::INTERRUPTED
    } else if any(Verdict::TimedOut) {
        exit::TIMED_OUT
    } else if reports.iter().all(|report| report.result == Verdict::Complete) {
        exit::OK
    } else {
        exit::FAILED
    }
}

/// `4.2s`, `3m07s`, `2h05m`.
pub fn duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}.{}s", duration.subsec_millis().max(0) / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

impl JobReport {
    /// The summary for people, several lines, each ended.
    pub fn summary(&self, colours: bool) -> String {
        let mut page = Page { text: String::new(), colours };
        let good = Style::new().green().bold();
        let bad = Style::new().red().bold();
        let (mark, style, word) = match self.result {
            Verdict::Complete => ("✔", good, "complete in"),
            Verdict::Failed => ("✘", bad, "failed in"),
            Verdict::NeverStarted => ("✘", bad, "cannot start: deleted after"),
            Verdict::TimedOut => ("✘", bad, "timed out: deleted after"),
            Verdict::Interrupted => ("✘", bad, "interrupted: deleted after"),
            Verdict::Deleted => ("✘", bad, "was deleted by somebody else after"),
        };
        let title = page.paint(style, &format!("{mark} Job {}/{} {word}", self.namespace, self.name));
        page.line(&format!("{title} {}", self.counts()));
        if self.result != Verdict::Complete {
            self.explain(&mut page);
        }
        for pod in &self.failed_pods {
            page.failed_pod(pod);
        }
        match self.failed_pods_omitted {
            0 => {}
            omitted => page.line(&format!("  {omitted} more failed before those")),
        }
        page.text
    }

    /// `4.2s: 5/5 succeeded, 1 failed`.
    fn counts(&self) -> String {
        let mut text = format!("{}: {}", duration(self.duration), self.succeeded);
        if let Some(completions) = self.completions {
            write!(text, "/{completions}").expect("a string takes what is written");
        }
        text.push_str(" succeeded");
        if self.failed > 0 {
            write!(text, ", {} failed", self.failed).expect("a string takes what is written");
        }
        text
    }

    fn explain(&self, page: &mut Page) {
        let Ending { reason, message, .. } = &self.condition;
        match (reason.as_str(), message.as_str()) {
            ("", "") => {}
            (reason, "") => page.line(&format!("  reason: {reason}")),
            ("", message) => page.line(&format!("  {message}")),
            (reason, message) => page.line(&format!("  reason: {reason}: {message}")),
        }
        let Some(rule) = &self.failure_policy_rule else { return };
        let what = match (&rule.container, rule.exit_code, &rule.condition) {
            (Some(container), Some(code), _) => format!("container {container} exited with {code}"),
            (_, _, Some(condition)) => format!("the pod has condition {condition}"),
            (_, _, None) => "the pod failed".to_owned(),
        };
        let Rule { index, action, pod, .. } = rule;
        page.line(&format!("  podFailurePolicy: rule {index} ({action}) matched: {what} in pod {pod}"));
    }
}

/// A text that grows line by line; nothing that a manifest or a program said reaches the terminal but as text.
struct Page {
    text: String,
    colours: bool,
}

impl Page {
    fn paint(&self, style: Style, text: &str) -> String {
        if self.colours { text.style(style).to_string() } else { text.to_owned() }
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(&text::safe(text.replace('\n', " ").as_bytes(), self.colours));
        self.text.push('\n');
    }

    fn failed_pod(&mut self, pod: &FailedPod) {
        let index = pod.index.as_ref().map(|index| format!(" (index {index})")).unwrap_or_default();
        self.line(&format!("  pod {}{index} failed: {}", pod.name, pod.cause()));
        for text in &pod.last_lines {
            let shown = self.paint(Style::new().dimmed(), &format!("| {text}"));
            self.line(&format!("    {shown}"));
        }
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
