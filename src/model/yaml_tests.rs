//! YAML's quirks, and the words for broken YAML.

use serde_json::json;

use super::*;

#[track_caller]
fn reads(text: &str, expected: serde_json::Value) {
    assert_eq!(first(text.as_bytes()).expect("the YAML is right").node.to_value(), expected, "{text}");
}

#[track_caller]
fn fails(text: &str, message: &str) {
    let error = first(text.as_bytes()).expect_err("the YAML is wrong");
    assert_eq!(error.message, format!("yaml: {message}"), "{text}");
}

#[test]
fn anchors_and_merges_are_go_yamls() {
    reads("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}", json!({"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}}));
    // Later keys win, merged ones too.
    reads("a: &x {k: 1}\nb: {k: 3, <<: *x}", json!({"a": {"k": 1}, "b": {"k": 1}}));
    reads("- &a {k: 1}\n- &b {k: 2, l: 2}\n- <<: [*a, *b]", json!([{"k": 1}, {"k": 2, "l": 2}, {"k": 1, "l": 2}]));
    reads("a: &x [1]\nb: *x", json!({"a": [1], "b": [1]}));
    reads("a: &x 1\nb: *x", json!({"a": 1, "b": 1}));
    reads("'<<': 1", json!({"<<": 1}));
}

#[test]
fn keys_become_strings() {
    reads("1: a\ntrue: b\n1.5: c\n0x10: d", json!({"1": "a", "true": "b", "1.5": "c", "16": "d"}));
}

#[test]
fn an_empty_text_is_null() {
    for text in ["", "\n", "# only words\n", "---\n", "~"] {
        reads(text, json!(null));
    }
}

#[test]
fn only_the_first_document_of_a_body_counts() {
    reads("a: 1\n---\nb: [", json!({"a": 1}));
}

#[test]
fn block_scalars_end_as_in_libyaml() {
    reads("a: |\n  x", json!({"a": "x"}));
    reads("a: |\n  x\n", json!({"a": "x\n"}));
    reads("a: >-\n  x\n  y\n", json!({"a": "x y"}));
}

#[test]
fn values_that_cannot_be_are_refused() {
    fails("a: *x", "unknown anchor 'x' referenced");
    fails("a: &x [*x]", "anchor 'x' value contains itself");
    fails(
        "name: {{ .Values.name }}",
        "invalid map key: map[interface {}]interface {}{\".Values.name\":interface {}(nil)}",
    );
    fails("<<: 1", "map merge requires map or sequence of maps as the value");
    fails("a: !!int x", "cannot decode !!str `x` as a !!int");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (one, next) in ["a", "b", "c", "d", "e", "f", "g"].iter().zip(["b", "c", "d", "e", "f", "g", "h"]) {
        text.push_str(&format!("{next}: &{next} [*{one},*{one},*{one},*{one},*{one},*{one},*{one},*{one},*{one}]\n"));
    }
    fails(&text, "document contains excessive aliasing");
}

/// Texts that are no YAML, with libyaml's problem and marks put together as go-yaml does; none where it reads them.
#[test]
fn syntax_errors_are_worded_as_go_yaml_words_them() {
    let cases: Vec<(String, Option<String>)> =
        serde_json::from_str(include_str!("../../tests/samples/yaml-errors.json")).expect("the samples are JSON");
    for (text, expected) in cases {
        assert_eq!(first(text.as_bytes()).err().map(|error| error.message), expected, "{text}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    assert_eq!(first(b"a: \xff").expect_err("no text").message, "yaml: invalid leading UTF-8 octet");
    assert_eq!(first(b"a: \x01").expect_err("no text").message, "yaml: control characters are not allowed");
}

#[test]
fn a_syntax_error_shows_its_line_with_a_caret() {
    let error = documents("a: 1\nb: c: d\n").expect_err("the YAML is wrong");
    let expected =
        "yaml: line 2: mapping values are not allowed in this context (line 2, column 5)\n 2 | b: c: d\n   |     ^";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn documents_of_a_file_know_their_places() {
    let documents =
        documents("# head\na: 1\n---\n\n---\nkind: List\nitems:\n- b:\n    c: 2\n").expect("the YAML is right");
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[0].line_of("a"), Mark { line: 2, column: 4 });
    let objects = documents[1].clone().objects();
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0].line_of("b.c").line, 9);
    assert_eq!(objects[0].line_of("b.missing").line, 8);
}

#[test]
fn json_values_may_follow_each_other_in_a_file() {
    let documents = documents("{\"a\": 1}\n{\"b\": 2}").expect("the JSON is right");
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[1].line_of("b").line, 2);
}

#[test]
fn a_duplicate_is_reported_where_its_value_starts() {
    let lines = |text: &str| -> Vec<String> {
        let document = first(text.as_bytes()).expect("the YAML is right");
        document.duplicates.into_iter().map(|duplicate| duplicate.message).collect()
    };
    let cases = [
        ("m:\n  a:\n    b: 1\n  a:\n    c: 2\n", 5, "\"a\""),
        ("a: 1\na:\n- x\n", 3, "\"a\""),
        ("a: 1\na:\nb: 2\n", 2, "\"a\""),
        ("a: 1\na: &x\n  b: 2\n", 2, "\"a\""),
        ("a: 1\na: !!map\n  b: 2\n", 2, "\"a\""),
        ("a: 1\na: |\n  x\n", 2, "\"a\""),
        ("a: 1\na: >- # x\n\n  x\n", 2, "\"a\""),
        ("a: 1\n? a\n: b\n", 3, "\"a\""),
        ("x: &a {k: 1}\ny:\n  k: 2\n  <<: *a\n", 1, "\"k\""),
        ("x: &a {k: 1}\ny:\n  <<: *a\n  k: 2\n", 4, "\"k\""),
        ("a: 1\n'a': 2\n", 2, "\"a\""),
        ("1: a\n1: b\n", 2, "1"),
        ("true: a\nyes: b\n", 2, "true"),
    ];
    for (text, line, key) in cases {
        assert_eq!(lines(text), [format!("line {line}: key {key} already set in map")], "{text}");
    }
    assert_eq!(lines("1: a\n'1': b\n"), [""; 0]);
}
