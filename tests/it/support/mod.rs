//! What several tests share: never a rule, never an assertion of its own.

pub mod cli;
pub mod daemon;
pub mod engine;
pub mod garbage;
pub mod image;
pub mod proxy;
