//! The work queue's promises, on tokio's paused clock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobdock::reconcile::{BACKOFF_BASE, BACKOFF_MAX, Queue};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

type Outcome = Result<Option<Duration>, &'static str>;

/// A queue that runs, and what it ran: (key, seconds since the start).
struct Rig {
    queue: Queue<&'static str>,
    runs: Arc<Mutex<Vec<(&'static str, Duration)>>>,
    stop: CancellationToken,
    loop_ends: JoinHandle<()>,
}

impl Rig {
    /// Each run takes a permit of `gate`, then answers with `outcome` of (key, how many runs there were before).
    fn new(
        workers: usize,
        gate: Arc<Semaphore>,
        outcome: impl Fn(&'static str, usize) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        let (queue, stop) = (Queue::new("test"), CancellationToken::new());
        let runs = Arc::new(Mutex::new(Vec::new()));
        let outcome = Arc::new(outcome);
        let start = Instant::now();
        let loop_ends = tokio::spawn({
            let (queue, stop, runs) = (queue.clone(), stop.clone(), Arc::clone(&runs));
            async move {
                let reconcile = |key| {
                    let (runs, gate, outcome) = (Arc::clone(&runs), Arc::clone(&gate), Arc::clone(&outcome));
                    async move {
                        let before = {
                            let mut runs = runs.lock().unwrap();
                            runs.push((key, start.elapsed()));
                            runs.len() - 1
                        };
                        gate.acquire().await.unwrap().forget();
                        outcome(key, before)
                    }
                };
                queue.run(workers, stop, reconcile).await;
            }
        });
        Self { queue, runs, stop, loop_ends }
    }

    fn open(outcome: impl Fn(&'static str, usize) -> Outcome + Send + Sync + 'static) -> Self {
        Self::new(4, Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), outcome)
    }

    fn keys(&self) -> Vec<&'static str> {
        self.runs.lock().unwrap().iter().map(|run| run.0).collect()
    }

