//! All integration tests in one binary: one link, one run.

mod gc;
mod job_controller;
mod job_cron;
mod job_policy;
mod job_properties;
mod job_rules;
mod reconcile;
mod simulation;
mod store;
mod store_logs;
mod store_model;
mod tidy;
