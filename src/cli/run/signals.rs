//! Owns how interrupts reach a run: each one raises a count that whoever waits can watch.
//! Never ends anything itself, but for the interrupt that nobody could mistake.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::exit;

/// Signals this close together are one interrupt: `timeout` and CI runners signal a process and then its whole group.
const TOGETHER: Duration = Duration::from_millis(250);
/// Interrupts after which the process ends at once, whatever is still running.
const ENOUGH: u32 = 3;

/// Counts SIGINT, SIGTERM and SIGHUP from now on.
pub fn listen() -> std::io::Result<watch::Receiver<u32>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let (count, counted) = watch::channel(0);
    tokio::spawn(async move {
        let mut last: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            let now = Instant::now();
            if last.replace(now).is_some_and(|last| now.duration_since(last) < TOGETHER) {
                continue;
            }
            count.send_modify(|count| *count += 1);
            if *count.borrow() >= ENOUGH {
                std::process::exit(exit::INTERRUPTED.into());
            }
        }
    });
    Ok(counted)
}
