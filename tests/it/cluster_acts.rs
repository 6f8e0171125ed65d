//! What a cluster's keeper does with kubectl to a whole daemon: drain its node, give a namespace a quota.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, wait_for};

struct Keeper {
    dir: TempDir,
    _daemon: Daemon,
}

impl Keeper {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let daemon = Daemon::start(&dir.path().join("data"), &["--runtime", "fake"])?;
        std::fs::write(dir.path().join("config"), daemon.kubeconfig()?)?;
        Ok(Self { dir, _daemon: daemon })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("kubectl")
            .args(arguments)
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("KUBECONFIG", self.path("config"))
            .env("KUBECACHEDIR", self.path("cache"))
            .output()
            .expect("kubectl is on the PATH: install it (Debian: kubernetes-client) to run these tests")
    }

    /// What a command that must succeed prints.
    fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments);
        if !output.status.success() {
            bail!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Makes a Job of one container that runs `command`.
    fn job(&self, name: &str, command: &str, more: Value) -> Result<()> {
        let mut spec = more;
        spec["template"] = json!({"spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", command]}]}});
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec});
        std::fs::write(self.path(name), job.to_string())?;
        self.ok(&["create", "-f", name]).map(drop)
    }

    /// Waits until a query of one object's fields answers with this text.
    fn until(&self, object: &str, fields: &str, wanted: &str) -> Result<()> {
        let fields = format!("jsonpath={fields}");
        wait_for(&format!("{wanted} in {fields} of {object}"), || {
            let output = self.run(&["get", object, "-o", &fields]);
            Ok((String::from_utf8_lossy(&output.stdout).trim() == wanted).then_some(()))
        })
    }
}

#[test]
fn a_drained_node_evicts_the_pods_of_jobs_which_come_back_when_it_is_uncordoned() -> Result<()> {
    let keeper = Keeper::new()?;
    let ignore =
        json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]});
    keeper.job("patient", "sleep 3600", json!({"backoffLimit": 0, "podFailurePolicy": ignore}))?;
    keeper.job("strict", "sleep 3600", json!({"backoffLimit": 0}))?;
    for job in ["job/patient", "job/strict"] {
        keeper.until(job, "{.status.ready}", "1")?;
    }
    let node = keeper.ok(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])?;
    let said =
        keeper.ok(&["drain", &node, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=60s"])?;
    assert!(said.contains("cordoned") && said.contains("drained"), "{said}");
    keeper.until("job/strict", "{.status.conditions[?(@.type==\"Failed\")].reason}", "BackoffLimitExceeded")?;
    let waiting = "{.items[*].status.conditions[?(@.type==\"PodScheduled\")].reason}";
    let output = format!("jsonpath={waiting}");
    wait_for("a pod that waits for a node", || {
        let said = keeper.ok(&["get", "pods", "-l", "job-name=patient", "-o", &output])?;
        Ok((said == "Unschedulable").then_some(()))
    })?;
    keeper.until("job/patient", "{.status.active},{.status.failed},{.status.conditions}", "1,,")?;
    keeper.ok(&["uncordon", &node])?;
    keeper.until("job/patient", "{.status.ready}", "1")
}

#[test]
fn a_tainted_and_a_cordoned_node_take_no_pods_until_that_is_taken_back() -> Result<()> {
    let keeper = Keeper::new()?;
    let node = keeper.ok(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])?;
    let status = || keeper.ok(&["get", "nodes", "--no-headers"]);
    let scheduled = "jsonpath={.items[*].status.conditions[?(@.type==\"PodScheduled\")].reason}";
    let (tainted, untainted) = (["taint", "nodes", &node, "d=x:NoSchedule"], ["taint", "nodes", &node, "d-"]);
    let (cordon, uncordon) = (["cordon", &node], ["uncordon", &node]);
    for (name, shut, said, open, then) in [
        ("tainted", &tainted[..], "tainted", &untainted[..], "untainted"),
        ("cordoned", &cordon[..], "cordoned", &uncordon[..], "uncordoned"),
    ] {
        assert_eq!(keeper.ok(shut)?, format!("node/{node} {said}\n"));
        keeper.job(name, "sleep 3600", json!({}))?;
        let selector = format!("job-name={name}");
        wait_for("a pod that waits for a node", || {
            Ok((keeper.ok(&["get", "pods", "-l", &selector, "-o", scheduled])? == "Unschedulable").then_some(()))
        })?;
        assert_eq!(status()?.contains(" Ready,SchedulingDisabled "), name == "cordoned", "{}", status()?);
        assert_eq!(keeper.ok(open)?, format!("node/{node} {then}\n"));
        keeper.until(&format!("job/{name}"), "{.status.ready}", "1")?;
    }
    let twice = String::from_utf8(keeper.run(&untainted).stderr)?;
    assert!(twice.contains("taint \"d\" not found"), "{twice}");
    assert_eq!(keeper.ok(&uncordon)?, format!("node/{node} already uncordoned\n"));
    Ok(())
}

