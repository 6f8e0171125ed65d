//! All integration tests in one binary: one link, one run.

mod gc;
mod parity_decode;
mod pod_agent;
mod pod_docker;
mod pod_house;
mod pod_plan;
mod pod_spec;
mod pod_status;
mod reconcile;
mod runtime_convert;
mod runtime_docker;
mod runtime_endpoint;
mod runtime_fake;
mod runtime_logs;
mod runtime_wire;
mod store;
mod store_logs;
mod store_model;
mod support;
mod tidy;
