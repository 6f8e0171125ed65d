//! All integration tests in one binary: one link, one run.

mod api;
mod gc;
mod parity_decode;
mod reconcile;
mod runtime_convert;
mod runtime_docker;
mod runtime_endpoint;
mod runtime_fake;
mod runtime_logs;
mod runtime_wire;
mod store;
mod store_logs;
mod store_model;
mod support;
mod tidy;
