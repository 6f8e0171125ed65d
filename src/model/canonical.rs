//! Owns the form in which Go would write an object back: what is zero and `omitempty` is gone, what is always written
//! is there.
//! Never changes what an object means, and never defaults.
//!
//! Parity: `encoding/json` after a round trip through upstream's types. `tty: false` goes, `suspend: false` (a pointer)
//! stays, `resources: {}` (a struct, no pointer) appears. Differs: upstream up to 1.33 writes `creationTimestamp: null`
//! where there is none, as in pod templates; here it is absent, as newer releases have it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::go_text::json_float;
use super::kind::Kind;
use super::schema::{self, Field, GoType, Struct};

/// Makes the canonical form of a tree that `decode::walk` has made.
pub fn tidy(value: &mut Value, ty: &'static Struct) {
    let Value::Object(members) = value else { return };
    for field in &ty.fields {
        match members.get_mut(field.name) {
            Some(value) => tidy_value(value, &field.ty),
            None => {
                if let Some(value) = unset(field) {
                    members.insert(field.name.to_owned(), value);
                }
                continue;
            }
        }
        if members.get(field.name).is_some_and(|value| dropped(value, field)) {
            members.remove(field.name);
        }
    }
}

/// An object's JSON without the empty names that `k8s-openapi` writes where Go writes none (`imagePullSecrets: [{}]`).
/// Nearly no object has one, so that nearly always this only looks.
pub fn json(kind: &Kind, json: Bytes) -> Bytes {
    const EMPTY_NAME: &[u8] = br#""name":"""#;
    if !json.windows(EMPTY_NAME.len()).any(|window| window == EMPTY_NAME) {
        return json;
    }
    let Ok(mut value) = serde_json::from_slice(&json) else { return json };
    tidy(&mut value, schema::of(kind));
    value.to_string().into()
}

fn tidy_value(value: &mut Value, ty: &GoType) {
    match (ty.base(), &mut *value) {
        (GoType::Struct(_), _) => {
            if let Some(ty) = ty.as_struct() {
                tidy(value, ty);
            }
        }
        (GoType::List(of), Value::Array(items)) => items.iter_mut().for_each(|item| tidy_value(item, of)),
        (GoType::Map(_, of), Value::Object(members)) => members.values_mut().for_each(|value| tidy_value(value, of)),
        _ => {}
    }
}

/// What Go writes for a field that nobody set.
fn unset(field: &Field) -> Option<Value> {
    match &field.ty {
        GoType::Struct(_) => {
            let mut value = json!({});
            tidy_value(&mut value, &field.ty);
            Some(value)
        }
        GoType::Quantity => Some(json!("0")),
        GoType::Named(..) | GoType::Text if field.always && field.ty.base() == &GoType::Text => Some(json!("")),
        GoType::Int32 | GoType::Int64 if field.always => Some(json!(0)),
        GoType::Bool if field.always => Some(json!(false)),
        _ => None,
    }
}

/// Whether Go leaves the value out: null always, zero where the field says `omitempty`.
fn dropped(value: &Value, field: &Field) -> bool {
    if value.is_null() {
        return true;
    }
    if field.always {
        return false;
    }
    match &field.ty {
        GoType::Named(_, of) => is_zero(value, of),
        ty => is_zero(value, ty),
    }
}

fn is_zero(value: &Value, ty: &GoType) -> bool {
    match (ty, value) {
        (GoType::Bool, Value::Bool(value)) => !value,
        (GoType::Int32 | GoType::Int64, value) => value.as_i64() == Some(0),
        (GoType::Text | GoType::Bytes, Value::String(text)) => text.is_empty(),
        (GoType::List(_), Value::Array(items)) => items.is_empty(),
        (GoType::Map(..), Value::Object(members)) => members.is_empty(),
        _ => false,
    }
}

/// The JSON text of an object as Go's encoder writes it, fields in Go's order, `<`, `>` and `&` escaped. Where `new` is
/// what a patch made of `old`, the parts that it touched have their keys sorted, because upstream's patch library holds
/// those as maps.
pub fn go_json(new: &Value, old: Option<&Value>, ty: &'static Struct) -> String {
    let mut out = String::new();
    write(new, old, &GoType::Struct(ty.name), &mut out);
    out
}

