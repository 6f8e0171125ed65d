//! What the API's objects are: the kinds served, their shape, defaults, validation, selectors, YAML in.
//! Never does I/O and never reads a clock.

pub mod deletion;
pub mod event;
pub mod field;
pub mod fields;
pub mod kind;
pub mod object;
pub mod patch;
pub mod schema;
pub mod selector;
mod strategies;
pub mod strategic;
pub mod strategy;
pub mod time;
