//! The node agent: runs pods on the engine and writes what becomes of them.

pub mod backoff;
pub mod cleanup;
pub mod conditions;
pub mod downward;
pub mod draft;
pub mod environment;
pub mod expand;
pub mod facts;
pub mod image_name;
pub mod names;
pub mod payload;
pub mod phase;
pub mod plan;
pub mod qos;
pub mod quantity;
pub mod restart;
pub mod spec;
pub mod start;
pub mod status;
pub mod stop;
pub mod termination;
pub mod tracks;
pub mod unsupported;
pub mod volumes_plan;
