//! Owns the properties of interval sets and of the back-off, over random input.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use jobdock::job::backoff::{self, BackoffRecord, Delays};
use jobdock::model::interval::Intervals;
use proptest::prelude::*;

fn set() -> impl Strategy<Value = BTreeSet<i32>> {
    proptest::collection::btree_set(0..40_i32, 0..25)
}

proptest! {
    #[test]
    fn intervals_are_the_set_they_were_made_of(indexes in set(), limit in 0..50_i32) {
        let intervals = Intervals::of(indexes.iter().rev().copied());
        prop_assert_eq!(intervals.iter().collect::<BTreeSet<_>>(), indexes.clone());
        prop_assert_eq!(usize::try_from(intervals.total()).unwrap(), indexes.len());
        prop_assert!((0..50).all(|index| intervals.contains(index) == indexes.contains(&index)));
        prop_assert_eq!(intervals.is_empty(), indexes.is_empty());
        let missing: Vec<i32> = (0..limit).filter(|index| !indexes.contains(index)).collect();
        prop_assert_eq!(intervals.missing(limit).collect::<Vec<_>>(), missing);
    }

    #[test]
    fn intervals_are_read_as_they_are_written(indexes in set(), limit in 0..50_i32) {
        let text = Intervals::of(indexes.iter().copied()).to_string();
        let kept: BTreeSet<i32> = indexes.into_iter().filter(|index| *index < limit).collect();
        prop_assert_eq!(Intervals::parse(&text, limit).iter().collect::<BTreeSet<_>>(), kept);
    }

    #[test]
    fn unions_and_overlaps_are_those_of_sets(one in set(), other in set()) {
        let (left, right) = (Intervals::of(one.iter().copied()), Intervals::of(other.iter().copied()));
        prop_assert_eq!(left.merge(&right), Intervals::of(one.union(&other).copied()));
        prop_assert_eq!(usize::try_from(left.overlap(&right)).unwrap(), one.intersection(&other).count());
        prop_assert_eq!(left.overlap(&right), right.overlap(&left));
    }

    #[test]
    fn any_text_is_read_without_harm(text in "[0-9,x -]{0,20}", limit in 0..100_i32) {
        let read = Intervals::parse(&text, limit);
        prop_assert!(read.iter().all(|index| (0..limit).contains(&index)));
        prop_assert_eq!(Intervals::parse(&read.to_string(), limit), read);
    }

    #[test]
    fn the_delay_never_shrinks_with_more_failures_nor_passes_the_cap(failures in 1..60_i32, ago in 0..1000_i64) {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let last = now - SignedDuration::from_secs(ago);
        let left = |failures| backoff::remaining(failures, last, Delays::default(), now);
        prop_assert!(left(failures) <= left(failures + 1));
        prop_assert!(left(failures) <= SignedDuration::from_mins(10));
        prop_assert!(left(failures) >= SignedDuration::ZERO);
    }

    #[test]
    fn the_order_of_news_does_not_matter(mut succeeded in proptest::collection::vec(0..9_i64, 0..4), mut failed in proptest::collection::vec(0..9_i64, 0..4)) {
        let record = BackoffRecord { failures: 2, last_failure_time: Timestamp::from_second(0).ok() };
        let times = |seconds: &[i64]| seconds.iter().map(|second| Timestamp::from_second(*second).unwrap()).collect::<Vec<_>>();
        let one = record.after(&times(&succeeded), &times(&failed));
        succeeded.reverse();
        failed.reverse();
        prop_assert_eq!(one, record.after(&times(&succeeded), &times(&failed)));
    }
}

#[test]
fn intervals_are_written_as_upstream_writes_them() {
    for (indexes, text) in [
        (vec![], ""),
        (vec![0], "0"),
        (vec![0, 1], "0,1"),
        (vec![0, 1, 2], "0-2"),
        (vec![5, 0, 2, 1, 8, 7], "0-2,5,7,8"),
    ] {
        assert_eq!(Intervals::of(indexes).to_string(), text);
    }
}

#[test]
fn intervals_are_read_as_upstream_reads_them() {
    for (text, limit, read) in [
        ("", 5, ""),
        ("0-2,5", 9, "0-2,5"),
        ("0-9", 5, "0-4"),
        ("3,7,8", 5, "3"),
        ("x,1,2-y,4", 9, "1,4"),
        ("5-3,1", 9, "1"),
        ("4,0", 9, "0,4"),
        ("0,1,2", 9, "0-2"),
        ("-3", 9, ""),
        ("99999999999", 9, ""),
        ("0-99999999999", 3, "0-2"),
        (" 1", 9, ""),
    ] {
        assert_eq!(Intervals::parse(text, limit).to_string(), read, "{text:?} below {limit}");
    }
}

#[test]
fn the_delay_doubles_from_ten_seconds_to_ten_minutes() {
    let now = Timestamp::from_second(1_000_000).unwrap();
    for (failures, seconds) in [(0, 0), (1, 10), (2, 20), (3, 40), (6, 320), (7, 600), (30, 600), (i32::MAX, 600)] {
        let left = backoff::remaining(failures, now, Delays::default(), now);
        assert_eq!(left, SignedDuration::from_secs(seconds), "{failures} failures");
    }
}

#[test]
fn a_delay_of_nothing_stays_nothing() {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let delays = Delays { base: SignedDuration::ZERO, ..Delays::default() };
    assert_eq!(backoff::remaining(i32::MAX, now, delays, now), SignedDuration::ZERO);
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up() {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let left = |ahead| backoff::remaining(1, now + SignedDuration::from_secs(ahead), Delays::default(), now).as_secs();
    assert_eq!([left(0), left(5), left(10), left(11), left(100_000)], [10, 15, 20, 0, 0]);
}

#[test]
fn a_success_forgives_the_failures_before_it() {
    let second = |second: i64| Timestamp::from_second(second).unwrap();
    let record = BackoffRecord { failures: 3, last_failure_time: Some(second(5)) };
    let after = |succeeded: &[i64], failed: &[i64]| {
        let times = |seconds: &[i64]| seconds.iter().map(|at| second(*at)).collect::<Vec<_>>();
        let record = record.after(&times(succeeded), &times(failed));
        (record.failures, record.last_failure_time.map(|at| at.as_second()))
    };
    assert_eq!(after(&[], &[]), (3, Some(5)));
    assert_eq!(after(&[], &[8, 7]), (5, Some(8)));
    assert_eq!(after(&[9], &[]), (0, None));
    assert_eq!(after(&[9], &[8]), (0, None));
    assert_eq!(after(&[9], &[9]), (0, None));
    assert_eq!(after(&[9, 4], &[10, 7, 12]), (2, Some(12)));
}
