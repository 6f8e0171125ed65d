//! All integration tests in one binary: one link, one run.

mod gc;
mod job_controller;
mod job_policy;
mod reconcile;
mod simulation;
mod store;
mod store_logs;
mod tidy;
