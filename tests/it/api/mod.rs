//! The API's promises: the pure parts by tables, the handlers with `oneshot`, the listeners with the real kubectl.

mod accounts;
mod apply;
mod delete;
mod discover;
pub mod face;
mod fields;
mod garbage;
mod kubectl;
mod kubectl_apply;
mod limits;
mod list;
mod logs;
mod negotiate;
mod patch;
mod priority;
mod protobuf;
mod quota;
mod resize;
mod security;
mod selector;
mod serve;
mod storage;
mod streams;
mod tables;
mod watch;
mod write;
