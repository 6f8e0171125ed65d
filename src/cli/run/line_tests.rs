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
    expected.assert_eq(&progress(line, 7, 200, false));
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
fn pods_take_colours_in_turn_and_keep_them() {
    let mut prefixes = Prefixes::default();
    let mut painted = |pod: &str| prefixes.colour(pod) as u8;
    let first: Vec<u8> = ["a", "b", "c", "d", "e", "f"].map(&mut painted).into();
    assert_eq!(first.iter().collect::<std::collections::HashSet<_>>().len(), first.len(), "{first:?}");
    assert_eq!(["a", "b"].map(&mut painted), [first[0], first[1]]);
    assert!(Prefixes::default().prefix("a", None, true).starts_with("\x1b["));
}

#[test]
fn colours_of_endless_pods_are_not_kept() {
    let mut prefixes = Prefixes::default();
    for n in 0..2 * super::REMEMBERED + 1 {
        prefixes.colour(&n.to_string());
    }
    assert!(prefixes.turns.len() <= super::REMEMBERED);
}

#[test]
fn a_narrow_terminal_takes_the_bar_and_then_the_names_end_but_no_number() {
    let long = JobLine { name: "a-name-of-thirty-characters-ab".to_owned(), succeeded: 3, failed: 1, ..line() };
    let at = |columns: usize| progress(&long, 30, columns, false);
    assert!(at(90).contains('━'), "{}", at(90));
    assert_eq!(at(80), "a-name-of-thirty-characters-ab  3/5 succeeded, 1 failed  1m05s");
    assert_eq!(at(50), "a-name-of-thirt…  3/5 succeeded, 1 failed  1m05s".replace("thirt…", "thirty-…"));
    assert_eq!(at(10), "a-name-…  3/5 succeeded, 1 failed  1m05s");
}

#[test]
fn pods_that_have_not_started_are_not_active() {
    check(
        &JobLine { active: 1, pending: 2, ..line() },
        expect!["hello    ────────────────────────  0/5 succeeded, 1 active, 2 pending  1m05s"],
    );
}
