//! Owns what is counted while jobdock works, and its text for `/metrics`. A leaf: every room may report here, it knows
//! none of them. Never decides anything, and nothing decides by it.
//!
//! One registry for the process: a number that is told is an atomic addition away from where it arose. Names and labels
//! are upstream's where upstream counts the same; what only jobdock has begins with `jobdock_`.
//!
//! Differs: the text is OpenMetrics 1.0 for everybody, which Prometheus has read since 2018; upstream answers the older
//! form to those who do not ask.

mod process;

use std::sync::LazyLock;

use prometheus_client::encoding::{self, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The media type of [`text()`].
pub const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A family of histograms by labels, all with the same buckets.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// What a request was about. Parity: the labels of `apiserver_request_total`, but for its code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `LIST`, `WATCH`, `POST`.
    pub verb: &'static str,
    /// The API group.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The plural; empty for what is no resource.
    pub resource: String,
    /// `status`, `log`; the page for what is no resource.
    pub subresource: String,
    /// `cluster`, `namespace` or `resource`.
    pub scope: &'static str,
    /// Always `apiserver`.
    pub component: &'static str,
}

/// [`RequestLabels`] and the code of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AnswerLabels {
    /// What it was about.
    #[prometheus(flatten)]
    pub request: RequestLabels,
    /// The HTTP code.
    pub code: u16,
}

/// Whether requests change something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InflightLabels {
    /// `readOnly` or `mutating`.
    pub request_kind: &'static str,
}

/// Which queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabels {
    /// Its name.
    pub name: &'static str,
}

/// How a Job was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SyncLabels {
    /// `Indexed` or `NonIndexed`.
    pub completion_mode: &'static str,
    /// `success` or `error`.
    pub result: &'static str,
    /// `reconciling`, `pods_created`, `pods_deleted`.
    pub action: &'static str,
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FinishLabels {
    /// `Indexed` or `NonIndexed`.
    pub completion_mode: &'static str,
    /// The reason of its last condition.
    pub reason: String,
    /// `succeeded` or `failed`.
    pub result: &'static str,
}

/// How pods of Jobs ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PodLabels {
    /// `Indexed` or `NonIndexed`.
    pub completion_mode: &'static str,
    /// `succeeded` or `failed`.
    pub result: &'static str,
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    /// Requests answered.
    pub requests: Family<AnswerLabels, Counter>,
    /// Time until the head of the answer.
    pub request_seconds: Histograms<RequestLabels>,
    /// Requests under way, streams aside.
    pub inflight: Family<InflightLabels, Gauge>,
    /// Watches, followed logs and connections under way.
    pub longrunning: Gauge,
    /// Commits answered by the store: written, refused or tried without writing.
    pub commits: Counter,
    /// Commits that shared a transaction.
    pub group: Histogram,
    /// Time that a transaction took, its fsync included.
    pub transaction_seconds: Histogram,
    /// Watches open on the store, those of controllers included.
    pub watchers: Gauge,
    /// Keys added to a queue.
    pub queue_adds: Family<QueueLabels, Counter>,
    /// Keys that wait for a worker.
    pub queue_depth: Family<QueueLabels, Gauge>,
    /// Time that a key waited for a worker.
    pub queue_seconds: Histograms<QueueLabels>,
    /// Time that a worker took.
    pub work_seconds: Histograms<QueueLabels>,
    /// Runs that failed and are tried again.
    pub queue_retries: Family<QueueLabels, Counter>,
    /// Time of one look at a Job.
    pub sync_seconds: Histograms<SyncLabels>,
    /// Looks at Jobs.
    pub syncs: Family<SyncLabels, Counter>,
    /// Jobs that ended.
    pub jobs_finished: Family<FinishLabels, Counter>,
    /// Pods of Jobs that ended and were counted.
    pub pods_finished: Family<PodLabels, Counter>,
    /// Pods of this node that run.
    pub running_pods: Gauge,
}

/// All of them, and the registry that writes them.
static ALL: LazyLock<(Metrics, Registry)> = LazyLock::new(|| {
    let metrics = Metrics::new();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    (metrics, registry)
});

/// What the process counts.
pub fn metrics() -> &'static Metrics {
    &ALL.0
}

/// Everything that was counted so far, as OpenMetrics. Labels hold no text that clients choose freely, so its size is
/// bounded by the kinds that are served.
pub fn text() -> String {
    let mut text = String::new();
    // Writing to a string does not fail; what would be half written is worth more than nothing.
    let _ = encoding::text::encode(&mut text, &ALL.1);
    text
}

