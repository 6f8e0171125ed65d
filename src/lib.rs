//! jobdock: Kubernetes batch/v1 Jobs on one machine, with Docker and nothing else.

pub mod api;
pub mod cli;
pub mod gc;
pub mod job;
pub mod model;
pub mod pod;
pub mod reconcile;
pub mod runtime;
pub mod store;
