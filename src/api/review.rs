//! Owns the reviews by which a client asks who it is and what it may do. PURE.
//! Never decides access: whoever has the token or the socket may do everything, and is told so.

use serde_json::{Value, json};

use super::error::Problem;

/// The name under which a caller appears. Parity in form: upstream's break-glass administrator.
pub const USER: &str = "jobdock-admin";
/// The caller's groups.
pub const GROUPS: &[&str] = &["system:masters", "system:authenticated"];

/// The answer to a review: the request with its `status`.
pub fn answer(kind: &str, api_version: &str, mut review: Value) -> Result<Value, Problem> {
    let Some(body) = review.as_object_mut() else {
        return Err(Problem::bad_request(format!("couldn't get version/kind; a {kind} is an object")));
    };
    if let Some(other) = body.get("kind").and_then(Value::as_str).filter(|other| *other != kind) {
        let version = body.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        return Err(Problem::bad_request(format!(
            "{other} in version \"{version}\" cannot be handled as a {kind}: no kind \"{other}\" is registered"
        )));
    }
    body.insert("kind".to_owned(), json!(kind));
    body.insert("apiVersion".to_owned(), json!(api_version));
    body.entry("metadata").or_insert_with(|| json!({}));
    let status = match kind {
        "SelfSubjectReview" => json!({"userInfo": {"username": USER, "groups": GROUPS}}),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        _ => json!({"allowed": true, "reason": "the bearer of the token may do everything"}),
    };
    body.insert("status".to_owned(), status);
    Ok(review)
}
