//! Owns the wiring: which rooms run, in which order they start, in which order they stop.
//! Never decides anything about Jobs or pods.
//!
//! ```text
//!  start: lock the data directory -> engine -> store -> namespaces -> socket -> controllers, node agent, API
//!  stop:  API takes nothing new and closes its watches -> controllers and node agent finish what they are at
//!         -> the store's last commit is on disk -> the lock is released
//! ```
//!
//! The lock is the operating system's on an open file: it goes with the process, however that ends.

mod directory;

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::SignedDuration;

pub use self::directory::connect;
