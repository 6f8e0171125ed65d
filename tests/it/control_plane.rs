//! `jobdock serve --node=none`: the API and the controllers without anything that runs pods, as controllers' tests use it.

use anyhow::Result;
use jobdock::job::conditions::COMPLETE;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::support::daemon::Daemon;

fn sweep() -> Job {
    serde_json::from_value(json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "sweep", "namespace": "default"},
        "spec": {
            "completions": 3, "parallelism": 2, "completionMode": "Indexed", "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "nowhere"}]}},
        },
    }))
    .expect("a Job")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_pods_wait_for_a_client_to_say_what_became_of_them() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // No engine is there, and none is asked for.
    let daemon = Daemon::start(dir.path(), &["--node=none", "--host", "unix:///nonexistent/engine.sock"])?;
    let client = daemon.client().await?;
    let (jobs, pods) = (Api::<Job>::namespaced(client.clone(), "default"), Api::<Pod>::default_namespaced(client));
    jobs.create(&PostParams::default(), &sweep()).await?;
    let active = kube::runtime::wait::await_condition(jobs.clone(), "sweep", |job: Option<&Job>| {
        job.and_then(|job| job.status.as_ref()).is_some_and(|status| status.active == Some(2))
    });
    active.await?;
    let mut ended = 0;
    while ended < 3 {
        for pod in pods.list(&ListParams::default().fields("status.phase=Pending")).await? {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            assert_eq!(pod.spec.and_then(|spec| spec.node_name), None, "nothing binds {name}");
            let over = json!({"status": {"phase": "Succeeded"}});
            pods.patch_status(name, &PatchParams::default(), &Patch::Merge(over)).await?;
            ended += 1;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let complete = kube::runtime::wait::await_condition(jobs.clone(), "sweep", |job: Option<&Job>| {
        let conditions = job.and_then(|job| job.status.as_ref()?.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| condition.type_ == COMPLETE)
    });
    complete.await?;
    let status = jobs.get("sweep").await?.status.unwrap_or_default();
    assert_eq!((status.succeeded, status.completed_indexes.as_deref()), (Some(3), Some("0-2")));
    Ok(())
}
