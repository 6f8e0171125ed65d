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

#[test]
fn a_cluster_that_does_not_answer_is_told_with_its_address_and_context() {
    let place = Place::fake();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"https://ADDRESS\"}}]\n\
                users: [{name: u, user: {token: t}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n\
                current-context: x\n";
    place.file("k", &text.replace("ADDRESS", &closed.to_string()));
    place.file("job.yaml", &job("away", "", "true"));
    let ended = place.jobdock(&["run", "--kubeconfig", "k", "job.yaml"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    let words = format!("error: cluster https://{closed} (context x) does not answer: Connection refused");
    assert!(ended.stderr.starts_with(&words), "{ended:?}");
}

#[test]
fn credentials_that_a_cluster_does_not_take_are_told_before_anything_else() {
    let cluster = Place::fake();
    let daemon = Daemon::start(&cluster.data(), &["--runtime", "fake"]).unwrap();
    let place = Place::fake();
    place.file("k", &daemon.kubeconfig().unwrap().replace("token: ", "token: not-"));
    place.file("job.yaml", &job("away", "", "true"));
    let ended = place.jobdock(&["run", "--kubeconfig", "k", "job.yaml"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("(context jobdock) does not take the credentials: Unauthorized"), "{ended:?}");
}
