//! All integration tests in one binary: one link, one run.

mod store;
mod store_logs;
mod tidy;
