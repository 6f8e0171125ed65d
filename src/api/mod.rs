//! x
pub mod columns;
pub mod discovery;
pub mod duration;
pub mod error;
pub mod health;
pub mod negotiate;
pub mod openapi;
pub mod query;
pub mod review;
pub mod route;
pub mod table;
