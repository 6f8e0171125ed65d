//! Owns what becomes of claims of storage and of volumes: they are bound to each other, volumes of the container engine
//! are made for claims, and reclaimed when their claims go; claims are made for pods that ask for one of their own.
//! Never mounts anything: the node agent does.
//!
//! ```text
//!  claim:   Pending --volume found--------------------------> Bound --volume gone--> Lost
//!              \--class makes one, a pod wants it--> made --^
//!  volume:  Available <--> Bound --claim gone--> Released --policy Delete--> removed, with what it held
//! ```
//!
//! Parity: `pkg/controller/volume/{persistentvolume,pvcprotection,pvprotection,ephemeral}` and an external provisioner.

pub mod controller;
pub mod ephemeral;
pub mod fit;
pub mod plan;
pub mod provision;
pub mod reclaim;
pub mod users;

pub use self::controller::run;
