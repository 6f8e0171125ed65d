//! All integration tests in one binary: one link, one run.

mod gc;
mod job_controller;
mod job_cron;
mod job_policy;
mod job_properties;
mod job_rules;
mod parity;
mod parity_decode;
mod parity_validate;
mod reconcile;
mod runtime_convert;
mod runtime_docker;
mod runtime_endpoint;
mod runtime_fake;
mod runtime_logs;
mod runtime_wire;
mod simulation;
mod store;
mod store_logs;
mod store_model;
mod support;
mod tidy;
mod validation;
