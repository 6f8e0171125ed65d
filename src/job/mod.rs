//! Owns what a Job and a CronJob do: pure plans, and the controllers that observe and apply.
//! Never starts a container and never speaks HTTP.

pub mod apply;
pub mod backoff;
pub mod case;
pub mod claim;
pub mod concern;
pub mod conditions;
pub mod controller;
pub mod cron_plan;
pub mod cronjob;
pub mod ending;
pub mod expiry;
pub mod explain;
pub mod facts;
pub mod feed;
pub mod index;
pub mod missed;
pub mod orphan;
pub mod parallelism;
pub mod plan;
pub mod pods;
pub mod policy;
pub mod rules;
pub mod tally;
pub mod template;
pub mod tracking;
pub mod ttl;
