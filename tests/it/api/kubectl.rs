//! The real kubectl, unmodified, against the real listeners: TLS, token, HTTP/2.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use jobdock::api::accounts::Accounts;
use jobdock::api::{ApiState, Listeners, kubeconfig, serve};
use jobdock::model::kind::Kind;
use jobdock::model::object::{Key, Object};
use jobdock::store::{Expected, Store, Write};
use jobdock::token::Signer;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A server of the test's own, and a kubectl with a home of its own.
pub struct Cluster {
    dir: TempDir,
    store: Store,
    stop: CancellationToken,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cluster {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::in_memory().unwrap();
        for name in ["default", "other"] {
            let mut namespace = Namespace::default();
            namespace.metadata.name = Some(name.to_owned());
            store.commit(vec![Write::Create(Object::new(namespace))]).await.unwrap();
        }
        let stop = CancellationToken::new();
        let socket = dir.path().join("api.sock");
        let listeners = Listeners::bind(dir.path(), Some(&socket), Some(([127, 0, 0, 1], 0).into())).await.unwrap();
        let accounts = Accounts::new(store.clone()).with_signer(Signer::fresh().unwrap(), true);
        let state = ApiState::new(store.clone(), stop.clone()).with_accounts(accounts);
        tokio::spawn(serve(state, listeners, stop.clone()));
        let cluster = Self { dir, store, stop };
        std::fs::write(cluster.path("config"), kubeconfig(cluster.dir.path()).unwrap()).unwrap();
        std::fs::write(cluster.path("job.yaml"), JOB).unwrap();
        cluster
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("KUBECONFIG", self.path("config"))
            .env("KUBECACHEDIR", self.path("cache"))
            .stdin(Stdio::null());
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || {
            command.output().expect("kubectl is on the PATH: install it (Debian: kubernetes-client) to run these tests")
        })
        .await
        .unwrap()
    }

    /// What a command that must succeed prints.
    #[track_caller]
    pub fn ok<'a>(&'a self, arguments: &'a [&'a str]) -> impl Future<Output = String> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let output = self.run(arguments).await;
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{caller}: kubectl {arguments:?}: {errors}");
            String::from_utf8(output.stdout).unwrap()
        }
    }

    /// What a command that must fail complains of.
    pub async fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(!output.status.success(), "kubectl {arguments:?} did not fail");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Changes an object as a controller would.
    async fn change(&self, key: &Key, edit: impl Fn(&mut Value)) {
        let object = self.store.get(key).unwrap().unwrap();
        let mut value = object.to_value();
        edit(&mut value);
        let object = Object::from_value(key.kind, value).unwrap();
        self.store.commit(vec![Write::Update { object, expected: Expected::Exists }]).await.unwrap();
    }
}

const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata:
  name: hello
spec:
  completions: 3
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        image: busybox
        command: [sh, -c, echo hello]
";

