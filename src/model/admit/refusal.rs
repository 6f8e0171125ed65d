//! Owns what a refused request is told, with upstream's message, before HTTP gives it a code.
//! Never decides whether something is refused.

use std::fmt;

use super::super::apply::{ApplyError, Cause};
use super::super::field::{ErrorType, FieldError};
use super::super::go_text::quote;
use super::super::object::Object;

/// Why an object was not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body cannot be read as the kind, or contradicts the address: 400, `BadRequest`.
    BadRequest(String),
    /// The object breaks rules: 422, `Invalid`.
    Invalid {
        /// API group for the details; empty for the core group.
        group: String,
        /// The kind for the details; empty where a patch cannot be read.
        kind: String,
        /// The object's name; empty if it has none.
        name: String,
        /// Every problem.
        causes: Vec<FieldError>,
    },
    /// Somebody else changed the object first: 409, `Conflict`. Read again and try again.
    Conflict {
        /// As error messages name the resource: `jobs.batch`.
        resource: String,
        /// The object's name.
        name: String,
        /// What does not match.
        reason: String,
    },
    /// What the object is measured by does not allow it: 403, `Forbidden`.
    Forbidden {
        /// As error messages name the resource: `pods`.
        resource: String,
        /// The object's name, or what it begins with.
        name: String,
        /// Why.
        reason: String,
    },
    /// Other managers own what an apply changes: 409, `Conflict`. Leave it out, or force.
    Contested {
        /// All conflicts in one text.
        message: String,
        /// Each of them.
        causes: Vec<Cause>,
    },
    /// What upstream answers with a bare 500.
    Internal(String),
}

impl From<ApplyError> for Refusal {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::BadRequest(why) => Self::BadRequest(why),
            ApplyError::Unfit(why) => Self::Internal(why),
            ApplyError::Conflicts { message, causes } => Self::Contested { message, causes },
        }
    }
}

impl Refusal {
    /// The object has these problems.
    pub fn invalid(object: &Object, causes: Vec<FieldError>) -> Self {
        let kind = object.kind();
        Self::Invalid { group: kind.group.to_owned(), kind: kind.kind.to_owned(), name: object.key().name, causes }
    }

    /// What a patch makes is no object; `shown` is what upstream prints of it.
    pub(super) fn bad_patch(shown: &str, why: &str) -> Self {
        let message = format!("Invalid value: {}: {why}", quote(shown));
        let cause = FieldError { kind: ErrorType::Invalid, field: "patch".to_owned(), message };
        Self::Invalid { group: String::new(), kind: String::new(), name: String::new(), causes: vec![cause] }
    }

    /// The message of the Status, as upstream composes it: several causes in brackets, each said once.
    pub fn message(&self) -> String {
        match self {
            Self::BadRequest(message) | Self::Internal(message) | Self::Contested { message, .. } => message.clone(),
            Self::Forbidden { resource, name, reason } => {
                format!("{resource} {} is forbidden: {reason}", quote(name))
            }
            Self::Conflict { resource, name, reason } => {
                format!("Operation cannot be fulfilled on {resource} {}: {reason}", quote(name))
            }
            Self::Invalid { group, kind, name, causes } => {
                let kind = if group.is_empty() { kind.clone() } else { format!("{kind}.{group}") };
                let mut texts: Vec<String> = Vec::new();
                for cause in causes.iter().map(ToString::to_string) {
                    if !texts.contains(&cause) {
                        texts.push(cause);
                    }
                }
                match &texts[..] {
                    [one] => format!("{kind} {} is invalid: {one}", quote(name)),
                    several => format!("{kind} {} is invalid: [{}]", quote(name), several.join(", ")),
                }
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message())
    }
}

impl std::error::Error for Refusal {}
