//! One test binary: each room's tests are a module here.

mod store;