/// The lines of a table, its columns parted by one space.
fn table(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn create_get_and_delete() {
    let cluster = Cluster::new().await;
    assert_eq!(cluster.ok(&["create", "-f", "job.yaml"]).await, "job.batch/hello created\n");
    let again = cluster.fails(&["create", "-f", "job.yaml"]).await;
    assert!(again.contains("(AlreadyExists)") && again.contains("jobs.batch \"hello\" already exists"), "{again}");
    let rows = table(&cluster.ok(&["get", "jobs"]).await);
    assert_eq!(rows[0], "NAME STATUS COMPLETIONS DURATION AGE");
    assert!(rows[1].starts_with("hello Running 0/3 "), "{rows:?}");
    let wide = table(&cluster.ok(&["get", "job", "hello", "-o", "wide"]).await);
    assert_eq!(wide[0], "NAME STATUS COMPLETIONS DURATION AGE CONTAINERS IMAGES SELECTOR");
    assert!(wide[1].contains(" main busybox "), "{wide:?}");
    assert_eq!(cluster.ok(&["get", "job", "-o", "name"]).await, "job.batch/hello\n");
    let path = "jsonpath={.items[0].spec.completions}";
    assert_eq!(cluster.ok(&["get", "jobs", "-o", path]).await, "3");
    let yaml = cluster.ok(&["get", "job", "hello", "-o", "yaml"]).await;
    assert!(yaml.starts_with("apiVersion: batch/v1\nkind: Job\n"), "{yaml}");
    let json: Value = serde_json::from_str(&cluster.ok(&["get", "job", "hello", "-o", "json"]).await).unwrap();
    assert_eq!(json["spec"]["backoffLimit"], 6);
    assert!(cluster.ok(&["get", "all"]).await.contains("job.batch/hello"));
    assert!(cluster.ok(&["get", "jobs", "-A"]).await.starts_with("NAMESPACE"));
    assert!(cluster.ok(&["get", "jobs", "-n", "other"]).await.is_empty());
    assert_eq!(cluster.ok(&["delete", "job", "hello"]).await, "job.batch \"hello\" deleted\n");
    let gone = cluster.fails(&["get", "job", "hello"]).await;
    assert!(gone.contains("Error from server (NotFound): jobs.batch \"hello\" not found"), "{gone}");
    let none = cluster.run(&["get", "jobs"]).await;
    assert_eq!(String::from_utf8_lossy(&none.stderr), "No resources found in default namespace.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_diff_label_annotate_patch_replace() {
    let cluster = Cluster::new().await;
    assert_eq!(cluster.ok(&["apply", "-f", "job.yaml"]).await, "job.batch/hello created\n");
    assert_eq!(cluster.ok(&["apply", "-f", "job.yaml"]).await, "job.batch/hello unchanged\n");
    let changed = JOB.replace("spec:\n  completions", "spec:\n  parallelism: 2\n  completions");
    std::fs::write(cluster.path("job.yaml"), &changed).unwrap();
    let diff = cluster.run(&["diff", "-f", "job.yaml"]).await;
    assert_eq!(diff.status.code(), Some(1), "{}", String::from_utf8_lossy(&diff.stderr));
    assert!(String::from_utf8_lossy(&diff.stdout).contains("+  parallelism: 2"));
    assert_eq!(cluster.ok(&["apply", "-f", "job.yaml"]).await, "job.batch/hello configured\n");
    assert_eq!(cluster.ok(&["get", "job", "hello", "-o", "jsonpath={.spec.parallelism}"]).await, "2");
    assert_eq!(cluster.run(&["diff", "-f", "job.yaml"]).await.status.code(), Some(0));
    assert_eq!(cluster.ok(&["label", "job", "hello", "team=a"]).await, "job.batch/hello labeled\n");
    assert_eq!(cluster.ok(&["annotate", "job/hello", "note=b"]).await, "job.batch/hello annotated\n");
    assert_eq!(cluster.ok(&["get", "jobs", "-l", "team=a", "-o", "name"]).await, "job.batch/hello\n");
    assert_eq!(cluster.ok(&["get", "jobs", "-l", "team in (b)", "-o", "name"]).await, "");
    for (kind, patch, left) in [
        ("strategic", r#"{"spec":{"parallelism":3}}"#, "3"),
        ("merge", r#"{"spec":{"parallelism":4}}"#, "4"),
        ("json", r#"[{"op":"replace","path":"/spec/parallelism","value":5}]"#, "5"),
    ] {
        let patched = cluster.ok(&["patch", "job", "hello", "--type", kind, "-p", patch]).await;
        assert_eq!(patched, "job.batch/hello patched\n", "{kind}");
        assert_eq!(cluster.ok(&["get", "job", "hello", "-o", "jsonpath={.spec.parallelism}"]).await, left, "{kind}");
    }
    let strict = changed.replace("completions: 3", "completons: 3");
    std::fs::write(cluster.path("typo.yaml"), strict.replace("name: hello", "name: typo")).unwrap();
    let refused = cluster.fails(&["create", "-f", "typo.yaml"]).await;
    assert!(refused.contains("unknown field \"spec.completons\""), "{refused}");
    assert_eq!(cluster.ok(&["create", "-f", "typo.yaml", "--validate=ignore"]).await, "job.batch/typo created\n");
    let cron = ["create", "cronjob", "nightly", "--image=busybox", "--schedule=@daily"];
    assert_eq!(cluster.ok(&cron).await, "cronjob.batch/nightly created\n");
    assert_eq!(cluster.ok(&["create", "job", "now", "--from=cronjob/nightly"]).await, "job.batch/now created\n");
    assert_eq!(
        cluster.ok(&["get", "job", "now", "-o", "jsonpath={.metadata.ownerReferences[0].name}"]).await,
        "nightly"
    );
    let dry = cluster.ok(&["create", "job", "dry", "--image=busybox", "--dry-run=server"]).await;
    assert_eq!(dry, "job.batch/dry created (server dry run)\n");
    assert_eq!(cluster.ok(&["create", "configmap", "c", "--from-literal=a=1"]).await, "configmap/c created\n");
    let config = cluster.ok(&["get", "configmap", "c", "-o", "yaml"]).await;
    std::fs::write(cluster.path("c.yaml"), config.replace("a: \"1\"", "a: \"2\"")).unwrap();
    assert_eq!(cluster.ok(&["replace", "-f", "c.yaml"]).await, "configmap/c replaced\n");
    assert_eq!(cluster.ok(&["get", "configmap", "c", "-o", "jsonpath={.data.a}"]).await, "2");
    let replaced = cluster.ok(&["replace", "--force", "-f", "job.yaml"]).await;
    assert!(replaced.contains("job.batch/hello replaced"), "{replaced}");
    assert_eq!(cluster.ok(&["create", "secret", "generic", "s", "--from-literal=k=v"]).await, "secret/s created\n");
    assert_eq!(table(&cluster.ok(&["get", "secret", "s", "--no-headers"]).await)[0][..9], *"s Opaque ");
    assert_eq!(cluster.ok(&["delete", "configmaps,secrets", "--all"]).await.lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_texts_of_ones_own_are_filled_in() {
    let cluster = Cluster::new().await;
    cluster.ok(&["create", "-f", "job.yaml"]).await;
    let columns =
        "NAME:.metadata.name,WANTED:.spec.completions,IMAGES:.spec.template.spec.containers[*].image,NONE:.spec.x";
    let rows = table(&cluster.ok(&["get", "jobs", "-o", &format!("custom-columns={columns}")]).await);
    assert_eq!(rows, ["NAME WANTED IMAGES NONE", "hello 3 busybox <none>"]);
    let lines = r#"jsonpath={range .items[*]}{.metadata.name}{"\t"}{.spec.template.spec.containers[?(@.name=="main")].command[2]}{"\n"}{end}"#;
    assert_eq!(cluster.ok(&["get", "jobs", "--sort-by=.metadata.name", "-o", lines]).await, "hello\techo hello\n");
    assert_eq!(cluster.ok(&["get", "jobs", "-o", "go-template={{len .items}}"]).await, "1");
}

/// As a cluster of upstream's: Jobs have no scale, and nothing to roll out.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_deployments_is_refused_for_jobs() {
    let cluster = Cluster::new().await;
    cluster.ok(&["create", "-f", "job.yaml"]).await;
    let missing = "Error from server (NotFound): the server could not find the requested resource";
    for (arguments, words) in [
        (&["scale", "job/hello", "--replicas=2"][..], missing),
        (&["autoscale", "job", "hello", "--max=3"], "could not find scale subresource for batch/v1, Resource=jobs"),
        (&["rollout", "status", "job/hello"], "no status viewer has been implemented for Job.batch"),
        (&["rollout", "restart", "job/hello"], "jobs.batch \"hello\" restarting is not supported"),
        (&["rollout", "undo", "job/hello"], "no rollbacker has been implemented for \"Job.batch\""),
        (
            &["set", "image", "job/hello", "main=alpine"],
            "Job.batch \"hello\" is invalid: spec.template: Invalid value: ",
        ),
        (&["expose", "job", "hello", "--port=80"], "cannot expose a Job.batch"),
    ] {
        let said = cluster.fails(arguments).await;
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert!(cluster.fails(&["set", "image", "job/hello", "main=alpine"]).await.contains(": field is immutable"));
    assert!(cluster.ok(&["api-resources", "--verbs=scale", "--no-headers"]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_wait_watch_and_events() {
    let cluster = Cluster::new().await;
    cluster.ok(&["create", "-f", "job.yaml"]).await;
    let key = Key::of::<Job>("default", "hello");
    let job = cluster.store.get(&key).unwrap().unwrap();
    let now = jiff::Timestamp::now();
    let event = jobdock::model::event::about(
        &job,
        "job-controller",
        jobdock::model::event::Severity::Normal,
        "SuccessfulCreate",
        "Created pod: hello-x",
        now,
    );
    cluster.store.commit(vec![Write::Record(event)]).await.unwrap();
    let described = cluster.ok(&["describe", "job", "hello"]).await;
    assert!(described.contains("Completions:      3") && described.contains("Created pod: hello-x"), "{described}");
    let events = table(&cluster.ok(&["get", "events"]).await);
    assert_eq!(events[0], "LAST SEEN TYPE REASON OBJECT MESSAGE");
    assert!(events[1].ends_with("Normal SuccessfulCreate job/hello Created pod: hello-x"), "{events:?}");
    let about = cluster.ok(&["events", "--for", "job/hello"]).await;
    assert!(about.contains("Created pod: hello-x"), "{about}");
    let mut watching = cluster.command(&["get", "jobs", "-w"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut watched = BufReader::new(watching.stdout.take().unwrap());
    let mut heading = String::new();
    watched.read_line(&mut heading).unwrap();
    let waiting = cluster.ok(&["wait", "--for=condition=complete", "job/hello", "--timeout=60s"]);
    let finishing = async {
        // Whether the waiter has begun or not: it must see a condition that holds and one that comes.
        tokio::task::yield_now().await;
        cluster
            .change(&key, |job| {
                job["status"]["conditions"] = json!([{"type": "Complete", "status": "True"}]);
                job["status"]["succeeded"] = json!(3);
            })
            .await;
    };
    let (waited, ()) = tokio::join!(waiting, finishing);
    assert_eq!(waited, "job.batch/hello condition met\n");
    cluster.ok(&["delete", "job", "hello"]).await;
    assert_eq!(cluster.ok(&["wait", "--for=delete", "job/hello", "--timeout=60s"]).await, "");
    cluster.stop.cancel();
    tokio::task::spawn_blocking(move || watching.wait().unwrap()).await.unwrap();
    let mut rows = String::new();
    watched.read_to_string(&mut rows).unwrap();
    assert_eq!(table(&heading), ["NAME STATUS COMPLETIONS DURATION AGE"]);
    assert!(rows.contains("Complete"), "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_a_job() {
    let cluster = Cluster::new().await;
    cluster.ok(&["create", "-f", "job.yaml"]).await;
    let job = cluster.store.get(&Key::of::<Job>("default", "hello")).unwrap().unwrap();
    let state = json!({"terminated": {"exitCode": 0, "reason": "Completed", "containerID": "docker://x"}});
    let pod = json!({
        "metadata": {
            "name": "hello-x", "namespace": "default", "uid": "u",
            "labels": {"batch.kubernetes.io/controller-uid": job.uid(), "job-name": "hello"},
        },
        "spec": {"nodeName": "n", "restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
        "status": {"phase": "Succeeded", "containerStatuses": [
            {"name": "main", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state}]},
    });
    let pod = Object::from_value(Kind::of::<Pod>(), pod).unwrap();
    cluster.store.commit(vec![Write::Create(pod)]).await.unwrap();
    let key = jobdock::store::logs::LogKey { pod_uid: "u".to_owned(), container: "main".to_owned(), attempt: 0 };
    let mut writer = cluster.store.logs().writer(&key).unwrap();
    let at = jiff::Timestamp::now();
    let text = bytes::Bytes::from_static(b"hello");
    writer.append(&jobdock::store::logs::Line { at, stderr: false, partial: false, text }).unwrap();
    writer.finish().unwrap();
    assert_eq!(cluster.ok(&["logs", "job/hello"]).await, "hello\n");
    assert_eq!(cluster.ok(&["logs", "-f", "hello-x", "-c", "main"]).await, "hello\n");
    assert_eq!(cluster.ok(&["logs", "-l", "job-name=hello", "--prefix"]).await, "[pod/hello-x/main] hello\n");
    let pods = table(&cluster.ok(&["get", "pods", "-o", "wide"]).await);
    assert_eq!(pods[0], "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES");
    assert!(pods[1].starts_with("hello-x 0/1 Completed 0 "), "{pods:?}");
    let described = cluster.ok(&["describe", "pod", "hello-x"]).await;
    assert!(described.contains("Status:") && described.contains("Exit Code:    0"), "{described}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_api_resources_version_and_access() {
    let cluster = Cluster::new().await;
    let explained = cluster.ok(&["explain", "job.spec.podFailurePolicy"]).await;
    assert!(explained.contains("FIELD: podFailurePolicy <PodFailurePolicy>"), "{explained}");
    assert!(explained.contains("rules\t<[]PodFailurePolicyRule> -required-"), "{explained}");
    let deep = cluster.ok(&["explain", "cronjob.spec.jobTemplate.spec.template.spec.containers.env"]).await;
    assert!(deep.contains("valueFrom"), "{deep}");
    let resources = table(&cluster.ok(&["api-resources"]).await);
    assert!(resources.contains(&"jobs batch/v1 true Job".to_owned()), "{resources:?}");
    assert!(resources.contains(&"pods po v1 true Pod".to_owned()), "{resources:?}");
    assert!(cluster.ok(&["api-versions"]).await.contains("batch/v1\n"));
    assert!(cluster.ok(&["version"]).await.contains("Server Version: v1.37.0+jobdock."));
    assert_eq!(cluster.ok(&["auth", "can-i", "create", "jobs"]).await, "yes\n");
    assert!(cluster.ok(&["auth", "can-i", "--list"]).await.contains("*.*"));
    assert!(cluster.ok(&["auth", "whoami"]).await.contains("jobdock-admin"));
    assert_eq!(cluster.ok(&["get", "--raw", "/readyz"]).await, "ok");
}

#[tokio::test]
async fn kubectl_makes_accounts_and_tokens_and_acts_as_them() {
    let cluster = Cluster::new().await;
    cluster.ok(&["create", "serviceaccount", "robot"]).await;
    let shown = cluster.ok(&["get", "sa", "robot", "--no-headers"]).await;
    assert!(shown.starts_with("robot   0 "), "{shown}");
    let token = cluster.ok(&["create", "token", "robot", "--duration", "15m"]).await;
    assert_eq!(token.trim().split('.').count(), 3);
    let who = "--as=system:serviceaccount:default:robot";
    assert_eq!(cluster.ok(&["auth", "can-i", "create", "jobs", who]).await, "yes\n");
    let rules = table(&cluster.ok(&["auth", "can-i", "--list", "--no-headers", who]).await);
    let all = "[create delete deletecollection patch update get list watch]";
    for rule in [
        format!("jobs.batch [] [] {all}"),
        format!("pods/exec [] [] {all}"),
        "pods/log [] [] [get list watch]".to_owned(),
        "nodes [] [] [get list watch]".to_owned(),
        "selfsubjectaccessreviews.authorization.k8s.io [] [] [create]".to_owned(),
        "[/version] [] [get]".to_owned(),
    ] {
        assert!(rules.contains(&rule), "{rule}: {rules:#?}");
    }
    assert!(!rules.iter().any(|rule| rule.starts_with("roles") || rule.starts_with("*")), "{rules:#?}");
    let elsewhere = cluster.ok(&["auth", "can-i", "--list", "--no-headers", "-n", "kube-public", who]).await;
    assert!(!elsewhere.contains("jobs.batch") && elsewhere.contains("nodes"), "{elsewhere}");
    let denied = cluster.run(&["get", "secrets", "-A", who]).await;
    let text = String::from_utf8_lossy(&denied.stderr);
    assert!(text.contains("cannot list resource \"secrets\" in API group \"\" at the cluster scope"), "{text}");
    let bearer = format!("--token={}", token.trim());
    let plain = pki(cluster.dir.path());
    std::fs::write(cluster.path("plain"), &plain).unwrap();
    assert!(cluster.ok(&["auth", "whoami", &bearer, "--kubeconfig=plain"]).await.contains("system:serviceaccount"));
    let certificate = jobdock::api::pki::certificate_kubeconfig(cluster.dir.path(), jiff::Timestamp::now()).unwrap();
    std::fs::write(cluster.path("certificate"), certificate).unwrap();
    assert!(cluster.ok(&["auth", "whoami", "--kubeconfig=certificate"]).await.contains("jobdock-admin"));
    assert!(cluster.ok(&["explain", "limitrange.spec.limits"]).await.contains("maxLimitRequestRatio"));
}

/// The kubeconfig without anybody's credentials.
fn pki(dir: &std::path::Path) -> String {
    let text = kubeconfig(dir).unwrap();
    text.lines()
        .map(|line| if line.trim_start().starts_with("token: ") { "    {}" } else { line }.to_owned() + "\n")
        .collect()
}
