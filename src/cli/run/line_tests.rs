//! The texts of progress lines and prefixes.

use expect_test::{Expect, expect};
use jiff::SignedDuration;

use super::{Prefixes, progress};
use crate::cli::run::report::Verdict;
use crate::cli::run::state::JobLine;

fn line() -> JobLine {
    JobLine {
        name: "hello".to_owned(),
        completions: Some(5),
        elapsed: SignedDuration::from_secs(65),
        ..JobLine::default()
    }
}

#[track_caller]
fn check(line: &JobLine, expected: Expect) {
    expected.assert_eq(&progress(line, 7, false));
}

#[test]
fn a_job_that_has_just_begun() {
    check(&line(), expect!["hello    ────────────────────────  0/5 succeeded  1m05s"]);
}

#[test]
fn a_job_under_way() {
    check(
        &JobLine { succeeded: 3, active: 2, failed: 1, ..line() },
        expect!["hello    ━━━━━━━━━━━━━━──────────  3/5 succeeded, 2 active, 1 failed  1m05s"],
    );
}

#[test]
fn a_job_that_waits_says_why() {
    check(
        &JobLine { active: 1, note: Some("ImagePullBackOff".to_owned()), ..line() },
        expect!["hello    ────────────────────────  0/5 succeeded, 1 active  1m05s  (ImagePullBackOff)"],
    );
}

#[test]
fn a_work_queue_has_no_total() {
    check(
        &JobLine { completions: None, succeeded: 2, ..line() },
        expect!["hello    ────────────────────────  2 succeeded  1m05s"],
    );
}

#[test]
fn a_finished_job_is_marked() {
    check(
        &JobLine { succeeded: 5, verdict: Some(Verdict::Complete), ..line() },
        expect!["hello    ━━━━━━━━━━━━━━━━━━━━━━━━  5/5 succeeded  1m05s  ✔"],
    );
    check(
        &JobLine { failed: 1, verdict: Some(Verdict::Failed), ..line() },
        expect!["hello    ────────────────────────  0/5 succeeded, 1 failed  1m05s  ✘"],
    );
}

#[test]
fn prefixes_are_aligned_from_the_longest_so_far() {
    let mut prefixes = Prefixes::default();
    assert_eq!(prefixes.prefix("a-1", None, false), "a-1 | ");
    assert_eq!(prefixes.prefix("a-1", Some("main"), false), "a-1/main | ");
    assert_eq!(prefixes.prefix("b-1", None, false), "b-1      | ");
}

#[test]
fn a_pod_keeps_its_colour() {
    let painted = |pod: &str| Prefixes::default().prefix(pod, None, true);
    assert_eq!(painted("hello-0-aaaaa"), painted("hello-0-aaaaa"));
    assert!(painted("hello-0-aaaaa").starts_with("\x1b["));
}

#[test]
fn neighbours_mostly_differ_in_colour() {
    let colours: std::collections::HashSet<_> = (0..12).map(|n| super::colour(&format!("hello-{n}")) as u8).collect();
    assert!(colours.len() >= 4, "{colours:?}");
}
