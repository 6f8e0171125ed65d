//! All integration tests in one binary: one link, one run.

mod runtime_convert;
mod runtime_docker;
mod runtime_endpoint;
mod runtime_fake;
mod runtime_logs;
mod store;
mod support;
mod tidy;
