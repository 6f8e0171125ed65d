//! Every sample agrees: code, causes, messages, objects, warnings.

use jobdock::model::kind::Kind;
use jobdock::model::object::Object;
use serde_json::{Value, json};

use super::parity::{FOLDERS, differences, folder};

/// Samples that are not compared, each with its reason. There is none.
const SKIPPED: &[(&str, &str)] = &[];

#[test]
fn every_sample_agrees_with_upstream() {
    let (mut compared, mut agreed, mut wrong) = (0, 0, Vec::new());
    for (name, request) in FOLDERS {
        for sample in folder(name, *request) {
            if SKIPPED.iter().any(|(skipped, _)| *skipped == sample.name) {
                continue;
            }
            compared += 1;
            let found = differences(&sample, &sample.ours());
            agreed += usize::from(found.is_empty());
            wrong.extend(found.into_iter().map(|difference| format!("{}: {difference}", sample.name)));
        }
    }
    // For `--nocapture`: what the comparison came to.
    println!("parity: {compared} samples, {agreed} agree, {} skipped", SKIPPED.len());
    assert!(wrong.is_empty(), "{} of {compared} samples differ\n{}", compared - agreed, wrong.join("\n"));
}

/// Values that rules tend to forget.
fn odd_values() -> Vec<Value> {
    vec![json!(""), json!("-ä\u{301}/"), json!(-1), json!(i64::MAX), json!([]), json!({})]
}

/// Puts `odd` in the place of each leaf in turn and hands the whole to `visit`.
fn with_each_leaf(value: &Value, odd: &Value, visit: &mut dyn FnMut(Value)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, field) in fields {
                with_each_leaf(field, odd, &mut |changed| {
                    let mut fields = fields.clone();
                    fields.insert(key.clone(), changed);
                    visit(Value::Object(fields));
                });
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                with_each_leaf(item, odd, &mut |changed| {
                    let mut items = items.clone();
                    items[index] = changed;
                    visit(Value::Array(items));
                });
            }
        }
        _ => visit(odd.clone()),
    }
}

#[test]
fn no_odd_value_makes_a_rule_panic() {
    for (name, request) in [FOLDERS[0], FOLDERS[2]] {
        // Every fourth of them holds enough sorts of fields.
        for sample in folder(name, request).iter().filter(|sample| sample.name.contains("/ok-")).step_by(4) {
            let manifest = &sample.answer["object"];
            let kind = Kind::find("batch", manifest["kind"].as_str().expect("a kind is a text")).expect("served");
            for odd in odd_values() {
                with_each_leaf(manifest, &odd, &mut |changed| {
                    let Ok(object) = Object::from_value(kind, changed) else { return };
                    let errors = (kind.ops.validate_create)(&object);
                    let old = Object::from_value(kind, manifest.clone()).expect("the answer has the kind's types");
                    let _ = (kind.ops.validate_update)(&object, &old);
                    let _ = (kind.ops.validate_status_update)(&object, &old);
                    if errors.is_empty() {
                        let _ = (kind.ops.warnings)(&object, None);
                    }
                });
            }
        }
    }
}
