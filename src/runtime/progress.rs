//! PURE. Owns how far a pull is, worked out from the engine's lines about its layers. Never fails a pull: a line that is
//! not understood says nothing.

use std::collections::BTreeMap;

use super::reply::ProgressReply;

/// Layers that are counted. An image has 127 at most on Docker; more would be an engine gone wrong.
const MAX_LAYERS: usize = 1000;

/// How far a pull is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullSeen {
    /// Layers that are here.
    pub layers_done: u32,
    /// Layers that are known of.
    pub layers: u32,
    /// Bytes that were fetched.
    pub bytes_done: u64,
    /// Bytes of the layers whose size is known by now.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Layer {
    here: bool,
    done: u64,
    total: u64,
}

/// A pull as it has been told of so far.
#[derive(Debug, Default)]
pub struct Progress(BTreeMap<String, Layer>);

impl Progress {
    /// Takes in a line; true where it was about a layer.
    pub fn hear(&mut self, line: &ProgressReply) -> bool {
        let known = self.0.contains_key(&line.id);
        let about_layer = !line.id.is_empty() && !line.status.starts_with("Pulling from");
        if !about_layer || (!known && self.0.len() >= MAX_LAYERS) {
            return false;
        }
        let layer = self.0.entry(line.id.clone()).or_default();
        let amount = |value: i64| u64::try_from(value).unwrap_or(0);
        match line.status.as_str() {
            "Downloading" => {
                layer.total = layer.total.max(amount(line.amount.total));
                layer.done = amount(line.amount.current);
            }
            "Verifying Checksum" | "Download complete" | "Extracting" => layer.done = layer.total,
            "Pull complete" | "Already exists" => *layer = Layer { here: true, done: layer.total, ..*layer },
            _waiting => {}
        }
        true
    }

    /// How far all of it is.
    pub fn seen(&self) -> PullSeen {
        self.0.values().fold(PullSeen::default(), |sum, layer| PullSeen {
            layers_done: sum.layers_done + u32::from(layer.here),
            layers: sum.layers + 1,
            bytes_done: sum.bytes_done + layer.done,
            bytes: sum.bytes + layer.total,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> PullSeen {
        let mut progress = Progress::default();
        for line in lines {
            progress.hear(&serde_json::from_str(line).expect("a test's line is JSON"));
        }
        progress.seen()
    }

    #[test]
    fn layers_and_bytes_add_up() {
        let lines = [
            r#"{"status":"Pulling from library/x","id":"1.36"}"#,
            r#"{"status":"Already exists","progressDetail":{},"id":"a"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"b"}"#,
            r#"{"status":"Waiting","progressDetail":{},"id":"c"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":10,"total":100},"progress":"[>]","id":"b"}"#,
        ];
        assert_eq!(heard(&lines), PullSeen { layers_done: 1, layers: 3, bytes_done: 10, bytes: 100 });
        let more = [r#"{"status":"Extracting","progressDetail":{"current":1,"total":100},"id":"b"}"#];
        assert_eq!(heard(&[&lines[..], &more].concat()).bytes_done, 100);
        let done = [r#"{"status":"Pull complete","progressDetail":{},"id":"b"}"#];
        let seen = heard(&[&lines[..], &done].concat());
        assert_eq!((seen.layers_done, seen.bytes_done), (2, 100));
    }

    #[test]
    fn lines_about_nothing_say_nothing() {
        let lines = [r#"{"status":"Digest: sha256:1"}"#, r#"{"status":"Downloading","progressDetail":null}"#, "{}"];
        assert_eq!(heard(&lines), PullSeen::default());
    }
}
