//! Owns the seeded simulation of one Job's life: random pods, random clients, crashes and clock jumps, with the promises
//! of DESIGN.md section 7 checked after every step. Never touches a store or an engine: the commits go to a map.
//!
//! `JOBDOCK_SIM_HISTORIES` sets how many histories run (10,000 unless set), `JOBDOCK_SIM_SEED` runs that one alone and
//! prints what happened.

mod spec;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use world::World;

/// Histories in a normal test run.
const HISTORIES: u64 = 10_000;
/// Random steps before things calm down.
const STEPS: u64 = 16;

#[test]
fn every_random_history_of_a_job_keeps_the_promises() {
    if let Some(seed) = number("JOBDOCK_SIM_SEED") {
        history(seed, true).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        return;
    }
    let histories = number("JOBDOCK_SIM_HISTORIES").unwrap_or(HISTORIES);
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < histories) {
                    history(seed, false).unwrap_or_else(|fault| panic!("JOBDOCK_SIM_SEED={seed}: {fault}"));
                }
            });
        }
    });
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("the variable is a number"))
}

/// One life: wild at first, then quiet, then only good news until the Job ends.
fn history(seed: u64, tell: bool) -> Result<(), String> {
    let mut world = World::new(seed, tell);
    for _ in 0..STEPS {
        world.step()?;
    }
    world.settle()?;
    world.finish()
}
