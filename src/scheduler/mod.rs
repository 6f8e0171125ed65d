//! Owns which pods may run on the node, and in which order: what a kube-scheduler does, for one node.
//! Never runs a pod and never makes one: it binds, or says why not.
//!
//! ```text
//!  watch (pods, claims...)   --> ledger: who waits, what the bound ones take --> plan (PURE) --> ONE commit --+
//!                                  ^                                             fit, gangs     binds, conditions, Events
//!                                  +----------------------------------------------------------------------------+
//! ```
//!
//! The ledger holds waiting and running pods only, so that a look costs nothing for what is finished. It is made anew
//! from the store whenever the watch breaks: losing it costs time, never correctness.

pub mod affinity;
pub mod apply;
pub mod arrival;
pub mod claims;
pub mod demand;
pub mod evict;
pub mod fit;
pub mod gang;
pub mod ledger;
pub mod neighbours;
pub mod plan;
pub mod ports;
pub mod preempt;
pub mod resize;
pub mod run;
pub mod taints;

pub use self::run::run;