    fn times(&self) -> Vec<Duration> {
        self.runs.lock().unwrap().iter().map(|run| run.1).collect()
    }
}

/// On the paused clock this ends when every task waits.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_added_twice_runs_once() {
    let rig = Rig::open(|_, _| Ok(None));
    for key in ["a", "b", "a", "a"] {
        rig.queue.add(key);
    }
    settle().await;
    assert_eq!(rig.keys(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_added_while_it_runs_runs_once_more_afterwards() {
    let gate = Arc::new(Semaphore::new(0));
    let rig = Rig::new(4, Arc::clone(&gate), |_, _| Ok(None));
    rig.queue.add("a");
    settle().await;
    rig.queue.add("a");
    rig.queue.add("a");
    settle().await;
    assert_eq!(rig.keys(), ["a"], "never two runs of one key at a time");
    gate.add_permits(9);
    settle().await;
    assert_eq!(rig.keys(), ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_keys_run_at_a_time_than_there_are_workers() {
    let gate = Arc::new(Semaphore::new(0));
    let rig = Rig::new(2, Arc::clone(&gate), |_, _| Ok(None));
    for key in ["a", "b", "c", "d"] {
        rig.queue.add(key);
    }
    settle().await;
    assert_eq!(rig.keys(), ["a", "b"]);
    gate.add_permits(1);
    settle().await;
    assert_eq!(rig.keys(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_delays_the_one_that_ends_first_counts() {
    let rig = Rig::open(|_, _| Ok(None));
    rig.queue.add_after("a", Duration::from_secs(60));
    rig.queue.add_after("a", Duration::from_secs(10));
    rig.queue.add_after("a", Duration::from_secs(30));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.times(), [Duration::from_secs(10)]);
}

#[tokio::test(start_paused = true)]
async fn a_run_may_ask_for_the_next_one() {
    let rig = Rig::open(|_, before| Ok((before < 2).then_some(Duration::from_secs(5))));
    rig.queue.add("a");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.times(), [0, 5, 10].map(Duration::from_secs));
}

#[tokio::test(start_paused = true)]
async fn the_delay_after_failures_doubles_up_to_the_maximum() {
    let rig = Rig::open(|_, before| if before < 14 { Err("no") } else { Ok(None) });
    rig.queue.add("a");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let times = rig.times();
    assert_eq!(times.len(), 15);
    for (i, pair) in times.windows(2).enumerate() {
        let full = (BACKOFF_BASE * 2_u32.pow(i as u32)).min(BACKOFF_MAX);
        let delay = pair[1] - pair[0];
        // The clock of tokio ticks in milliseconds.
        assert!(
            delay + Duration::from_millis(2) >= full / 2 && delay <= full + Duration::from_millis(2),
            "{i}: {delay:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn success_forgets_the_failures() {
    let rig = Rig::open(|_, before| if before < 8 || before == 9 { Err("no") } else { Ok(None) });
    rig.queue.add("a");
    tokio::time::sleep(Duration::from_secs(600)).await;
    rig.queue.add("a");
    tokio::time::sleep(Duration::from_secs(600)).await;
    let times = rig.times();
    assert_eq!(times.len(), 11);
    assert!(times[10] - times[9] <= BACKOFF_BASE + Duration::from_millis(2));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_panics_is_a_failure_and_the_queue_goes_on() {
    let rig = Rig::open(|key, before| if key == "a" && before == 0 { panic!("meant by the test") } else { Ok(None) });
    rig.queue.add("a");
    rig.queue.add("b");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.keys(), ["a", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_no_more_keys_and_waits_for_those_that_run() {
    let gate = Arc::new(Semaphore::new(0));
    let rig = Rig::new(1, Arc::clone(&gate), |_, _| Ok(None));
    rig.queue.add("a");
    rig.queue.add("b");
    settle().await;
    rig.stop.cancel();
    settle().await;
    assert!(!rig.loop_ends.is_finished());
    gate.add_permits(9);
    rig.loop_ends.await.unwrap();
    assert_eq!(rig.runs.lock().unwrap().iter().map(|run| run.0).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn under_load_no_key_runs_twice_at_a_time_and_none_is_lost() {
    const KEYS: usize = 20;
    let (queue, stop) = (Queue::<usize>::new("test"), CancellationToken::new());
    let wanted: Arc<Vec<AtomicUsize>> = Arc::new((0..KEYS).map(|_| AtomicUsize::new(0)).collect());
    let seen: Arc<Vec<AtomicUsize>> = Arc::new((0..KEYS).map(|_| AtomicUsize::new(0)).collect());
    let busy: Arc<Vec<AtomicUsize>> = Arc::new((0..KEYS).map(|_| AtomicUsize::new(0)).collect());
    let running = tokio::spawn({
        let (queue, stop) = (queue.clone(), stop.clone());
        let (wanted, seen, busy) = (Arc::clone(&wanted), Arc::clone(&seen), Arc::clone(&busy));
        async move {
            let reconcile = |key: usize| {
                let (wanted, seen, busy) = (Arc::clone(&wanted), Arc::clone(&seen), Arc::clone(&busy));
                async move {
                    assert_eq!(busy[key].fetch_add(1, Ordering::SeqCst), 0);
                    let fact = wanted[key].load(Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    seen[key].store(fact, Ordering::SeqCst);
                    busy[key].fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, &str>(None)
                }
            };
            queue.run(4, stop, reconcile).await;
        }
    });
    for i in 0..10_000 {
        wanted[i % KEYS].fetch_add(1, Ordering::SeqCst);
        queue.add(i % KEYS);
        if i % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let settled = || (0..KEYS).all(|key| wanted[key].load(Ordering::SeqCst) == seen[key].load(Ordering::SeqCst));
    tokio::time::timeout(Duration::from_secs(60), async {
        while !settled() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the last fact of every key is seen");
    stop.cancel();
    running.await.unwrap();
}