fn write(new: &Value, old: Option<&Value>, ty: &GoType, out: &mut String) {
    let touched = old != Some(new);
    match (new, ty.base()) {
        (Value::Object(members), GoType::Struct(_)) if !touched => write_struct(members, ty, out),
        (Value::Object(members), _) => {
            let owner = ty.as_struct();
            let member = |name: &str| old.and_then(|old| old.get(name));
            let of = |name: &str| match ty.base() {
                GoType::Map(_, of) => Some(&**of),
                _ => owner.and_then(|owner| owner.field(name)).map(|field| &field.ty),
            };
            let parts = members.iter().map(|(name, value)| (name.as_str(), value));
            write_members(parts, out, |name, value, out| match of(name) {
                Some(ty) => write(value, member(name), ty, out),
                None => write_plain(value, out),
            });
        }
        (Value::Array(items), GoType::List(of)) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, if touched { None } else { Some(item) }, of, out);
            }
            out.push(']');
        }
        (value, _) => write_plain(value, out),
    }
}

fn write_struct(members: &Map<String, Value>, ty: &GoType, out: &mut String) {
    let Some(owner) = ty.as_struct() else { return };
    let null = Value::Null;
    let parts: Vec<(&str, &Value)> = owner
        .fields
        .iter()
        .filter_map(|field| match members.get(field.name) {
            Some(value) => Some((field.name, value)),
            None if field.ty == GoType::Time => Some((field.name, &null)),
            None => None,
        })
        .collect();
    write_members(parts.into_iter(), out, |name, value, out| match owner.field(name) {
        Some(field) => write(value, Some(value), &field.ty, out),
        None => write_plain(value, out),
    });
}

fn write_members<'a>(
    members: impl Iterator<Item = (&'a str, &'a Value)>,
    out: &mut String,
    each: impl Fn(&str, &Value, &mut String),
) {
    out.push('{');
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(name, out);
        out.push(':');
        each(name, value, out);
    }
    out.push('}');
}

fn write_plain(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => write_text(text, out),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => out.push_str(&json_float(float)),
            _ => out.push_str(&number.to_string()),
        },
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_plain(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let parts = members.iter().map(|(name, value)| (name.as_str(), value));
            write_members(parts, out, |_, value, out| write_plain(value, out));
        }
        Value::Null | Value::Bool(_) => out.push_str(&value.to_string()),
    }
}

fn write_text(text: &str, out: &mut String) {
    for character in Value::from(text).to_string().chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", character as u32)),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::decode::walk;
    use super::super::tree::Node;
    use super::*;

    #[track_caller]
    fn becomes(ty: &str, value: &Value, expected: &Value) {
        let mut walked = walk(&Node::from_value(value), schema::get(ty));
        tidy(&mut walked.value, schema::get(ty));
        assert_eq!(&walked.value, expected);
    }

    #[test]
    fn zero_values_go_where_go_drops_them() {
        let sent = json!({"name": "", "image": "", "tty": false, "args": [], "env": [{"name": "A", "value": ""}]});
        becomes("core/v1.Container", &sent, &json!({"name": "", "env": [{"name": "A"}], "resources": {}}));
        let sent = json!({"hostNetwork": false, "nodeSelector": {}, "restartPolicy": "", "containers": []});
        becomes("core/v1.PodSpec", &sent, &json!({"containers": []}));
    }

    #[test]
    fn pointers_keep_their_zero() {
        let sent = json!({"runAsNonRoot": false, "runAsUser": 0, "capabilities": {}});
        becomes("core/v1.SecurityContext", &sent, &sent);
    }

    #[test]
    fn structs_that_are_no_pointers_are_always_there() {
        let expected = json!({"metadata": {}, "spec": {"template": {"metadata": {}, "spec": {}}}, "status": {}});
        becomes("batch/v1.Job", &json!({"spec": null}), &expected);
        let sent = json!({"resource": "limits.cpu"});
        becomes("core/v1.ResourceFieldSelector", &sent, &json!({"resource": "limits.cpu", "divisor": "0"}));
    }

    #[test]
    fn nulls_are_absent_but_zero_inside_maps_and_lists() {
        let sent = json!({"labels": {"a": null}, "annotations": null, "name": null});
        becomes("meta/v1.ObjectMeta", &sent, &json!({"labels": {"a": ""}}));
        let sent = json!({"name": "x", "command": [null]});
        becomes("core/v1.Container", &sent, &json!({"name": "x", "command": [""], "resources": {}}));
    }

    #[test]
    fn json_is_written_in_gos_order_where_no_patch_touched_it() {
        let old = json!({"name": "a<b", "image": "i", "resources": {}});
        let ty = schema::get("core/v1.Container");
        assert_eq!(go_json(&old, Some(&old), ty), r#"{"name":"a\u003cb","image":"i","resources":{}}"#);
        let new = json!({"name": "x", "image": "i", "resources": {}});
        assert_eq!(go_json(&new, Some(&old), ty), r#"{"image":"i","name":"x","resources":{}}"#);
    }
}
