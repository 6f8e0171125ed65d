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
//! `JOBDOCK_BENCH_ROUNDS` (5), `JOBDOCK_BENCH_PODS` (30) and `JOBDOCK_BENCH_COMPLETIONS` (10000) set the size.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::process::{Child, Command};

const IMAGE: &str = "busybox:1.36";
const PARALLELISMS: [usize; 3] = [1, 2, 10];

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo test --benches` and `cargo bench -- --test` only ask whether this runs at all.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let rounds = setting("JOBDOCK_BENCH_ROUNDS", 5)?;
    let pods = setting("JOBDOCK_BENCH_PODS", 30)?;
    let docker = Docker::connect_with_defaults()?.negotiate_version().await?;
    docker.inspect_image(IMAGE).await.with_context(|| format!("no image {IMAGE}: run `make image` first"))?;
    let daemon = Daemon::start("docker").await?;

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
    daemon.stop().await?;
    growth(setting("JOBDOCK_BENCH_COMPLETIONS", 10_000)?).await
}

/// Pods side by side in the Job that measures growth.
const WIDTH: usize = 50;

/// The unit of proc(5)'s times on every Linux that Rust has a tier for.
const TICKS_A_SECOND: u32 = 100;

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
    let daemon = Daemon::start("fake").await?;
    let (start, spent) = (Instant::now(), daemon.processor_time()?);
    let marks = daemon.run_job(pods, WIDTH).await?;
    daemon.stop().await?;
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

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
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

/// A daemon of this benchmark's own, on a data directory of its own.
struct Daemon {
    process: Child,
    jobs: Api<Job>,
    _dir: Arc<tempfile::TempDir>,
}

impl Daemon {
    async fn start(runtime: &str) -> Result<Self> {
        let dir = Arc::new(tempfile::tempdir()?);
        let process = Command::new(env!("CARGO_BIN_EXE_jobdock"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "warn", "--runtime", runtime, "--data-dir"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let config = kubeconfig(dir.path()).await?;
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        let client = kube::Client::try_from(config)?;
        Ok(Self { process, jobs: Api::default_namespaced(client), _dir: dir })
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
        let made = self.jobs.create(&PostParams::default(), &job).await?;
        let name = made.metadata.name.context("a created Job has a name")?;
        let from = made.metadata.resource_version.context("a created Job has a revision")?;
        let mut events =
            self.jobs.watch(&WatchParams::default().fields(&format!("metadata.name={name}")), &from).await?.boxed();
        let mut marks = Vec::new();
        while let Some(event) = events.try_next().await? {
            let WatchEvent::Modified(job) = event else { continue };
            let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0);
            marks.push(Mark {
                succeeded: usize::try_from(succeeded)?,
                at: Instant::now(),
                spent: self.processor_time()?,
            });
            match finished(&job) {
                Some("Complete") => {
                    self.jobs.delete(&name, &DeleteParams::background()).await?;
                    return Ok(marks);
                }
                Some(other) => bail!("the benchmark's Job {name} ended {other}"),
                None => {}
            }
        }
        bail!("the watch of Job {name} ended before the Job did")
    }

    /// What the daemon has used of the processors so far, as proc(5) tells: fields 14 and 15 of `stat`, counted
    /// after the name in parentheses, in clock ticks.
    fn processor_time(&self) -> Result<Duration> {
        let id = self.process.id().context("the daemon still runs")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(Duration::from_secs(1) * ticks / TICKS_A_SECOND)
    }

    async fn stop(mut self) -> Result<()> {
        let id = self.process.id().context("the daemon still runs")?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id.try_into()?), nix::sys::signal::Signal::SIGTERM)?;
        let status = self.process.wait().await?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }
}

fn finished(job: &Job) -> Option<&str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.status == "True" && matches!(condition.type_.as_str(), "Complete" | "Failed"))
        .map(|condition| condition.type_.as_str())
}

/// The kubeconfig of a daemon that is starting: asked for until it answers.
async fn kubeconfig(dir: &Path) -> Result<Kubeconfig> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let output =
            Command::new(env!("CARGO_BIN_EXE_jobdock")).arg("kubeconfig").arg("--data-dir").arg(dir).output().await?;
        if output.status.success() {
            return Ok(Kubeconfig::from_yaml(&String::from_utf8(output.stdout)?)?);
        }
        if Instant::now() > deadline {
            bail!("the daemon did not start: {}", String::from_utf8_lossy(&output.stderr));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
