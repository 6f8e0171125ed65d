//! All integration tests in one binary: one link, one run.

mod gc;
mod reconcile;
mod store;
mod store_logs;
mod tidy;
