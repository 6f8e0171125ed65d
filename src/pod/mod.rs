//! Owns the node agent: it runs pods on the engine and writes what becomes of them, as a kubelet does.
//! Never talks to the Job controller or the API: they meet in the store.
//!
//! ```text
//!  observe (facts) --> plan (PURE) --> commit (status, Events) --> apply (engine, files)
//!                       tracks: what each container is doing      start, stop, cleanup: what to do
//!                       health, probe, hook: what probes and hooks say of it
//!                       status, conditions, phase: how it is told  spec, environment, volumes_plan: what is made
//! ```

pub mod agent;
pub mod anew;
pub mod app_armor;
pub mod apply;
pub mod backoff;
pub mod bounds;
pub mod check;
pub mod cleanup;
pub mod collect;
pub mod conditions;
pub mod core;
pub mod credentials;
pub mod device_book;
pub mod devices;
pub mod dns;
pub mod downward;
pub mod draft;
pub mod env_file;
pub mod env_files;
pub mod environment;
pub mod expand;
pub mod facts;
pub mod health;
pub mod hook;
pub mod hooks;
pub mod hosts;
pub mod hosts_files;
pub mod image_gc;
pub mod image_mounts;
pub mod images;
pub mod inventory;
pub mod limits;
pub mod links;
pub mod logs;
pub mod measure;
pub mod memory;
pub mod mentions;
pub mod mounts;
pub mod names;
pub mod node;
pub mod observe;
pub mod oom;
pub mod payload;
pub mod persistent;
pub mod phase;
pub mod plan;
pub mod pressure;
pub mod probe;
pub mod prober;
pub mod pulls;
pub mod quantity;
pub mod resize;
pub mod restart;
pub mod signals;
pub mod spec;
pub mod squeeze;
pub mod start;
pub mod status;
pub mod stop;
pub mod sub_paths;
pub mod sweep;
pub mod termination;
pub mod tokens;
pub mod tracks;
pub mod unenforced;
pub mod unsupported;
pub mod volumes;
pub mod volumes_plan;

pub use self::agent::{Agent, run};
