//! PURE. Owns what the times in a flood of output tell: that its reading falls behind its writing, and that the engine
//! gives a part of it again. Never holds anybody up: `docker/logs` does.
//!
//! The engine keeps only so much of what was not read, so a flood must not get far ahead. Clocks of two machines differ,
//! so what counts is how much later a piece is read than the one that was read soonest after it was written.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::LogChunk;

/// A reading that is so far behind is too far: an engine writes some 100 MB/s at most, and keeps 200 MB at least.
const FAR: SignedDuration = SignedDuration::from_millis(250);
/// A reading that is no further behind keeps up; a busy machine delays any by some milliseconds.
const CLOSE: SignedDuration = SignedDuration::from_millis(100);
/// Bytes read since the reading kept up last, before it may be too far behind: less is no flood but a pause of this
/// process. No more, for a reading of short lines that gets little of a busy machine takes seconds for a mebibyte.
const FLOOD: usize = 256 * 1024;

/// How far one reading is behind.
#[derive(Debug, Default)]
pub struct Lag {
    /// The shortest time from the writing of a piece to its reading.
    soonest: Option<SignedDuration>,
    /// Bytes read since the reading kept up.
    behind: usize,
}

impl Lag {
    /// Takes in that so many bytes, the last of them written at `at`, were read; says whether the writer is to be held
    /// up.
    pub fn is_far(&mut self, at: Timestamp, bytes: usize, now: Timestamp) -> bool {
        let late = now.duration_since(at);
        let soonest = self.soonest.map_or(late, |soonest| soonest.min(late));
        self.soonest = Some(soonest);
        let lag = late - soonest;
        self.behind = if lag <= CLOSE { 0 } else { self.behind + bytes };
        lag >= FAR && self.behind >= FLOOD
    }
}

/// Bytes read without any repetition, before two equal lines of one instant are taken for one: a clock may be coarse, and
/// the engine begins no new file before.
const HALF_A_FILE: usize = 50_000_000;

/// What one reading has given last, to know what comes again. Docker 20.10 begins with a new file of a log twice where it
/// is asked to follow and many lines come at once.
#[derive(Debug, Default)]
pub struct Repeats {
    last: [Option<Line>; 2],
    read: usize,
}

#[derive(Debug)]
struct Line {
    at: Timestamp,
    bytes: Bytes,
    partial: bool,
}

impl Repeats {
    /// Whether a chunk of a followed log was given before. Each stream is written in the order of its times, unless the
    /// clock was set back: then what was written last is still to come.
    pub fn has(&mut self, chunk: &LogChunk, now: Timestamp) -> bool {
        let last = &mut self.last[usize::from(chunk.stderr)];
        let again = last.as_ref().is_some_and(|last| {
            let same = chunk.at == last.at && !last.partial && chunk.line == last.bytes;
            (chunk.at < last.at && last.at <= now) || (same && self.read > HALF_A_FILE)
        });
        if !again {
            self.read += chunk.line.len();
            *last = Some(Line { at: chunk.at, bytes: chunk.line.clone(), partial: chunk.partial });
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads pieces of `bytes`, each (written, read) in milliseconds; the numbers of those that are too late.
    fn far(bytes: usize, pieces: &[(i64, i64)]) -> Vec<usize> {
        let at = |millis: i64| Timestamp::from_millisecond(millis).unwrap();
        let mut lag = Lag::default();
        let each = pieces.iter().enumerate();
        each.filter(|(_, (written, read))| lag.is_far(at(*written), bytes, at(*read))).map(|(n, _)| n).collect()
    }

    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_flood_that_is_read_late_is_far_ahead() {
        let falls_behind: Vec<(i64, i64)> = (0..10).map(|n| (n * 100, n * 180)).collect();
        assert_eq!(far(2 * MIB, &falls_behind), [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_reading_that_keeps_up_is_not_behind_whatever_the_clocks_say() {
        for skew in [-5_000, 0, 5_000] {
            let keeps_up: Vec<(i64, i64)> = (0..50).map(|n| (n * 100, n * 100 + skew + n % 3 * 40)).collect();
            assert_eq!(far(8 * MIB, &keeps_up), [0_usize; 0], "{skew}");
        }
    }

    #[test]
    fn a_trickle_that_is_read_late_is_no_flood() {
        let late: Vec<(i64, i64)> = (0..50).map(|n| (n * 10, n * 10 + 600 * i64::from(n > 0))).collect();
        assert_eq!(far(1024, &late), [0_usize; 0]);
    }

    /// Gives (stream, second, text) at second 100; what is taken for a repetition.
    fn again(lines: &[(bool, i64, &'static str)], read: usize) -> Vec<usize> {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut repeats = Repeats { read, ..Repeats::default() };
        let chunk = |(stderr, second, text): &(bool, i64, &'static str)| {
            let partial = text.ends_with('+');
            LogChunk { at: at(*second), stderr: *stderr, line: Bytes::from_static(text.as_bytes()), partial }
        };
        let each = lines.iter().enumerate();
        each.filter(|(_, line)| repeats.has(&chunk(line), at(100))).map(|(n, _)| n).collect()
    }

    #[test]
    fn what_a_new_file_begins_with_is_taken_once() {
        let twice =
            [(false, 1, "a"), (false, 2, "b"), (false, 3, "c"), (false, 2, "b"), (false, 3, "c"), (false, 4, "d")];
        assert_eq!(again(&twice, HALF_A_FILE), [3, 4]);
    }

    #[test]
    fn equal_lines_of_one_instant_are_one_only_where_a_file_may_have_ended() {
        let same = [(false, 1, "a"), (false, 1, "a"), (false, 1, "b+"), (false, 1, "b+")];
        assert_eq!(again(&same, 0), [0_usize; 0]);
        assert_eq!(again(&same, HALF_A_FILE), [1]);
    }

    #[test]
    fn the_streams_have_times_of_their_own_and_a_clock_may_be_set_back() {
        assert_eq!(again(&[(false, 5, "a"), (true, 4, "b"), (false, 6, "c")], HALF_A_FILE), [0_usize; 0]);
        assert_eq!(again(&[(false, 500, "a"), (false, 99, "b")], HALF_A_FILE), [0_usize; 0]);
    }

    #[test]
    fn a_backlog_that_is_caught_up_with_holds_nobody_up() {
        let catches_up: Vec<(i64, i64)> = (0..50).map(|n| (n * 100, 5_000 + n * 20)).collect();
        assert_eq!(far(8 * MIB, &catches_up), [0_usize; 0]);
    }
}
