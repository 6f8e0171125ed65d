//! The real kubectl and the owners of fields: server-side apply, its conflicts, the way there from client-side apply.

use serde_json::Value;

use super::kubectl::Cluster;

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '1'}\n";

const CRON_JOB: &str = "
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: '0 0 1 1 *'
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: main, image: busybox}
";

impl Cluster {
    /// A manifest in the file `name`.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The managers of an object, by name: the order of their entries depends on the second in which they wrote.
    async fn managers(&self, object: &str) -> String {
        let path = "jsonpath={.metadata.managedFields[*].manager}";
        let names = self.ok(&["get", object, "--show-managed-fields", "-o", path]).await;
        let mut names: Vec<&str> = names.split(' ').collect();
        names.sort_unstable();
        names.join(" ")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_conflicts_and_force() {
    let cluster = Cluster::new().await;
    let apply = ["apply", "--server-side", "-f", "c.yaml"];
    cluster.write("c.yaml", CONFIG);
    assert_eq!(cluster.ok(&apply).await, "configmap/c serverside-applied\n");
    assert_eq!(cluster.managers("cm/c").await, "kubectl");
    assert!(!cluster.ok(&["get", "cm", "c", "-o", "yaml"]).await.contains("managedFields"));
    cluster.write("c.yaml", &CONFIG.replace("a: '1'", "a: '2'"));
    let diff = cluster.run(&["diff", "--server-side", "-f", "c.yaml"]).await;
    assert_eq!(diff.status.code(), Some(1), "{}", String::from_utf8_lossy(&diff.stderr));
    assert!(String::from_utf8_lossy(&diff.stdout).contains("+  a: \"2\""));
    let other = |more: &'static str| ["apply", "--server-side", "--field-manager=argo", "-f", "c.yaml", more];
    let conflict = cluster.fails(&other("--force-conflicts=false")).await;
    assert!(conflict.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .data.a"), "{conflict}");
    let dry = cluster.ok(&["apply", "--server-side", "--dry-run=server", "-f", "c.yaml"]).await;
    assert_eq!(dry, "configmap/c serverside-applied (server dry run)\n");
    assert_eq!(cluster.ok(&other("--force-conflicts")).await, "configmap/c serverside-applied\n");
    assert_eq!(cluster.ok(&["get", "cm", "c", "-o", "jsonpath={.data.a}"]).await, "2");
    assert_eq!(cluster.managers("cm/c").await, "argo kubectl");
    // What nobody applies any more goes.
    cluster.write("c.yaml", &CONFIG.replace("a: '1', ", ""));
    cluster.ok(&other("--force-conflicts")).await;
    assert_eq!(cluster.ok(&["get", "cm", "c", "-o", "jsonpath={.data}"]).await, "{\"b\":\"1\"}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_client_side_apply_to_server_side_apply_and_back() {
    let cluster = Cluster::new().await;
    cluster.write("c.yaml", CONFIG);
    assert_eq!(cluster.ok(&["apply", "-f", "c.yaml"]).await, "configmap/c created\n");
    assert_eq!(cluster.managers("cm/c").await, "kubectl-client-side-apply");
    let last = cluster.ok(&["apply", "view-last-applied", "cm", "c", "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["data"]["a"], "1");
    cluster.write("c.yaml", &CONFIG.replace("a: '1'", "a: '2'"));
    cluster.ok(&["apply", "--server-side", "-f", "c.yaml"]).await;
    // kubectl moves what client-side apply owned to itself, and the annotation to a manager of its own.
    assert_eq!(cluster.managers("cm/c").await, "kubectl kubectl-last-applied");
    let last = cluster.ok(&["apply", "view-last-applied", "cm", "c", "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["data"]["a"], "2");
    cluster.write("c.yaml", &CONFIG.replace("a: '1'", "a: '3'"));
    assert_eq!(cluster.ok(&["apply", "-f", "c.yaml"]).await, "configmap/c configured\n");
    assert_eq!(cluster.ok(&["get", "cm", "c", "-o", "jsonpath={.data.a}"]).await, "3");
    assert_eq!(cluster.ok(&["apply", "-f", "c.yaml"]).await, "configmap/c unchanged\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_kubectls_ways_to_change_is_a_manager() {
    let cluster = Cluster::new().await;
    cluster.write("cj.yaml", CRON_JOB);
    cluster.ok(&["create", "-f", "cj.yaml"]).await;
    assert_eq!(cluster.ok(&["set", "image", "cj/tick", "main=alpine"]).await, "cronjob.batch/tick image updated\n");
    assert_eq!(cluster.ok(&["set", "env", "cj/tick", "A=1"]).await, "cronjob.batch/tick env updated\n");
    cluster.ok(&["label", "cj", "tick", "a=b"]).await;
    cluster.ok(&["annotate", "cj", "tick", "a=b"]).await;
    cluster.ok(&["patch", "cj", "tick", "-p", r#"{"spec":{"suspend":true}}"#]).await;
    let mut edit = cluster.command(&["edit", "cj", "tick"]);
    edit.env("EDITOR", "sed -i s/suspend:.true/suspend:\\ false/");
    let edited = tokio::task::spawn_blocking(move || edit.output().unwrap()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&edited.stdout), "cronjob.batch/tick edited\n");
    // The edit took over all that the patch owned.
    let managers = "kubectl-annotate kubectl-create kubectl-edit kubectl-label kubectl-set";
    assert_eq!(cluster.managers("cj/tick").await, managers);
    let conflict = cluster.fails(&["apply", "--server-side", "-f", "cj.yaml"]).await;
    let image = r#".spec.jobTemplate.spec.template.spec.containers[name="main"].image"#;
    assert!(conflict.contains(&format!("conflict with \"kubectl-set\" using batch/v1: {image}")), "{conflict}");
    assert_eq!(cluster.ok(&["create", "job", "once", "--from=cronjob/tick"]).await, "job.batch/once created\n");
    assert_eq!(cluster.managers("job/once").await, "kubectl-create");
    let scaled = cluster.fails(&["scale", "job", "once", "--replicas=2"]).await;
    assert!(scaled.contains("could not find the requested resource"), "{scaled}");
}
