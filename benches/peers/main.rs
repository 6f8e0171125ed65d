//! Owns the figures of `make bench`: what a Job costs beside the bare engine and beside `docker run`.
//!
//! Every figure is a ratio to a peer measured in the same run: rounds alternate between the peers, so that a machine
//! that slows down slows all of them, and the median of the rounds is printed with its spread.
//!
//! Peers: the *bare engine* (create, start, wait, inspect, remove of one container through the Engine API, kept-alive
//! connections, N workers) and `docker run --rm` (N at a time). Workload: a static `true`, the image present.
//!
//! Then the control plane alone, on the fake runtime: one Job of many pods, and whether its last tenth costs more than
//! its first (a ratio to itself: nothing may grow with what is finished).
//!
//! Last the API alone beside plain SQLite: `api`.
//!
//! `JOBDOCK_BENCH_ROUNDS` (5), `JOBDOCK_BENCH_PODS` (30), `JOBDOCK_BENCH_COMPLETIONS` (10000) and `JOBDOCK_BENCH_OBJECTS`
//! (10000) set the size. `cargo bench --bench peers -- api growth` measures only these; the third part is `engine`.

mod api;
mod daemon;
mod sqlite;
mod times;

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
use tokio::process::Command;

use self::daemon::Daemon;
use self::times::median;

