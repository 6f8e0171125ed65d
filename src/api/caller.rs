//! Owns who is calling: a user's name, uid, groups and what else is known, and whom an administrator pretends to be.
//! Never decides what a caller may do: `access` does. PURE.
//!
//! Parity: apiserver's `user.Info` and its impersonation filter.

use std::collections::BTreeMap;

use http::HeaderMap;
use serde_json::{Value, json};

use super::call;
use super::error::Problem;
use super::route;
use crate::token;

/// The name under which the bearer of the token and the owner of the socket appear.
pub const ADMIN: &str = "jobdock-admin";
/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of everybody who is known.
const AUTHENTICATED: &str = "system:authenticated";
/// Whoever shows nothing, and the group of such.
const ANONYMOUS: &str = "system:anonymous";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const IMPERSONATE: &str = "impersonate-";

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user's name.
    pub name: String,
    /// The user's uid; empty where there is none.
    pub uid: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// What else is known.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Caller {
    /// A user of these groups, who is known.
    pub fn known(name: &str, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { name: name.to_owned(), uid: String::new(), groups, extra: BTreeMap::new() }
    }

    /// Whoever has the token or the socket.
    pub fn admin() -> Self {
        Self::known(ADMIN, [MASTERS.to_owned()])
    }

    /// Whoever shows nothing.
    pub fn anonymous() -> Self {
        let groups = vec![UNAUTHENTICATED.to_owned()];
        Self { name: ANONYMOUS.to_owned(), uid: String::new(), groups, extra: BTreeMap::new() }
    }

    /// Whether everything is allowed.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    /// As `UserInfo`.
    pub fn to_value(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }

    /// The user that the request's headers ask to be taken for; the caller itself where they ask for nothing.
    pub fn impersonating(self, headers: &HeaderMap) -> Result<Self, Problem> {
        let asked = headers.keys().any(|name| name.as_str().starts_with(IMPERSONATE));
        if !asked {
            return Ok(self);
        }
        let user = headers.get("impersonate-user").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if user.is_empty() {
            return Err(Problem::internal("requested impersonation without naming a user"));
        }
        if !self.is_master() {
            return Err(Problem::impersonation(&self.name, user));
        }
        let sent = headers.get_all("impersonate-group").iter();
        let mut groups: Vec<String> = sent.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
        if let (true, Some((namespace, _))) = (groups.is_empty(), token::account_of(user)) {
            groups = token::groups(namespace);
        }
        let mut caller = if user == ANONYMOUS { Self::anonymous() } else { Self::known(user, groups) };
        caller.uid =
            call::text(headers, http::HeaderName::from_static("impersonate-uid")).unwrap_or_default().to_owned();
        for (name, value) in headers {
            let Some(key) = name.as_str().strip_prefix("impersonate-extra-") else { continue };
            let key = route::decode(key).unwrap_or_else(|| key.to_owned());
            caller.extra.entry(key).or_default().extend(value.to_str().ok().map(str::to_owned));
        }
        Ok(caller)
    }
}
