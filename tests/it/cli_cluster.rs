//! `jobdock run --kubeconfig`: the same command against another API server; here a second jobdock stands in for it.

use k8s_openapi::api::batch::v1::Job;
use kube::Api;

use crate::support::cli::{Place, job};
use crate::support::daemon::Daemon;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_works_against_any_kubeconfig() {
    let cluster = Place::fake();
    let daemon = Daemon::start(&cluster.data(), &["--runtime", "fake"]).unwrap();
    let place = Place::fake();
    place.file("cluster.kubeconfig", &daemon.kubeconfig().unwrap());
    place.file("job.yaml", &job("away", "", "echo from elsewhere"));
    let ended = place.jobdock(&["run", "--kubeconfig", "cluster.kubeconfig", "job.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.ends_with("| from elsewhere\n"), "{ended:?}");
    assert!(!place.data().exists(), "no daemon was started here");
    let jobs: Api<Job> = Api::default_namespaced(daemon.client().await.unwrap());
    let made = jobs.get("away").await.unwrap().metadata.managed_fields.unwrap_or_default();
    assert!(made.iter().any(|entry| entry.manager.as_deref() == Some("jobdock")), "{made:?}");
}

#[test]
fn a_context_that_is_not_there_is_a_usage_error() {
    let place = Place::fake();
    place.file("k", "apiVersion: v1\nkind: Config\n");
    place.file("job.yaml", &job("away", "", "true"));
    let ended = place.jobdock(&["run", "--kubeconfig", "k", "--context", "nowhere", "job.yaml"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.starts_with("error: no cluster to connect to: "), "{ended:?}");
}
