//! PURE. Owns how long a container's termination message may be and where it is taken from.
//! Never reads a file or a log: the agent hands in what it read.

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// Bytes of one container's message. Parity: `MaxContainerTerminationMessageLength`.
pub const MAX_BYTES: usize = 4096;
/// Bytes of all containers' messages together. Parity: `MaxPodTerminationMessageLogLength`.
pub const MAX_POD_BYTES: usize = 12 * 1024;
/// Bytes of the log that may stand in for a message. Parity: `MaxContainerTerminationMessageLogLength`.
pub const MAX_LOG_BYTES: usize = 2048;
/// Lines of the log that may stand in for a message. Parity: `MaxContainerTerminationMessageLogLines`.
pub const MAX_LOG_LINES: u64 = 80;
/// Where a container writes its message unless it says otherwise.
pub const DEFAULT_PATH: &str = "/dev/termination-log";

/// Whether the end of the log stands in for an empty message of a container that ended with `code`.
pub fn falls_back_to_logs(container: &Container, code: i32) -> bool {
    code != 0 && container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError")
}

/// The message of one container, from its file or else from the end of its log; bounded, cut at a character.
pub fn message(pod: &PodSpec, file: Option<&str>, log_tail: Option<&str>) -> Option<String> {
    let file = file.filter(|text| !text.is_empty()).map(|text| head(text, MAX_BYTES));
    let text = file.or_else(|| log_tail.filter(|text| !text.is_empty()).map(|text| tail(text, MAX_LOG_BYTES)))?;
    let containers = pod.containers.len() + pod.init_containers.as_ref().map_or(0, Vec::len);
    Some(head(text, MAX_POD_BYTES / containers.max(1)).to_owned())
}

fn head(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn tail(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: usize) -> PodSpec {
        PodSpec { containers: vec![Container::default(); containers], ..PodSpec::default() }
    }

    #[test]
    fn a_file_message_is_cut_to_4096_bytes_and_12_kib_shared() {
        let long = "x".repeat(10_000);
        assert_eq!(message(&pod(1), Some(&long), None).map(|text| text.len()), Some(4096));
        assert_eq!(message(&pod(4), Some(&long), None).map(|text| text.len()), Some(3072));
    }

    #[test]
    fn the_log_stands_in_only_for_an_empty_file_and_keeps_its_end() {
        let log = format!("{}end", "é".repeat(2000));
        assert_eq!(message(&pod(1), Some("file"), Some(&log)).as_deref(), Some("file"));
        let text = message(&pod(1), Some(""), Some(&log)).expect("there is a log");
        assert!(text.len() <= 2048 && text.ends_with("end"), "{}", text.len());
        assert_eq!(message(&pod(1), None, None), None);
    }
}
