//! What the API's objects are: the kinds served, their shape, defaults, validation, selectors, YAML in.
//! Never does I/O and never reads a clock.

pub mod admit;
pub mod apply;
pub mod canonical;
pub mod claims;
pub mod decode;
pub mod defaults;
pub mod deletion;
pub mod event;
pub mod events;
pub mod field;
pub mod fields;
pub mod go_text;
pub mod interval;
pub mod json;
pub mod kind;
pub mod object;
pub mod patch;
pub mod phase;
pub mod priority;
pub mod qos;
pub mod quantity;
pub mod quota;
pub mod resize;
pub mod schedule;
pub mod schema;
pub mod selector;
pub mod service;
pub mod strategic;
mod strategies;
pub mod strategy;
pub mod time;
pub mod tree;
pub mod validation;
pub mod warnings;
mod warnings_volumes;
pub mod yaml;
