//! All integration tests in one binary: one link, one run.

mod gc;
mod parity;
mod parity_decode;
mod parity_validate;
mod reconcile;
mod store;
mod store_logs;
mod store_model;
mod tidy;
mod validation;
