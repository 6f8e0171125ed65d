//! Owns the life of a group of tasks that start and stop together, and the news that one of them ended too soon.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a part may take to finish what it is at; the engine may be slow, a person waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tasks that run until they are told to stop.
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    stop: CancellationToken,
    tasks: TaskTracker,
    failures: Failures,
}

impl Part {
    /// No tasks yet.
    pub fn new(name: &'static str, failures: &Failures) -> Self {
        Self { name, stop: CancellationToken::new(), tasks: TaskTracker::new(), failures: failures.clone() }
    }

    /// Starts a task; it must end soon after its token is cancelled, and not before.
    pub fn spawn<F>(&self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = tokio::spawn(task(self.stop.clone()));
        let (name, stop, failures) = (self.name, self.stop.clone(), self.failures.clone());
        self.tasks.spawn(async move {
            let ended = running.await;
            if let Err(error) = &ended {
                tracing::error!(part = name, %error, "a task has failed");
            }
            if !stop.is_cancelled() {
                failures.report(name);
            }
        });
    }

    /// Stops the tasks, and waits for their ends.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!(part = self.name, "did not stop within {} s and is left", PATIENCE.as_secs());
        }
    }
}

/// The first part that ended too soon; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Failures(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    first: OnceLock<&'static str>,
    reported: Notify,
}

impl Failures {
    fn report(&self, part: &'static str) {
        // Only the first tells the cause.
        let _later = self.0.first.set(part);
        self.0.reported.notify_waiters();
    }

    /// Waits for it.
    pub async fn first(&self) -> &'static str {
        loop {
            let reported = self.0.reported.notified();
            if let Some(first) = self.0.first.get() {
                return first;
            }
            reported.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_when_told_is_no_failure() {
        let failures = Failures::default();
        let part = Part::new("part", &failures);
        part.spawn(|stop| async move { stop.cancelled().await });
        part.stop().await;
        assert_eq!(failures.0.first.get(), None);
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_one() {
        let failures = Failures::default();
        let part = Part::new("part", &failures);
        part.spawn(|_| async {});
        assert_eq!(failures.first().await, "part");
    }

    #[tokio::test]
    async fn a_task_that_panics_is_one() {
        let failures = Failures::default();
        let part = Part::new("part", &failures);
        part.spawn(|_| async { panic!("on purpose") });
        assert_eq!(failures.first().await, "part");
    }
}
