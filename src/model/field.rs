//! Owns validation errors: what is wrong, where, and how upstream says it.
//! Never decides what is wrong: the rules stand in `validation`.
//!
//! Parity: texts and reasons of apimachinery's `field.Error`.

use std::fmt;

/// What sort of mistake it is; `reason` in the Status causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorType {
    /// A value must be given.
    Required,
    /// The value is malformed.
    Invalid,
    /// The value is not one of a closed set.
    NotSupported,
    /// The value is not allowed under these conditions.
    Forbidden,
    /// The value must be unique.
    Duplicate,
    /// Too many bytes.
    TooLong,
    /// Too many items.
    TooMany,
    /// The value names something that does not exist.
    NotFound,
    /// The value has the wrong type.
    TypeInvalid,
    /// jobdock's own fault.
    Internal,
}

impl ErrorType {
    /// The machine-readable reason of a Status cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }
}

/// One problem of one field, worded as upstream words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The sort of mistake.
    pub kind: ErrorType,
    /// Path of the field: `spec.template.spec.containers[0].name`.
    pub field: String,
    /// What a Status cause's `message` says: `Invalid value: "x": must be …`.
    pub message: String,
}

/// As in the message of a 422 Status: `spec.parallelism: Invalid value: -1: must be …`.
impl fmt::Display for FieldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.field, self.message)
    }
}
