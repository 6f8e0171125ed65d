//! One test binary: each room's tests are a module here.

mod gc;
mod reconcile;
mod store;
mod store_logs;
