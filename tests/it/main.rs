//! All integration tests in one binary: one link, one run.

mod cli_lifecycle;
mod cli_run;
mod cli_usage;
mod examples;
mod gc;
mod job_controller;
mod job_policy;
mod reconcile;
mod simulation;
mod store;
mod store_logs;
mod support;
mod tidy;
