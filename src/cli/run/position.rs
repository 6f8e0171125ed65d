//! Owns how far one container attempt's output has been shown (PURE), so that a stream that breaks can be taken up
//! again with no line lost and none shown twice.
//!
//! A server leaves out lines before a whole second (`sinceTime`) and keeps the order of the rest. Times may run
//! backwards a little (two streams, one clock), so a second reading asks for the lines from [`SLACK`] before the newest
//! one on: what was shown is the beginning of the output, hence the first lines of the answer, as many of them as were
//! shown with a time in that window.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Seconds by which a line may be older than one before it: an engine stamps each stream's lines in order, and its two
/// streams differ by scheduling alone.
const SLACK: i64 = 2;

/// The place in an attempt's output.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Lines shown in each second of the window that ends with the newest one.
    shown: BTreeMap<i64, u64>,
}

impl Position {
    /// Notes that a line of this instant was shown.
    pub fn line(&mut self, at: Timestamp) {
        *self.shown.entry(at.as_second()).or_default() += 1;
        if let Some(from) = self.from() {
            self.shown = self.shown.split_off(&from);
        }
    }

    /// What to ask for, and how many of the first lines of the answer were shown already.
    pub fn resume(&self) -> (Option<Timestamp>, u64) {
        let since = self.from().and_then(|second| Timestamp::from_second(second).ok());
        (since, self.shown.values().sum())
    }

    /// The first second of the window.
    fn from(&self) -> Option<i64> {
        self.shown.last_key_value().map(|(newest, _)| newest - SLACK)
    }
}

/// Takes the time from the front of a line that was asked for with `timestamps=true`.
pub fn split(line: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let time = std::str::from_utf8(&line[..space]).ok().and_then(|text| text.parse().ok());
    match time {
        Some(at) => (Some(at), line.get(space + 1..).unwrap_or_default()),
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server answers: the lines of `sinceTime` or later, in order.
    fn read(log: &[Timestamp], since: Option<Timestamp>) -> Vec<usize> {
        (0..log.len()).filter(|n| since.is_none_or(|since| log[*n] >= since)).collect()
    }

    proptest! {
        #[test]
        fn a_stream_cut_anywhere_and_taken_up_again_shows_each_line_once(
            steps in prop::collection::vec((0_i64..900, 0_i64..2000), 0..40),
            cuts in prop::collection::vec(0_usize..40, 0..5),
        ) {
            // A clock that goes on by the first, read late by the second.
            let mut clock = 10_000;
            let mut stamp = |(step, late): &(i64, i64)| {
                clock += step;
                Timestamp::from_millisecond(clock - late).unwrap()
            };
            let log: Vec<Timestamp> = steps.iter().map(&mut stamp).collect();
            let mut position = Position::default();
            let mut shown = Vec::new();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (since, skip) = position.resume();
                let rest = read(&log, since).into_iter().skip(usize::try_from(skip).unwrap());
                for line in rest.take(cut) {
                    shown.push(line);
                    position.line(log[line]);
                }
            }
            prop_assert_eq!(shown, (0..log.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_time_is_taken_off_the_line() {
        let (at, text) = split(b"2026-01-02T03:04:05.000000006Z  two spaces");
        assert_eq!(at.map(|at| at.to_string()).as_deref(), Some("2026-01-02T03:04:05.000000006Z"));
        assert_eq!(text, b" two spaces");
    }

    #[test]
    fn an_empty_line_has_a_time_too() {
        assert_eq!(split(b"2026-01-02T03:04:05Z").1, b"");
        assert_eq!(split(b"2026-01-02T03:04:05Z ").1, b"");
    }

    #[test]
    fn a_line_without_a_time_is_left_whole() {
        assert_eq!(split(b"no time here"), (None, b"no time here".as_slice()));
    }
}
