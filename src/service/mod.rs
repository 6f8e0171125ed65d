//! Owns which addresses stand behind each Service: it keeps Endpoints and EndpointSlices of Services with a selector.
//! Never writes a hosts file: the node agent reads what is kept here.
//!
//! ```text
//!  store: Services, pods, slices --> queue by Service --> plan (PURE) --> one commit: Endpoints and slices
//! ```

pub mod controller;
pub mod plan;

pub use self::controller::run;
