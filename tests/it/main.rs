//! The integration tests, one binary.

mod validation;
