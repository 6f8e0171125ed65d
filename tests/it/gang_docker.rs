//! A gang on the real engine: it does not start before all of it fits this machine, whatever the machine.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::image;

/// Three pods of which two fit.
fn gang(milli: u64) -> Result<Job> {
    let container = json!({
        "name": "main", "image": image::NAME, "imagePullPolicy": "Never", "command": ["true"],
        "resources": {"requests": {"cpu": format!("{milli}m")}},
    });
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "gang"},
        "spec": {
            "parallelism": 3, "completions": 3, "completionMode": "Indexed",
            "scheduling": {"schedulingPolicy": {"gang": {"minCount": 3}}},
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gang_starts_when_as_many_as_it_needs_fit_the_machine() -> Result<()> {
    image::ensure().await?;
    let dir = tempfile::tempdir()?;
    let daemon = Daemon::start(dir.path(), &[])?;
    let client = daemon.client().await?;
    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let events: Api<Event> = Api::default_namespaced(client.clone());
    let nodes = Api::<Node>::all(client);
    let node = loop {
        // The node is registered after the API answers.
        match nodes.list(&ListParams::default()).await?.items.pop() {
            Some(node) => break node,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let cores: u64 = allocatable.and_then(|all| all.get("cpu")).context("the node tells of its cores")?.0.parse()?;
    jobs.create(&PostParams::default(), &gang(cores * 400)?).await?;

    let told = loop {
        let told = events.list(&ListParams::default().fields("reason=FailedScheduling")).await?;
        if told.items.len() >= 3 {
            break told;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let words = "minCount (3) cannot be satisfied: 2 scheduled, 0 remaining";
    assert_eq!(told.iter().filter(|event| event.message.as_deref() == Some(words)).count(), 2);
    for pod in pods.list(&ListParams::default()).await? {
        assert_eq!(pod.spec.and_then(|spec| spec.node_name), None);
    }

    let smaller = json!({"spec": {"scheduling": {"schedulingPolicy": {"gang": {"minCount": 2}}}}});
    jobs.patch("gang", &PatchParams::default(), &Patch::Merge(smaller)).await?;
    await_condition(jobs.clone(), "gang", kube::runtime::conditions::is_job_completed()).await?;
    assert_eq!(jobs.get("gang").await?.status.and_then(|status| status.succeeded), Some(3));
    Ok(())
}