#[test]
fn a_deleted_job_takes_its_pods_along_waits_for_them_or_leaves_them() -> Result<()> {
    let keeper = Keeper::new()?;
    for (cascade, left) in [("background", ""), ("foreground", ""), ("orphan", "[]")] {
        keeper.job(cascade, "sleep 3600", json!({}))?;
        keeper.until(&format!("job/{cascade}"), "{.status.ready}", "1")?;
        let said = keeper.ok(&["delete", "job", cascade, &format!("--cascade={cascade}")])?;
        assert_eq!(said, format!("job.batch \"{cascade}\" deleted\n"));
        let selector = format!("job-name={cascade}");
        let owners = || {
            let owners = "jsonpath={range .items[*]}[{.metadata.ownerReferences}]{end}";
            keeper.ok(&["get", "pods", "-l", &selector, "-o", owners])
        };
        // Only who deletes in the background returns before the pods are gone.
        if cascade == "background" {
            wait_for("the pods to go", || Ok(owners()?.is_empty().then_some(())))?;
        }
        assert_eq!(owners()?, left, "{cascade}");
    }
    assert_eq!(keeper.ok(&["get", "pods", "--no-headers"])?.lines().count(), 1, "the orphan runs on");
    Ok(())
}

#[test]
fn a_job_whose_pods_find_no_room_in_a_quota_says_so_and_goes_on_when_there_is() -> Result<()> {
    let keeper = Keeper::new()?;
    keeper.ok(&["create", "quota", "q", "--hard=pods=1,count/jobs.batch=1"])?;
    keeper.until("quota/q", "{.status.used.pods}", "0")?;
    keeper.job("two", "exit 0", json!({"completions": 2, "parallelism": 2}))?;
    keeper.until("job/two", "{.status.conditions[?(@.type==\"Complete\")].status}", "True")?;
    let events = keeper.ok(&["get", "events", "-o", "jsonpath={.items[?(@.reason==\"FailedCreate\")].message}"])?;
    let told = "is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1";
    assert!(events.starts_with("Error creating: pods \"two-") && events.contains(told), "{events}");
    keeper.until("quota/q", "{.status.used.pods}", "0")?;
    let said = keeper.ok(&["describe", "quota", "q"])?;
    let lines: Vec<String> = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(lines.contains(&"count/jobs.batch 1 1".to_owned()) && lines.contains(&"pods 0 1".to_owned()), "{said}");
    let refused = keeper.job("three", "exit 0", json!({})).expect_err("a second Job is too many").to_string();
    let why = "exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: count/jobs.batch=1";
    assert!(refused.contains(why), "{refused}");
    keeper.ok(&["delete", "job", "two"])?;
    keeper.until("quota/q", "{.status.used.count/jobs\\.batch}", "0")
}
