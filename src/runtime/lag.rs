//! PURE. Owns the judgement that the reading of a container's output falls behind its writing, from the times of what is
//! read. Never holds anybody up: `docker/logs` does.
//!
//! The engine keeps only so much of what was not read, so a flood must not get far ahead. Clocks of two machines differ,
//! so what counts is how much later a piece is read than the one that was read soonest after it was written.

use jiff::{SignedDuration, Timestamp};

/// A reading that is so far behind is too far: an engine writes some 100 MB/s at most, and keeps 200 MB at least.
const FAR: SignedDuration = SignedDuration::from_millis(250);
/// A reading that is no further behind keeps up; a busy machine delays any by some milliseconds.
const CLOSE: SignedDuration = SignedDuration::from_millis(100);
/// Bytes read since the reading kept up last, before it may be too far behind: less is no flood but a pause of this process.
const FLOOD: usize = 4 * 1024 * 1024;

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

    #[test]
    fn a_backlog_that_is_caught_up_with_holds_nobody_up() {
        let catches_up: Vec<(i64, i64)> = (0..50).map(|n| (n * 100, 5_000 + n * 20)).collect();
        assert_eq!(far(8 * MIB, &catches_up), [0_usize; 0]);
    }
}
