//! x
pub mod exit;
pub mod run;
