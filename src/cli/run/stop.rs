//! Owns how a run ends its Jobs: gracefully first, then at once. Never decides when.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};

use super::observe;

/// Pause between tries to delete something that the server did not take.
const PAUSE: Duration = Duration::from_millis(500);
/// Seconds of grace at the second interrupt. Not 0: that removes the pod's record before anybody knows that its
/// containers are dead, and nothing may stay behind. (Parity: `kubectl delete --grace-period=0` without `--force`.)
const AT_ONCE: u32 = 1;

/// Deletes a Job and its pods, which get their grace period; it stays visible until they are gone. Tries until the
/// server has taken it.
pub async fn gracefully(client: Client, job: Job) {
    let meta = job.metadata;
    let api = Api::<Job>::namespaced(client, meta.namespace.as_deref().unwrap_or_default());
    let params = DeleteParams {
        // Somebody may have made another Job of that name.
        preconditions: Some(Preconditions { uid: meta.uid, resource_version: None }),
        ..DeleteParams::foreground()
    };
    let name = meta.name.unwrap_or_default();
    while !taken(api.delete(&name, &params).await) {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Ends the pods of these Jobs without further grace.
pub async fn at_once(client: Client, jobs: Vec<Job>) {
    let pods = loop {
        match observe::pods(&client, jobs.iter()).await {
            Ok(pods) => break pods,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    let params = DeleteParams { grace_period_seconds: Some(AT_ONCE), ..DeleteParams::default() };
    for pod in pods {
        let api = Api::<Pod>::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
        while !taken(api.delete(pod.metadata.name.as_deref().unwrap_or_default(), &params).await) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether the server has taken a delete: done, under way, or nothing there to delete (404, or another uid: 409).
fn taken<T>(answer: kube::Result<T>) -> bool {
    match answer {
        Ok(_) => true,
        Err(kube::Error::Api(status)) => matches!(status.code, 404 | 409),
        Err(_) => false,
    }
}
