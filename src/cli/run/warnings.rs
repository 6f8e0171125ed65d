//! Owns which Warning events of a run's Jobs and pods are told, each once (PURE): a field that has no effect, a pod that
//! nobody may make, an image that does not come.
//! Never judges whether a pod can start: `stuck` does.

use k8s_openapi::api::core::v1::Event;
use serde::Serialize;

/// Warnings of one Job that are told: many pods may say much, and what is told last would push the first away.
pub const TOLD: usize = 20;
/// The one warning of a Job itself that its end does not repeat.
const FAILED_CREATE: &str = "FailedCreate";
/// A warning whose words hold an id of the engine's that is another at each try.
const FAILED_SANDBOX: &str = "FailedCreatePodSandBox";

/// Something that a Job or a pod was warned of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// `Job` or `Pod`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `FieldNotHonoured`, `FailedCreate`, ….
    pub reason: String,
    /// The words of whoever warns.
    pub message: String,
}

/// What one Job and its pods were warned of.
#[derive(Debug, Default)]
pub struct Warnings(Vec<Warning>);

impl Warnings {
    /// Keeps a warning, and gives its line where it is new: pods of one Job say the same.
    pub fn tell(&mut self, warning: Warning) -> Option<String> {
        let Self(told) = self;
        let alike = |it: &Warning| it.message == warning.message || it.reason == FAILED_SANDBOX;
        let same = |it: &Warning| it.reason == warning.reason && alike(it);
        if told.len() >= TOLD || told.iter().any(same) {
            return None;
        }
        let Warning { kind, name, reason, message } = &warning;
        let kind = if kind == "Pod" { "pod" } else { kind };
        let mut line = format!("warning: {kind} {name}: {reason}: {}", message.replace('\n', " "));
        told.push(warning);
        if told.len() == TOLD {
            line.push_str("\nwarning: further warnings of this Job are not shown");
        }
        Some(line)
    }

    /// All that were told, oldest first.
    pub fn told(&self) -> &[Warning] {
        let Self(told) = self;
        told
    }
}

/// The warning in an Event; none where the run tells it in another way.
pub fn of(event: &Event) -> Option<Warning> {
    let text = |it: &Option<String>| it.clone().unwrap_or_default();
    let warning = Warning {
        kind: text(&event.involved_object.kind),
        name: text(&event.involved_object.name),
        reason: text(&event.reason),
        message: text(&event.message),
    };
    let wanted = match (warning.kind.as_str(), warning.reason.as_str()) {
        ("Job", reason) => reason == FAILED_CREATE,
        // Waiting for room is ordinary; a wait that is long is told by itself. What is tried again was told as it failed.
        ("Pod", "FailedScheduling" | "BackOff") => false,
        ("Pod", "Failed") => !matches!(warning.message.as_str(), "Error: ErrImagePull" | "Error: ImagePullBackOff"),
        ("Pod", _) => true,
        (_, _) => false,
    };
    (wanted && event.type_.as_deref() == Some("Warning")).then_some(warning)
}

/// The claim (namespace, name) for which an Event says that no volume can be made, and its words.
pub fn without_volume(event: &Event) -> Option<((String, String), String)> {
    let about = &event.involved_object;
    let told =
        about.kind.as_deref() == Some("PersistentVolumeClaim") && event.reason.as_deref() == Some("ProvisioningFailed");
    let name = about.name.clone().filter(|_| told)?;
    let words = format!("persistentvolumeclaim \"{name}\": {}", event.message.as_deref().unwrap_or_default());
    Some(((about.namespace.clone().unwrap_or_default(), name), words))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn warning(message: &str) -> Warning {
        Warning { kind: "Pod".to_owned(), name: "p".to_owned(), reason: "R".to_owned(), message: message.to_owned() }
    }

    #[track_caller]
    fn check(kind: &str, type_: &str, reason: &str, message: &str, told: bool) {
        let event = json!({
            "metadata": {}, "involvedObject": {"kind": kind, "name": "x"},
            "type": type_, "reason": reason, "message": message,
        });
        assert_eq!(of(&serde_json::from_value(event).unwrap()).is_some(), told, "{kind} {reason}");
    }

    #[test]
    fn what_the_run_tells_otherwise_is_no_warning() {
        check("Pod", "Warning", "FieldNotHonoured", "runtimeClassName is not honoured", true);
        check("Pod", "Normal", "Pulled", "", false);
        check("Pod", "Warning", "FailedScheduling", "0/1 nodes are available", false);
        check("Pod", "Warning", "BackOff", "Back-off restarting failed container", false);
        check("Pod", "Warning", "Failed", "Error: ErrImagePull", false);
        check("Pod", "Warning", "Failed", r#"Error: configmap "c" not found"#, true);
        check("Job", "Warning", "FailedCreate", "Error creating: forbidden", true);
        check("Job", "Warning", "BackoffLimitExceeded", "Job has reached the specified backoff limit", false);
        check("Node", "Warning", "FailedCreate", "", false);
    }

    #[test]
    fn what_many_pods_say_is_told_once() {
        let mut warnings = Warnings::default();
        assert_eq!(warnings.tell(warning("a\nb")).as_deref(), Some("warning: pod p: R: a b"));
        assert_eq!(warnings.tell(Warning { name: "q".to_owned(), ..warning("a\nb") }), None);
        assert_eq!(warnings.told(), [warning("a\nb")]);
        let sandbox = |id: &str| Warning { reason: FAILED_SANDBOX.to_owned(), ..warning(id) };
        assert!(warnings.tell(sandbox("endpoint 1")).is_some());
        assert_eq!(warnings.tell(sandbox("endpoint 2")), None);
    }

    #[test]
    fn warnings_have_a_limit_that_is_told() {
        let mut warnings = Warnings::default();
        let lines: Vec<String> = (0..TOLD + 5).filter_map(|n| warnings.tell(warning(&n.to_string()))).collect();
        assert_eq!(lines.len(), TOLD);
        assert!(lines[TOLD - 1].ends_with("further warnings of this Job are not shown"), "{lines:?}");
        assert_eq!(warnings.told().len(), TOLD);
    }
}
