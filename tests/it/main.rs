//! All integration tests in one binary: one link, one run.

mod api;
mod gc;
mod parity_decode;
mod reconcile;
mod store;
mod store_logs;
mod store_model;
mod tidy;
