//! All integration tests in one binary: one link, one run.

mod gc;
mod pod_agent;
mod pod_house;
mod reconcile;
mod store;
mod store_logs;
mod store_model;
mod tidy;
