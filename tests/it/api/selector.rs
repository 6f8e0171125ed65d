//! Label selectors, text in, yes or no out.

use std::collections::BTreeMap;

use jobdock::model::selector::Selector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// `selector` against labels written as `a=1,b=2`.
#[track_caller]
fn check(selector: &str, labels: &str, expected: bool) {
    let labels: BTreeMap<String, String> = labels
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let parsed = Selector::parse(selector).unwrap();
    assert_eq!(parsed.matches(Some(&labels)), expected, "{selector:?} on {labels:?}");
}

#[track_caller]
fn refuses(selector: &str, message: &str) {
    assert_eq!(Selector::parse(selector).unwrap_err().to_string(), message);
}

#[track_caller]
fn writes(selector: &str, text: &str) {
    assert_eq!(Selector::parse(selector).unwrap().to_string(), text);
}

#[test]
fn equality() {
    check("", "a=1", true);
    check("a=1", "a=1", true);
    check("a==1", "a=1", true);
    check("a=1", "a=2", false);
    check("a=1", "b=1", false);
    check("a=", "a=", true);
    check("a=", "b=1", false);
    check("a=1,b=2", "a=1,b=2", true);
    check("a=1,b=2", "a=1", false);
    check(" a = 1 , b = 2 ", "a=1,b=2", true);
    check("batch.kubernetes.io/job-name=x", "batch.kubernetes.io/job-name=x", true);
}

#[test]
fn inequality_and_absence_hold_without_the_label() {
    check("a!=1", "a=2", true);
    check("a!=1", "a=1", false);
    check("a!=1", "b=1", true);
    check("!a", "b=1", true);
    check("!a", "a=1", false);
    check("! a", "a=1", false);
    check("a notin (1,2)", "b=1", true);
    check("a notin (1,2)", "a=2", false);
    check("a notin (1,2)", "a=3", true);
}

#[test]
fn sets_and_presence() {
    check("a in (1,2)", "a=2", true);
    check("a in (1,2)", "a=3", false);
    check("a in (1, 2)", "a=2", true);
    check("a in ()", "a=", true);
    check("a in (,1)", "a=", true);
    check("a in (1,)", "a=", true);
    check("a", "a=1", true);
    check("a", "b=1", false);
    check("a,b", "a=1,b=2", true);
    check("in in (in)", "in=in", true);
}

#[test]
fn comparisons() {
    check("a>1", "a=2", true);
    check("a>2", "a=2", false);
    check("a<2", "a=1", true);
    check("a<2", "a=x", false);
}

#[test]
fn what_cannot_be_read_is_refused_in_upstreams_words() {
    refuses(",", "found ',', expected: !, identifier, or 'end of string'");
    refuses("a=1,", "found '', expected: identifier after ','");
    refuses("a in 1", "unable to parse requirement: found '1', expected: '('");
    refuses("a in (1", "unable to parse requirement: found '', expected: ',' or ')'");
    refuses("a=1 b", "found 'b', expected: ',' or 'end of string'");
    refuses("a x", "unable to parse requirement: found 'x', expected: in, notin, =, ==, !=, gt, lt");
    refuses("a>x", "unable to parse requirement: for 'Gt', 'Lt' operators, the value must be an integer");
    assert!(Selector::parse("-a=1").is_err());
    assert!(Selector::parse("a/b/c=1").is_err());
    assert!(Selector::parse("a=-1").is_err());
    assert!(Selector::parse(&format!("a={}", "x".repeat(64))).is_err());
}

#[test]
fn they_are_written_sorted() {
    writes("b=1,a in (z,y),!c", "a in (y,z),b=1,!c");
    writes("a==1", "a=1");
    writes("a", "a");
}

#[test]
fn the_object_form_means_the_same() {
    let expression = |key: &str, operator: &str, values: &[&str]| LabelSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
    };
    let selector = LabelSelector {
        match_labels: Some([("a".to_owned(), "1".to_owned())].into()),
        match_expressions: Some(vec![
            expression("b", "In", &["2", "3"]),
            expression("c", "NotIn", &["4"]),
            expression("d", "Exists", &[]),
            expression("e", "DoesNotExist", &[]),
        ]),
    };
    assert_eq!(Selector::of(&selector).unwrap().to_string(), "a=1,b in (2,3),c notin (4),d,!e");
    let unknown =
        LabelSelector { match_expressions: Some(vec![expression("a", "Is", &[])]), ..LabelSelector::default() };
    assert_eq!(Selector::of(&unknown).unwrap_err().to_string(), "\"Is\" is not a valid label selector operator");
}
