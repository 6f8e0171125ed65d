//! Owns sets of completion indexes in the form that a Job's status carries: `0-2,5,7,8`.
//! Never knows what an index means.
//!
//! Parity: upstream's `orderedIntervals` (`pkg/controller/job/indexed_job_utils.go`).

use std::fmt;

/// An inclusive run of indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    first: i32,
    last: i32,
}

/// A set of indexes at or above 0, kept as ordered runs with gaps between them, so that its size is the number of runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals(Vec<Interval>);

impl Intervals {
    /// Reads `0-2,5`. Indexes at or above `limit` are dropped, and so is each part that is no number or no range.
    ///
    /// Parity: `parseIndexesFromString`, which also ignores what is corrupt.
    /// Differs: a reversed range (`5-3`) is dropped, and parts out of order are put in order, where upstream's totals
    /// would go wrong.
    pub fn parse(text: &str, limit: i32) -> Self {
        let mut runs: Vec<Interval> = text.split(',').filter_map(|part| parse_run(part, limit)).collect();
        runs.sort_by_key(|run| run.first);
        Self(join(runs))
    }

    /// The set of these indexes, given in any order. Negative ones are left out.
    pub fn of(indexes: impl IntoIterator<Item = i32>) -> Self {
        let mut sorted: Vec<i32> = indexes.into_iter().filter(|index| *index >= 0).collect();
        sorted.sort_unstable();
        Self(join(sorted.into_iter().map(|index| Interval { first: index, last: index })))
    }

    /// The union of both.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let mut runs: Vec<Interval> = self.0.iter().chain(&other.0).copied().collect();
        runs.sort_by_key(|run| run.first);
        Self(join(runs))
    }

    /// How many indexes it holds.
    pub fn total(&self) -> i32 {
        self.0.iter().map(|run| run.last - run.first + 1).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it holds this index.
    pub fn contains(&self, index: i32) -> bool {
        let at = self.0.partition_point(|run| run.last < index);
        self.0.get(at).is_some_and(|run| run.first <= index)
    }

    /// How many indexes are in both.
    pub fn overlap(&self, other: &Self) -> i32 {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut total = 0;
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            total += (a.last.min(b.last) - a.first.max(b.first) + 1).max(0);
            if a.last < b.last {
                left.next();
            } else {
                right.next();
            }
        }
        total
    }

    /// The indexes below `limit` that it does not hold, in order. Costs no more than what is taken and the runs passed.
    pub fn missing(&self, limit: i32) -> impl Iterator<Item = i32> {
        let starts = std::iter::once(0).chain(self.0.iter().map(|run| run.last + 1));
        let ends = self.0.iter().map(|run| run.first).chain(std::iter::once(limit));
        starts.zip(ends).flat_map(move |(start, end)| start..end.min(limit))
    }

    /// The indexes that it holds, in order.
    pub fn iter(&self) -> impl Iterator<Item = i32> {
        self.0.iter().flat_map(|run| run.first..=run.last)
    }
}

/// `0-2,5`: a run of two is written as two indexes, as upstream writes it.
impl fmt::Display for Intervals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, run) in self.0.iter().enumerate() {
            if at > 0 {
                out.write_str(",")?;
            }
            match run.last - run.first {
                0 => write!(out, "{}", run.first)?,
                1 => write!(out, "{},{}", run.first, run.last)?,
                _ => write!(out, "{}-{}", run.first, run.last)?,
            }
        }
        Ok(())
    }
}

/// Joins runs that touch or overlap; they come ordered by their first index.
fn join(runs: impl IntoIterator<Item = Interval>) -> Vec<Interval> {
    let mut joined: Vec<Interval> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(before) if run.first <= before.last.saturating_add(1) => before.last = before.last.max(run.last),
            Some(_) | None => joined.push(run),
        }
    }
    joined
}

fn parse_run(part: &str, limit: i32) -> Option<Interval> {
    let mut bounds = part.split('-');
    let first: i64 = bounds.next()?.parse().ok()?;
    let last: i64 = match bounds.next() {
        Some(text) => text.parse().ok()?,
        None => first,
    };
    let last = last.min(i64::from(limit) - 1);
    let run = Interval { first: i32::try_from(first).ok()?, last: i32::try_from(last).ok()? };
    (0 <= run.first && run.first <= run.last).then_some(run)
}
