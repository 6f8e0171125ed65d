//! All integration tests in one binary: one link, one run.

mod cli_lifecycle;
mod cli_run;
mod cli_usage;
mod examples;
mod gc;
mod job_controller;
mod job_policy;
mod parity;
mod parity_decode;
mod parity_validate;
mod pod_agent;
mod pod_docker;
mod pod_house;
mod reconcile;
mod runtime_convert;
mod runtime_docker;
mod runtime_endpoint;
mod runtime_fake;
mod runtime_logs;
mod simulation;
mod store;
mod store_logs;
mod store_model;
mod support;
mod tidy;
mod validation;
