//! SPDY/3.1 as Kubernetes' clients speak it for exec, attach and port-forward.
//!
//! ```text
//! connection ── frame (PURE) ── header (PURE)
//! ```

pub mod connection;
pub mod frame;
pub mod header;
