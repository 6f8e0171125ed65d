//! What the API's objects are: the kinds served, their shape, defaults, validation, selectors, YAML in.
//! Never does I/O and never reads a clock.

pub mod deletion;
pub mod event;
pub mod field;
pub mod interval;
pub mod kind;
pub mod object;
mod strategies;
pub mod strategy;
pub mod time;
