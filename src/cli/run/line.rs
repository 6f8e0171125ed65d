//! Owns the text of a progress line and of an output prefix (PURE).
//! Never draws: `screen` does.

use std::collections::HashMap;

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

/// Pods whose colour is known at a time; beyond these the turns begin anew.
const REMEMBERED: usize = 4096;
/// Cells of a name that are shown where the terminal is too narrow for it.
const LEAST_NAME: usize = 8;

/// `hello  [########------]  3/5 succeeded, 2 active, 1 failed  4.2s`.
///
/// What does not fit into `columns` goes in this order: the bar, the name's end. The numbers stay.
pub fn progress(line: &JobLine, name_width: usize, columns: usize, colours: bool) -> String {
    let plain = facts(line, false).chars().count();
    let facts = facts(line, colours);
    if name_width + BAR + 4 + plain <= columns {
        return format!("{:name_width$}  {}  {facts}", line.name, bar(line, colours));
    }
    let width = columns.saturating_sub(plain + 2).clamp(LEAST_NAME, name_width.max(LEAST_NAME));
    format!("{:width$}  {facts}", shortened(&line.name, width))
}

/// A name's beginning, with a mark where it was cut.
fn shortened(name: &str, width: usize) -> String {
    if name.len() <= width { name.to_owned() } else { format!("{}…", &name[..name.floor_char_boundary(width - 1)]) }
}

/// Counts, time and notes.
fn facts(line: &JobLine, colours: bool) -> String {
    let mut counts = match line.completions {
        Some(completions) => format!("{}/{completions} succeeded", line.succeeded),
        None => format!("{} succeeded", line.succeeded),
    };
    if line.active > 0 {
        counts.push_str(&format!(", {} active", line.active));
    }
    if line.pending > 0 {
        counts.push_str(&format!(", {} pending", line.pending));
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
    format!("{counts}  {elapsed}{mark}{note}")
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

/// Prefixes of pod output, aligned with each other and each in its pod's colour: neighbours differ.
#[derive(Debug, Default)]
pub struct Prefixes {
    width: usize,
    turns: HashMap<String, usize>,
}

impl Prefixes {
    /// `hello-0-x7k2p | `, or `hello-0-x7k2p/main | ` where the pod has several containers.
    pub fn prefix(&mut self, pod: &str, container: Option<&str>, colours: bool) -> String {
        let name = container.map_or_else(|| pod.to_owned(), |container| format!("{pod}/{container}"));
        self.width = self.width.max(name.len().min(ALIGNED));
        let width = self.width;
        let prefix = format!("{name:width$} | ");
        if colours { prefix.color(self.colour(pod)).to_string() } else { prefix }
    }

    fn colour(&mut self, pod: &str) -> AnsiColors {
        if self.turns.len() >= REMEMBERED && !self.turns.contains_key(pod) {
            self.turns.clear();
        }
        let next = self.turns.len();
        let turn = *self.turns.entry(pod.to_owned()).or_insert(next);
        COLOURS[turn % COLOURS.len()]
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
