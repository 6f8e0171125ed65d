//! kube-rs and its runtime, as controllers in Rust use them, against the real binary that pretends its containers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use jobdock::job::conditions::COMPLETE;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams, DeleteParams, LogParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher as watch;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::daemon::Daemon;

/// A daemon without an engine, and a client of it.
async fn begin() -> Result<(TempDir, Daemon, Client)> {
    let dir = tempfile::tempdir()?;
    let daemon = Daemon::start(&dir.path().join("data"), &["--runtime", "fake"])?;
    let client = daemon.client().await?;
    Ok((dir, daemon, client))
}

fn config(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::core::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        ..Default::default()
    }
}

fn pod(name: &str, script: &str) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                 "containers": [{"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", script]}]},
    }))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_begin_with_what_is_there_and_reflectors_keep_up() -> Result<()> {
    let (_dir, _daemon, client) = begin().await?;
    let configs: Api<ConfigMap> = Api::default_namespaced(client);
    configs.create(&PostParams::default(), &config("a")).await?;
    for settings in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut events = watch(configs.clone(), settings.fields("metadata.name=a")).boxed();
        let mut seen = Vec::new();
        while let Some(event) = events.try_next().await? {
            match event {
                Event::Init => seen.push("init"),
                Event::InitApply(found) => {
                    ensure!(found.name_any() == "a");
                    seen.push("a");
                }
                Event::InitDone => break,
                Event::Apply(_) | Event::Delete(_) => seen.push("too early"),
            }
        }
        ensure!(seen == ["init", "a"], "{seen:?}");
        let label = Patch::Merge(json!({"metadata": {"labels": {"round": seen.len().to_string()}}}));
        configs.patch("a", &PatchParams::default(), &label).await?;
        configs.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": null}}))).await?;
    }
    let (store, writer) = reflector::store::<ConfigMap>();
    let kept = reflector::reflector(writer, watch(configs.clone(), watcher::Config::default()));
    let mut kept = kept.boxed();
    configs.create(&PostParams::default(), &config("b")).await?;
    while store.get(&ObjectRef::new("b").within("default")).is_none() {
        kept.try_next().await?.context("the reflector goes on")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_awaited_and_logs_followed() -> Result<()> {
    let (_dir, _daemon, client) = begin().await?;
    let (jobs, pods) = (Api::<Job>::default_namespaced(client.clone()), Api::<Pod>::default_namespaced(client));
    let job: Job = serde_json::from_value(json!({
        "metadata": {"name": "j"},
        "spec": {"template": {"spec": pod("p", "echo one; echo two")?.spec}},
    }))?;
    jobs.create(&PostParams::default(), &job).await?;
    let done = await_condition(jobs.clone(), "j", conditions::is_job_completed()).await?;
    ensure!(done.is_some_and(|job| job.status.is_some_and(|status| status.succeeded == Some(1))));
    let of_job = kube::api::ListParams::default().labels("batch.kubernetes.io/job-name=j");
    let found = pods.list(&of_job).await?;
    let name = found.items.first().context("the Job has a pod")?.name_any();
    let options = LogParams { follow: true, ..LogParams::default() };
    let lines: Vec<String> = pods.log_stream(&name, &options).await?.lines().try_collect().await?;
    ensure!(lines == ["one", "two"], "{lines:?}");
    let uid = done_uid(&jobs).await?;
    jobs.delete("j", &DeleteParams::foreground()).await?;
    await_condition(jobs, "j", conditions::is_deleted(&uid)).await?;
    Ok(())
}

async fn done_uid(jobs: &Api<Job>) -> Result<String> {
    jobs.get("j").await?.uid().context("every object has one")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_run_and_ports_reached() -> Result<()> {
    let (_dir, _daemon, client) = begin().await?;
    let pods: Api<Pod> = Api::default_namespaced(client);
    pods.create(&PostParams::default(), &pod("p", "sleep infinity")?).await?;
    await_condition(pods.clone(), "p", conditions::is_pod_running()).await?;

    let mut said = pods.exec("p", ["sh", "-c", "echo out"], &AttachParams::default().stderr(false)).await?;
    let mut text = String::new();
    said.stdout().context("it was asked for")?.read_to_string(&mut text).await?;
    ensure!(text == "out\n", "{text:?}");
    let status = said.take_status().context("it is there once")?.await.context("the command ended")?;
    ensure!(status.status.as_deref() == Some("Success"), "{status:?}");

    let mut cat = pods.exec("p", ["cat"], &AttachParams::default().stdin(true).stderr(false)).await?;
    let (mut input, mut output) = (cat.stdin().context("asked for")?, cat.stdout().context("asked for")?);
    input.write_all(b"hello").await?;
    let mut heard = [0; 5];
    output.read_exact(&mut heard).await?;
    ensure!(&heard == b"hello");

    let mut forward = pods.portforward("p", &[8080]).await?;
    let mut stream = forward.take_stream(8080).context("the port was asked for")?;
    stream.write_all(b"again").await?;
    stream.read_exact(&mut heard).await?;
    ensure!(&heard == b"again");
    Ok(())
}

/// What the controller of the test knows.
struct Seen {
    client: Client,
    complete: Mutex<BTreeSet<String>>,
}

/// Writes a configmap that belongs to each Job that is complete.
async fn note(job: Arc<Job>, seen: Arc<Seen>) -> Result<Action, kube::Error> {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if !conditions.into_iter().any(|condition| condition.type_ == COMPLETE) {
        return Ok(Action::await_change());
    }
    // First, so that whoever finds the configmap finds it noted.
    seen.complete.lock().expect("nothing panics").insert(job.name_any());
    let owner = kube::Resource::controller_owner_ref(&*job, &()).into_iter().collect::<Vec<_>>();
    let report = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": job.name_any(), "ownerReferences": owner},
    });
    let configs: Api<ConfigMap> = Api::default_namespaced(seen.client.clone());
    configs.patch(&job.name_any(), &PatchParams::apply("reporter"), &Patch::Apply(report)).await?;
    Ok(Action::await_change())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_reports_every_job_that_completes() -> Result<()> {
    let (_dir, _daemon, client) = begin().await?;
    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    let seen = Arc::new(Seen { client: client.clone(), complete: Mutex::default() });
    let configs: Api<ConfigMap> = Api::default_namespaced(client);
    let running = Controller::new(jobs.clone(), watcher::Config::default())
        .owns(configs.clone(), watcher::Config::default())
        .run(note, |_, _, _| Action::requeue(std::time::Duration::from_millis(50)), Arc::clone(&seen))
        .for_each(|_| std::future::ready(()));
    let controller = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(running));
    for name in ["a", "b", "c"] {
        let job = json!({"metadata": {"name": name}, "spec": {"template": {"spec": pod(name, "true")?.spec}}});
        jobs.create(&PostParams::default(), &serde_json::from_value(job)?).await?;
    }
    for name in ["a", "b", "c"] {
        await_condition(configs.clone(), name, |found: Option<&ConfigMap>| found.is_some()).await?;
    }
    drop(controller);
    ensure!(seen.complete.lock().expect("nothing panics").len() == 3);
    // What it wrote belongs to the Jobs, and goes with them.
    let uid = configs.get("a").await?.uid().context("every object has one")?;
    jobs.delete("a", &DeleteParams::background()).await?;
    await_condition(configs, "a", conditions::is_deleted(&uid)).await?;
    Ok(())
}
