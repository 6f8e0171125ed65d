//! Owns the text of a progress line and of an output prefix (PURE).
//! Never draws: `screen` does.

use owo_colors::{AnsiColors, OwoColorize as _};

use super::report::{self, Verdict};
use super::state::JobLine;
use super::text;

/// Cells of the bar.
const BAR: usize = 24;
/// Prefixes are aligned up to this width; longer ones stand out rather than push everything to the right.
const ALIGNED: usize = 40;
/// Colours of pods: readable on light and dark, red kept for failures.
const COLOURS: [AnsiColors; 6] = [
    AnsiColors::Cyan,
    AnsiColors::Yellow,
    AnsiColors::Green,
    AnsiColors::Magenta,
    AnsiColors::Blue,
    AnsiColors::BrightCyan,
];

/// `hello  [########------]  3/5 succeeded, 2 active, 1 failed  4.2s`.
pub fn progress(line: &JobLine, name_width: usize, colours: bool) -> String {
    let mut counts = match line.completions {
        Some(completions) => format!("{}/{completions} succeeded", line.succeeded),
        None => format!("{} succeeded", line.succeeded),
    };
    if line.active > 0 {
        counts.push_str(&format!(", {} active", line.active));
    }
    if line.failed > 0 {
        let failed = format!("{} failed", line.failed);
        counts.push_str(&format!(", {}", if colours { failed.red().to_string() } else { failed }));
    }
    let mark = match line.verdict {
        None => "",
        Some(Verdict::Complete) => "  ✔",
        Some(Verdict::Failed | Verdict::NeverStarted | Verdict::TimedOut | Verdict::Interrupted | Verdict::Deleted) => {
            "  ✘"
        }
    };
    let note = line.note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
    let elapsed = report::duration(line.elapsed);
    format!("{:name_width$}  {}  {counts}  {elapsed}{mark}{note}", line.name, bar(line, colours))
}

/// `pulling busybox:1.36: 12.3 MB of 40.0 MB, 2 of 5 layers`.
pub fn pull(image: &str, told: &str) -> String {
    text::safe(format!("pulling {image}: {told}").as_bytes(), false)
}

fn bar(line: &JobLine, colours: bool) -> String {
    let cells = |count: i32, of: i32| {
        (BAR * usize::try_from(count.max(0)).unwrap_or(0)) / usize::try_from(of.max(1)).unwrap_or(1)
    };
    let done = match (line.completions, line.verdict) {
        (_, Some(Verdict::Complete)) => BAR,
        (Some(completions), _) => cells(line.succeeded, completions).min(BAR),
        (None, _) => 0,
    };
    let full = "━".repeat(done);
    let empty = "─".repeat(BAR - done);
    if colours { format!("{}{}", full.green(), empty.dimmed()) } else { format!("{full}{empty}") }
}

/// Prefixes of pod output, aligned with each other and each in its pod's colour.
#[derive(Debug, Default)]
pub struct Prefixes {
    width: usize,
}

impl Prefixes {
    /// `hello-0-x7k2p | `, or `hello-0-x7k2p/main | ` where the pod has several containers.
    pub fn prefix(&mut self, pod: &str, container: Option<&str>, colours: bool) -> String {
        let name = container.map_or_else(|| pod.to_owned(), |container| format!("{pod}/{container}"));
        self.width = self.width.max(name.len().min(ALIGNED));
        let width = self.width;
        let prefix = format!("{name:width$} | ");
        if colours { prefix.color(colour(pod)).to_string() } else { prefix }
    }
}

/// The same pod has the same colour in every run: FNV-1a of its name.
fn colour(pod: &str) -> AnsiColors {
    let hash = pod.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // Folded: FNV's low bits alone tell little about short names.
    let folded = (hash ^ (hash >> 16)) as usize;
    COLOURS[folded % COLOURS.len()]
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
