//! The promise of recovery, on the real engine: whatever dies and whenever, each index is run, counted and logged once.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bollard::Docker;
use bollard::query_parameters::ListContainersOptionsBuilder;
use jobdock::runtime::LABEL_POD_UID;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams, PostParams};
use rand::Rng;

use crate::support::daemon::{Daemon, PATIENCE};

const COMPLETIONS: i32 = 30;
/// Every fifth index fails once.
const FAILING: i32 = 6;
const KILLS: usize = 20;

/// The daemon is killed at random moments while a Job runs whose pods each append one line to a file on the host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_twenty_times_runs_counts_and_logs_every_index_exactly_once() -> Result<()> {
    crate::support::image::ensure().await?;
    let dir = tempfile::tempdir()?;
    let ledger = tempfile::tempdir()?;
    let mut daemon = Daemon::start(dir.path(), &["--backoff-base", "100ms", "--backoff-cap", "1s"])?;
    let jobs: Api<Job> = Api::default_namespaced(daemon.client().await?);
    jobs.create(&PostParams::default(), &job(ledger.path().to_str().context("a path is text")?)?).await?;

    let mut kills = 0;
    let deadline = Instant::now() + PATIENCE * 2;
    let pause = || Duration::from_millis(rand::rng().random_range(20..700));
    let client = loop {
        tokio::time::sleep(pause()).await;
        if kills < KILLS {
            daemon.crash()?;
            kills += 1;
            daemon.restart()?;
            continue;
        }
        let client = daemon.client().await?;
        let job = Api::<Job>::default_namespaced(client.clone()).get("ledger").await?;
        if job.status.as_ref().and_then(|status| status.completion_time.as_ref()).is_some() {
            break client;
        }
        ensure!(Instant::now() < deadline, "the Job did not end: {:?}", job.status);
    };

    check_counts(&Api::default_namespaced(client.clone())).await?;
    let pods = Api::default_namespaced(client);
    check_logs(&pods).await?;
    check_runs(&fs::read_to_string(ledger.path().join("runs"))?);
    check_nothing_is_left(&pods).await
}

fn job(ledger: &str) -> Result<Job> {
    let script = "echo index $JOB_COMPLETION_INDEX failures $FAILURES | tee -a /ledger/runs; \
                  sleep 0.2; [ $((JOB_COMPLETION_INDEX % 5)) -ne 0 ] || [ $FAILURES -gt 0 ]";
    Ok(serde_json::from_value(serde_json::json!({
        "metadata": {"name": "ledger"},
        "spec": {
            "completionMode": "Indexed", "completions": COMPLETIONS, "parallelism": 5, "backoffLimitPerIndex": 3,
            "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "main", "image": crate::support::image::NAME, "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", script],
                    "env": [{"name": "FAILURES", "valueFrom": {"fieldRef": {
                        "fieldPath": "metadata.annotations['batch.kubernetes.io/job-index-failure-count']"}}}],
                    "volumeMounts": [{"name": "ledger", "mountPath": "/ledger"}],
                }],
                "volumes": [{"name": "ledger", "hostPath": {"path": ledger, "type": "Directory"}}],
            }},
        },
    }))?)
}

async fn check_counts(jobs: &Api<Job>) -> Result<()> {
    let status = jobs.get("ledger").await?.status.context("a finished Job has a status")?;
    assert_eq!(status.succeeded, Some(COMPLETIONS));
    assert_eq!(status.failed, Some(FAILING));
    assert_eq!(status.completed_indexes.as_deref(), Some("0-29"));
    assert_eq!(status.active.unwrap_or(0), 0);
    Ok(())
}

/// Every pod ever made is still there, and its kept log has its one line.
async fn check_logs(pods: &Api<Pod>) -> Result<()> {
    let list = pods.list(&ListParams::default().labels("job-name=ledger")).await?;
    assert_eq!(list.items.len(), usize::try_from(COMPLETIONS + FAILING)?);
    for pod in list.items {
        let name = pod.metadata.name.context("a pod has a name")?;
        let text = pods.logs(&name, &LogParams::default()).await?;
        assert_eq!(text.lines().count(), 1, "the log of {name} is {text:?}");
    }
    Ok(())
}

/// What the containers themselves wrote: each (index, failures) once.
fn check_runs(text: &str) {
    let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        *runs.entry(line).or_default() += 1;
    }
    let twice: Vec<_> = runs.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "run more than once: {twice:?}");
    assert_eq!(runs.len(), usize::try_from(COMPLETIONS + FAILING).expect("a small number"), "{text}");
}

/// Finished pods' containers are removed soon after their state and logs are kept.
async fn check_nothing_is_left(pods: &Api<Pod>) -> Result<()> {
    let uids: Vec<String> =
        pods.list(&ListParams::default()).await?.items.into_iter().filter_map(|pod| pod.metadata.uid).collect();
    let docker = Docker::connect_with_defaults()?.negotiate_version().await?;
    let filters = HashMap::from([("label", vec![LABEL_POD_UID])]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let mut left = docker.list_containers(Some(options)).await?;
        // Other tests run beside this one: only the containers of this daemon's pods count.
        left.retain(|container| {
            container.labels.as_ref().and_then(|labels| labels.get(LABEL_POD_UID)).is_some_and(|uid| uids.contains(uid))
        });
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "containers are left: {left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
