//! What finished pods leave behind: nothing but what the API lists.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptions, ListVolumesOptions};
use jobdock::runtime::LABEL_POD_UID;
use jobdock::runtime::fake::Fake;
use jobdock::store::Store;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, PostParams};

use super::pod_house::House;
use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::image;

/// Runs a Job of so many pods, each with two containers and a volume, to its end.
async fn run(client: kube::Client, pods: u32, at_once: u32) -> Result<()> {
    let jobs: Api<Job> = Api::default_namespaced(client);
    let container = |name: &str| {
        serde_json::json!({
            "name": name, "image": image::NAME, "imagePullPolicy": "Never", "command": ["echo", "done"],
            "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        })
    };
    let job = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "many"},
        "spec": {"completions": pods, "parallelism": at_once, "template": {"spec": {
            "restartPolicy": "Never",
            "containers": [container("one"), container("two")],
            "volumes": [{"name": "shared", "emptyDir": {}}],
        }}},
    }))?;
    jobs.create(&PostParams::default(), &job).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = jobs.get("many").await?.status.unwrap_or_default();
        if status.completion_time.is_some() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the Job did not end: {status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Open files of a process that are none of its connections with clients: those come and go with the test's own.
fn open_files(pid: u32) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd"))? {
        // One that was closed between the two looks is none.
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        count += usize::from(!target.to_string_lossy().starts_with("socket:"));
    }
    Ok(count)
}

/// A daemon opens connections of its database as it needs them and keeps them: a few more than at its start. Far less than
/// a file for each of the pods.
const OPENED_LATER: usize = 12;

/// Waits until a process has hardly more files open than before.
async fn files_are_closed(pid: u32, before: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = open_files(pid)?;
        if now <= before + OPENED_LATER {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{now} files are open, {before} were before");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_pods_leave_no_file_open() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let daemon = Daemon::start(dir.path(), &["--runtime", "fake"])?;
    let client = daemon.client().await?;
    let before = open_files(daemon.pid())?;
    run(client, 500, 50).await?;
    files_are_closed(daemon.pid(), before).await?;
    // The last pod's files go after its end was told.
    let mounts = || std::fs::read_dir(dir.path().join("mounts")).map(Iterator::count).unwrap_or(0);
    let deadline = Instant::now() + PATIENCE;
    while mounts() > 0 {
        ensure!(Instant::now() < deadline, "{} directories of pods' files are left", mounts());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_pods_leave_nothing_in_the_engine() -> Result<()> {
    image::ensure().await?;
    let dir = tempfile::tempdir()?;
    let daemon = Daemon::start(dir.path(), &[])?;
    let client = daemon.client().await?;
    let before = open_files(daemon.pid())?;
    run(client.clone(), 60, 20).await?;
    let pods = Api::<Pod>::default_namespaced(client).list(&ListParams::default()).await?;
    let uids: HashSet<String> = pods.items.into_iter().filter_map(|pod| pod.metadata.uid).collect();
    ensure!(uids.len() >= 60, "the pods are listed");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = left_in_engine(&uids).await?;
        if left.is_empty() {
            break;
        }
        ensure!(Instant::now() < deadline, "left: {left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    files_are_closed(daemon.pid(), before).await
}

/// Names of the containers, volumes and networks of these pods.
async fn left_in_engine(uids: &HashSet<String>) -> Result<Vec<String>> {
    let docker = Docker::connect_with_defaults().context("this test needs a Docker engine")?;
    let ours = |labels: Option<&std::collections::HashMap<String, String>>| {
        labels.and_then(|labels| labels.get(LABEL_POD_UID)).is_some_and(|uid| uids.contains(uid))
    };
    let containers = docker.list_containers(Some(ListContainersOptionsBuilder::new().all(true).build())).await?;
    let volumes = docker.list_volumes(None::<ListVolumesOptions>).await?.volumes.unwrap_or_default();
    let networks = docker.list_networks(None::<ListNetworksOptions>).await?;
    let containers = containers.into_iter().filter(|one| ours(one.labels.as_ref())).filter_map(|one| one.id);
    let volumes = volumes.into_iter().filter(|one| ours(Some(&one.labels))).map(|one| one.name);
    let networks = networks.into_iter().filter(|one| ours(one.labels.as_ref())).filter_map(|one| one.name);
    Ok(containers.chain(volumes).chain(networks).collect())
}

#[tokio::test]
async fn five_hundred_pods_leave_no_task_in_the_agent() {
    let house = House::open(Store::in_memory().unwrap(), Arc::new(Fake::new()));
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let pod = |number: u32| {
        format!(
            "{{metadata: {{name: p{number}}}, spec: {{restartPolicy: Never, containers: [{{name: main, image: 'busybox:1'}}]}}}}"
        )
    };
    house.pod(&pod(0)).await;
    house.until_phase("p0", "Succeeded").await;
    house.until_empty().await;
    let before = tasks();
    for number in 1..=500 {
        house.pod(&pod(number)).await;
    }
    for number in 1..=500 {
        house.until_phase(&format!("p{number}"), "Succeeded").await;
    }
    house.until_empty().await;
    house.eventually("the tasks have ended", || async { tasks() <= before }).await;
}