/// Parity: the first and last bucket of `apiserver_request_duration_seconds`, with fewer in between.
fn request_buckets() -> Histogram {
    Histogram::new([0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0, 60.0])
}

/// Parity: client-go's buckets of work queues, from 10 ns to 10 s.
fn queue_buckets() -> Histogram {
    Histogram::new(exponential_buckets(1e-8, 10.0, 10))
}

/// Parity: the Job controller's buckets, from 4 ms to 16 min.
fn sync_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.004, 2.0, 15))
}

impl Metrics {
    fn new() -> Self {
        Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(request_buckets),
            inflight: Family::default(),
            longrunning: Gauge::default(),
            commits: Counter::default(),
            // One fsync for one commit, up to the largest group.
            group: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            // From 0.1 ms, without a disk to wait for, to a disk that takes seconds.
            transaction_seconds: Histogram::new(exponential_buckets(1e-4, 2.0, 16)),
            watchers: Gauge::default(),
            queue_adds: Family::default(),
            queue_depth: Family::default(),
            queue_seconds: Family::new_with_constructor(queue_buckets),
            work_seconds: Family::new_with_constructor(queue_buckets),
            queue_retries: Family::default(),
            sync_seconds: Family::new_with_constructor(sync_buckets),
            syncs: Family::default(),
            jobs_finished: Family::default(),
            pods_finished: Family::default(),
            running_pods: Gauge::default(),
        }
    }

    /// The registry adds `_total` to counters, and the full stop to each text.
    fn register(&self, registry: &mut Registry) {
        registry.register("apiserver_request", "Requests answered", self.requests.clone());
        let help = "Time until the head of the answer";
        registry.register("apiserver_request_duration_seconds", help, self.request_seconds.clone());
        registry.register("apiserver_current_inflight_requests", "Requests under way", self.inflight.clone());
        let help = "Watches and followed logs under way";
        registry.register("apiserver_longrunning_requests", help, self.longrunning.clone());
        registry.register("jobdock_store_commits", "Commits answered", self.commits.clone());
        registry.register("jobdock_store_group_size", "Commits that shared a transaction", self.group.clone());
        let help = "Time that a transaction took, with its fsync";
        registry.register("jobdock_store_transaction_duration_seconds", help, self.transaction_seconds.clone());
        registry.register("jobdock_store_watchers", "Watches open on the store", self.watchers.clone());
        self.register_queues(registry);
        self.register_jobs(registry);
        registry.register("kubelet_running_pods", "Pods of this node that run", self.running_pods.clone());
        registry.register_collector(Box::new(process::Process));
    }

    fn register_queues(&self, registry: &mut Registry) {
        registry.register("workqueue_adds", "Keys added to a queue", self.queue_adds.clone());
        registry.register("workqueue_depth", "Keys that wait for a worker", self.queue_depth.clone());
        let help = "Time that a key waited for a worker";
        registry.register("workqueue_queue_duration_seconds", help, self.queue_seconds.clone());
        registry.register("workqueue_work_duration_seconds", "Time that a worker took", self.work_seconds.clone());
        registry.register("workqueue_retries", "Runs that failed and are tried again", self.queue_retries.clone());
    }

    fn register_jobs(&self, registry: &mut Registry) {
        let help = "Time of one look at a Job";
        registry.register("job_controller_job_sync_duration_seconds", help, self.sync_seconds.clone());
        registry.register("job_controller_job_syncs", "Looks at Jobs", self.syncs.clone());
        registry.register("job_controller_jobs_finished", "Jobs that ended", self.jobs_finished.clone());
        let help = "Pods of Jobs that ended and were counted";
        registry.register("job_controller_job_pods_finished", help, self.pods_finished.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_each_family_and_ends_as_openmetrics_must() {
        let labels = QueueLabels { name: "a-test" };
        metrics().queue_adds.get_or_create(&labels).inc();
        metrics().queue_seconds.get_or_create(&labels).observe(0.5);
        let text = text();
        assert!(text.contains("# TYPE workqueue_adds counter\n"), "{text}");
        assert!(text.contains("workqueue_adds_total{name=\"a-test\"} 1\n"), "{text}");
        assert!(text.contains("workqueue_queue_duration_seconds_bucket{le=\"1.0\",name=\"a-test\"} 1\n"), "{text}");
        #[cfg(target_os = "linux")]
        for name in [
            "cpu_seconds_total",
            "open_fds",
            "max_fds",
            "resident_memory_bytes",
            "virtual_memory_bytes",
            "virtual_memory_max_bytes",
            "start_time_seconds",
        ] {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("process_{name} ")));
            let value: f64 = line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"));
            assert!(value > 0.0, "{name}: {value}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
