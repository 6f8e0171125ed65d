//! Owns how far one container attempt's output has been shown (PURE), so that a stream that breaks can be taken up
//! again with no line lost and none shown twice.
//!
//! A server filters by whole seconds (`sinceTime`) and keeps the order of lines. What was shown is the beginning of
//! the output; of a second reading `sinceTime=S`, exactly those lines were shown before that had a time of S or later.
//! Times may run backwards a little (two streams, one clock), so that S is a second earlier than the newest line.

use jiff::Timestamp;

/// The place in an attempt's output.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The second of the newest line shown.
    newest: Option<i64>,
    /// Lines shown with a time in that second.
    in_it: u64,
    /// Lines shown with a time in the second before.
    before: u64,
}

impl Position {
    /// Notes that a line of this instant was shown.
    pub fn line(&mut self, at: Timestamp) {
        let second = at.as_second();
        match self.newest {
            Some(newest) if second == newest => self.in_it += 1,
            Some(newest) if second == newest - 1 => self.before += 1,
            Some(newest) if second < newest => {}
            newest => {
                self.before = if newest == Some(second - 1) { self.in_it } else { 0 };
                self.in_it = 1;
                self.newest = Some(second);
            }
        }
    }

    /// What to ask for, and how many of the first lines of the answer were shown already.
    pub fn resume(&self) -> (Option<Timestamp>, u64) {
        let since = self.newest.and_then(|second| Timestamp::from_second(second - 1).ok());
        (since, self.before + self.in_it)
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
            steps in prop::collection::vec((0_i64..1500, -499_i64..500), 0..40),
            cuts in prop::collection::vec(0_usize..40, 0..5),
        ) {
            let mut clock = 5000;
            let log: Vec<Timestamp> = steps.iter().map(|(step, jitter)| {
                clock += step;
                Timestamp::from_millisecond(clock + jitter).unwrap()
            }).collect();
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
