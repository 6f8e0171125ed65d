//! All integration tests in one binary: one link, one run.

mod job_controller;
mod job_policy;
mod simulation;
mod store;
mod tidy;