const IMAGE: &str = "busybox:1.36";
const PARALLELISMS: [usize; 3] = [1, 2, 10];

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo test --benches` and `cargo bench -- --test` only ask whether this runs at all.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let rounds = setting("JOBDOCK_BENCH_ROUNDS", 5)?;
    // cargo adds options of its own, such as `--bench`.
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    if wanted("engine") {
        engines(rounds, setting("JOBDOCK_BENCH_PODS", 30)?).await?;
    }
    if wanted("growth") {
        growth(setting("JOBDOCK_BENCH_COMPLETIONS", 10_000)?).await?;
    }
    if wanted("api") {
        api::figures(rounds).await?;
    }
    Ok(())
}

/// Jobs beside the bare engine and `docker run`.
async fn engines(rounds: usize, pods: usize) -> Result<()> {
    let docker = Docker::connect_with_defaults()?.negotiate_version().await?;
    docker.inspect_image(IMAGE).await.with_context(|| format!("no image {IMAGE}: run `make image` first"))?;
    let daemon = Jobs::start("docker").await?;

    let mut latency = Peers::default();
    for _ in 0..rounds {
        latency.engine.push(engine(&docker, 1, 1).await?);
        latency.jobdock.push(daemon.time_job(1, 1).await?);
        latency.docker_run.push(docker_run(1, 1).await?);
    }
    println!("one-pod Job, create to Complete at a watcher ({rounds} rounds)");
    latency.print(1);

    for parallelism in PARALLELISMS {
        let mut rate = Peers::default();
        for _ in 0..rounds {
            rate.engine.push(engine(&docker, pods, parallelism).await?);
            rate.jobdock.push(daemon.time_job(pods, parallelism).await?);
            rate.docker_run.push(docker_run(pods, parallelism).await?);
        }
        println!("\n{pods} pods, {parallelism} at a time ({rounds} rounds)");
        rate.print(pods);
    }
    daemon.daemon.stop().await
}

/// Pods side by side in the Job that measures growth.
const WIDTH: usize = 50;

/// How far a Job was, as its watcher saw it.
struct Mark {
    succeeded: usize,
    at: Instant,
    /// The daemon's processor time until then.
    spent: Duration,
}

/// The first and the last tenth of one large Job, through the API, the controllers and SQLite with its fsync: on the
/// clock, and in the daemon's own processor time, which what else the machine does touches less.
async fn growth(pods: usize) -> Result<()> {
    let daemon = Jobs::start("fake").await?;
    let (start, spent) = (Instant::now(), daemon.daemon.processor_time()?);
    let marks = daemon.run_job(pods, WIDTH).await?;
    daemon.daemon.stop().await?;
    let reached = |share: usize| {
        let mark = marks.iter().find(|mark| mark.succeeded >= pods * share / 10).context("the Job went that far")?;
        anyhow::Ok([mark.at.duration_since(start).as_secs_f64(), (mark.spent - spent).as_secs_f64()])
    };
    let (first, nine, all) = (reached(1)?, reached(9)?, reached(10)?);
    println!("\n{pods} pods, {WIDTH} at a time, fake runtime: {:.0} pods/s", pods as f64 / all[0]);
    for (what, (first, last)) in
        ["clock", "processor time"].iter().zip(first.iter().zip([all[0] - nine[0], all[1] - nine[1]]))
    {
        println!("  {what:<14} last tenth {last:.3} s, first tenth {first:.3} s: {:.2} x", last / first);
    }
    Ok(())
}

fn setting(name: &str, default: usize) -> Result<usize> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is not a number")),
        Err(_) => Ok(default),
    }
}

/// Wall times of the same workload, one entry a round.
#[derive(Default)]
struct Peers {
    engine: Vec<Duration>,
    jobdock: Vec<Duration>,
    docker_run: Vec<Duration>,
}

impl Peers {
    fn print(&self, pods: usize) {
        let engine = median(&self.engine);
        for (name, times) in
            [("bare engine", &self.engine), ("jobdock", &self.jobdock), ("docker run --rm", &self.docker_run)]
        {
            let (middle, low, high) = (
                median(times),
                times.iter().min().copied().unwrap_or_default(),
                times.iter().max().copied().unwrap_or_default(),
            );
            println!(
                "  {name:<16} {:>7.3} s  [{:.3} .. {:.3}]  {:>6.2} pods/s  {:>5.2} x the bare engine's time",
                middle.as_secs_f64(),
                low.as_secs_f64(),
                high.as_secs_f64(),
                pods as f64 / middle.as_secs_f64(),
                middle.as_secs_f64() / engine.as_secs_f64(),
            );
        }
    }
}

/// The floor: what the engine itself needs for `pods` containers with `workers` at a time.
async fn engine(docker: &Docker, pods: usize, workers: usize) -> Result<Duration> {
    let start = Instant::now();
    futures::stream::iter(0..pods)
        .map(|_| one_container(docker))
        .buffer_unordered(workers)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(start.elapsed())
}

async fn one_container(docker: &Docker) -> Result<()> {
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None, body).await?.id;
    docker.start_container(&id, None::<StartContainerOptions>).await?;
    docker.wait_container(&id, None::<WaitContainerOptions>).try_collect::<Vec<_>>().await?;
    let state = docker.inspect_container(&id, None).await?.state.context("an inspected container has a state")?;
    ensure!(state.exit_code == Some(0), "`true` exited with {:?}", state.exit_code);
    docker.remove_container(&id, Some(RemoveContainerOptionsBuilder::new().force(true).build())).await?;
    Ok(())
}

async fn docker_run(pods: usize, workers: usize) -> Result<Duration> {
    let start = Instant::now();
    futures::stream::iter(0..pods)
        .map(|_| async {
            let status =
                Command::new("docker").args(["run", "--rm", IMAGE, "true"]).stdout(Stdio::null()).status().await?;
            ensure!(status.success(), "docker run ended with {status}");
            Ok(())
        })
        .buffer_unordered(workers)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(start.elapsed())
}

/// A daemon that runs Jobs.
struct Jobs {
    daemon: Daemon,
    api: Api<Job>,
}

impl Jobs {
    async fn start(runtime: &str) -> Result<Self> {
        let daemon = Daemon::start(&["--runtime", runtime])?;
        let api = Api::default_namespaced(daemon.client().await?);
        Ok(Self { daemon, api })
    }

    /// From the POST of a Job to the event that shows it Complete.
    async fn time_job(&self, pods: usize, parallelism: usize) -> Result<Duration> {
        let start = Instant::now();
        let marks = self.run_job(pods, parallelism).await?;
        let end = marks.last().context("a Job that ended was seen")?;
        Ok(end.at.duration_since(start))
    }

    /// How many pods had succeeded when, as a watcher sees it; the last mark is the Job's completion.
    async fn run_job(&self, pods: usize, parallelism: usize) -> Result<Vec<Mark>> {
        let job: Job = serde_json::from_value(serde_json::json!({
            "metadata": {"generateName": "bench-"},
            "spec": {"completions": pods, "parallelism": parallelism, "template": {"spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["true"]}],
            }}},
        }))?;
        let made = self.api.create(&PostParams::default(), &job).await?;
        let name = made.metadata.name.context("a created Job has a name")?;
        let from = made.metadata.resource_version.context("a created Job has a revision")?;
        let mut events =
            self.api.watch(&WatchParams::default().fields(&format!("metadata.name={name}")), &from).await?.boxed();
        let mut marks = Vec::new();
        while let Some(event) = events.try_next().await? {
            let WatchEvent::Modified(job) = event else { continue };
            let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0);
            marks.push(Mark {
                succeeded: usize::try_from(succeeded)?,
                at: Instant::now(),
                spent: self.daemon.processor_time()?,
            });
            match finished(&job) {
                Some("Complete") => {
                    self.api.delete(&name, &DeleteParams::background()).await?;
                    return Ok(marks);
                }
                Some(other) => bail!("the benchmark's Job {name} ended {other}"),
                None => {}
            }
        }
        bail!("the watch of Job {name} ended before the Job did")
    }
}

fn finished(job: &Job) -> Option<&str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.status == "True" && matches!(condition.type_.as_str(), "Complete" | "Failed"))
        .map(|condition| condition.type_.as_str())
}
