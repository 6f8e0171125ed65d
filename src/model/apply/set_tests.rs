//! Owns the promises of sets of fields: their text, and that they are sets.
//! Never knows an object.

use proptest::prelude::*;

use super::super::path::{Atom, Step};
use super::*;

#[test]
fn the_text_of_a_set_is_upstreams() {
    let texts = [
        r#"{}"#,
        r#"{"f:data":{"f:a":{},"f:b":{}}}"#,
        r#"{"f:data":{".":{},"f:a":{}}}"#,
        r#"{"f:metadata":{"f:finalizers":{".":{},"v:\"a/b\"":{}},"f:labels":{".":{},"f:x.y/z":{}}}}"#,
        r#"{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{}}}}}"#,
        r#"{"f:spec":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}"#,
        r#"{"f:a":{"i:0":{},"i:10":{},"v:1":{},"v:true":{}}}"#,
    ];
    for text in texts {
        let set = Set::from_value(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(set.to_value().to_string(), text);
    }
}

#[test]
fn a_set_leaves_out_what_it_does_not_know_and_refuses_what_it_cannot_read() {
    let read = |text: &str| Set::from_value(&serde_json::from_str(text).unwrap()).map(|set| set.to_value().to_string());
    assert_eq!(read(r#"{"f:a":{"x:b":{}},"x:c":{"f:d":{}}}"#).unwrap(), r#"{"f:a":{}}"#);
    assert_eq!(read("null").unwrap(), "{}");
    for bad in
        [r#"{"a":{}}"#, r#"{"f:a":1}"#, r#"{"k:x":{}}"#, r#"{"i:x":{}}"#, r#"{"v:[]":{}}"#, r#"{"k:{\"a\":null}":{}}"#]
    {
        assert!(read(bad).is_err(), "{bad}");
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let atom = || {
        prop_oneof![
            "[a-z\"\\\\/.:]{0,3}".prop_map(Atom::Text),
            (-3_i64..99).prop_map(Atom::Int),
            any::<bool>().prop_map(Atom::Bool)
        ]
    };
    prop_oneof![
        "[a-z./:\"]{0,4}".prop_map(Step::Field),
        prop::collection::btree_map("[a-z]{1,2}", atom(), 1..3).prop_map(|keys| Step::Key(keys.into_iter().collect())),
        atom().prop_map(Step::Item),
        (0_i64..20).prop_map(Step::Index),
    ]
}

fn any_set() -> impl Strategy<Value = Set> {
    let leaf = prop::collection::btree_set(any_step(), 1..4).prop_map(|members| Set { members, ..Set::default() });
    let tree = leaf.prop_recursive(3, 12, 3, |inner| {
        (prop::collection::btree_set(any_step(), 0..3), prop::collection::btree_map(any_step(), inner, 1..3))
            .prop_map(|(members, children)| Set { members, children })
    });
    prop_oneof![Just(Set::default()), tree]
}

proptest! {
    #[test]
    fn a_set_that_is_written_and_read_is_the_same(set in any_set()) {
        let text = set.to_value().to_string();
        prop_assert_eq!(Set::from_value(&serde_json::from_str(&text).unwrap()).unwrap(), set);
    }

    #[test]
    fn sets_obey_the_laws_of_sets(one in any_set(), other in any_set()) {
        let (both, rest) = (one.intersection(&other), one.difference(&other));
        prop_assert_eq!(both.union(&rest), one.clone());
        prop_assert!(both.intersection(&rest).is_empty());
        prop_assert_eq!(one.union(&other), other.union(&one));
        prop_assert!(one.difference(&one).is_empty() && one.recursive_difference(&one).is_empty());
        for path in one.paths() {
            prop_assert!(one.has(&path) && both.has(&path) == other.has(&path));
        }
    }
}
