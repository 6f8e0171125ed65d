//! Owns what the server fills in: defaults of the API version, fields that it owns, fields that it drops.
//! Never refuses anything: validation does. Never reads a clock: uids and times are in the objects already.
//!
//! Each kind has a function of its name (defaults) and functions for what its strategy prepares before a create, an
//! update and a status update.
//!
//! Parity: `pkg/apis/{core,batch}/v1/defaults.go`, the conversions between versions, and the strategies under
//! `pkg/registry`, of Kubernetes 1.32.

pub mod containers;
pub mod cron_job;
pub mod disabled;
pub mod image;
pub mod job;
pub mod limits;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod secret;
pub mod service;
pub mod storage;
pub mod volumes;

pub use self::cron_job::cron_job;
pub use self::job::job;
pub use self::namespace::namespace;
pub use self::node::node;
pub use self::pod::{pod, pod_template_spec};
pub use self::secret::secret;
pub use self::service::{endpoint_slice, endpoints, service};

/// Sets what nobody has set.
fn set<T>(target: &mut Option<T>, value: T) {
    target.get_or_insert(value);
}

/// Sets a text that nobody has set.
fn set_text(target: &mut Option<String>, value: &str) {
    if target.as_deref().unwrap_or_default().is_empty() {
        *target = Some(value.to_owned());
    }
}

/// Sets a number that is zero or unset: numbers that are no pointers upstream.
fn set_number(target: &mut Option<i32>, value: i32) {
    if target.unwrap_or(0) == 0 {
        *target = Some(value);
    }
}

#[cfg(test)]
mod tests;
