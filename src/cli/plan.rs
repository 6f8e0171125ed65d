//! `jobdock plan`: what the Job controller would do, without a daemon, an engine or a store.
//!
//! ```text
//!  a case {job, pods, now, backoff} -> the decision as JSON
//!  a Job, --exit, --condition       -> the same plan on one failed pod, told to a person
//! ```
//!
//! Never decides: it calls the plan that the daemon calls.

use std::io::Write as _;
use std::path::PathBuf;

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use super::exit::{self, Failure};
use super::run::{manifests, sources};
use crate::job::case::Case;
use crate::job::explain;
use crate::model::yaml;

/// Index that stands for the others where the Job is Indexed.
const INDEX: &str = "0";
/// Uid of the Job in the short form.
const UID: &str = "00000000-0000-0000-0000-000000000000";

/// Show what the Job controller would decide: for the facts of one sync, or for a Job one of whose pods fails.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A case ({job, pods, now, backoff}), or the manifest of one Job; - for standard input
    #[arg(value_name = "CASE|JOB|-")]
    file: PathBuf,

    /// With a Job: a container of its pod exits with this code; without a name, its first container. May be repeated
    #[arg(long, value_name = "[CONTAINER=]CODE", value_parser = exit_of)]
    exit: Vec<(Option<String>, i32)>,

    /// With a Job: its pod has this condition, with the status True unless given. May be repeated
    #[arg(long, value_name = "TYPE[=STATUS]")]
    condition: Vec<String>,
}

fn exit_of(text: &str) -> Result<(Option<String>, i32), String> {
    let (name, code) = text.split_once('=').map_or((None, text), |(name, code)| (Some(name.to_owned()), code));
    let code = code.parse().map_err(|_| format!("{code:?} is not an exit code: a whole number is"))?;
    Ok((name, code))
}

/// Prints the decision on standard output.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let sources = sources::read(std::slice::from_ref(&args.file))?;
    let [source] = sources.as_slice() else {
        return Err(Failure::Usage(format!("{}: one case or one Job at a time", args.file.display())));
    };
    let documents = yaml::documents(&source.text).map_err(|why| Failure::Usage(format!("{}: {why}", source.name)))?;
    let document = documents.first().map(|document| document.node.to_value()).unwrap_or_default();
    if document.get("job").is_some() {
        if !args.exit.is_empty() || !args.condition.is_empty() {
            return Err(Failure::Usage("--exit and --condition go with a Job; a case has its own pods".to_owned()));
        }
        let case = Case::from_value(document)
            .map_err(|why| Failure::Usage(format!("{}: this is not a case: {why}", source.name)))?;
        return told(&(serde_json::to_string_pretty(&case.answer())? + "\n"));
    }
    let manifests = manifests::read(&sources, None)?;
    let jobs: Vec<Job> = manifests.iter().filter_map(manifests::Manifest::job).collect();
    let [job] = jobs.as_slice() else {
        let found = jobs.len();
        return Err(Failure::Usage(format!("{}: {found} Jobs found: one case or one Job at a time", source.name)));
    };
    told(&story(job, &args.exit, &args.condition)?)
}

/// Prints the result; a reader that has gone (`| head`) is an error, not a panic.
fn told(text: &str) -> Result<u8, Failure> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(exit::OK)
}

/// The short form: one pod of the Job has ended like this; what follows?
fn story(job: &Job, exits: &[(Option<String>, i32)], conditions: &[String]) -> Result<String, Failure> {
    let pod = pod(job, exits, conditions)?;
    let failed = pod["status"]["phase"] == "Failed";
    let mut job_value = serde_json::to_value(job)?;
    job_value["metadata"]["uid"] = json!(UID);
    let case = Case::from_value(json!({"job": job_value, "pods": [pod]}))?;
    let answer = case.answer();
    let facts = case.facts();
    let mut lines = Vec::new();
    if !failed {
        lines.push("the pod succeeds: every container exited with 0 and no condition was given".to_owned());
    } else if let (Some(policy), Some(pod)) = (
        // Of the Job as the plan sees it: with its defaults.
        facts.job.typed::<Job>().and_then(|job| job.spec.as_ref()?.pod_failure_policy.as_ref()),
        case.pods.first(),
    ) {
        lines.extend(explain::rules(policy, pod));
        if answer["pods"][0]["action"].is_null() {
            lines.push("no rule matches".to_owned());
        }
    } else {
        lines.push("the Job has no podFailurePolicy".to_owned());
    }
    if failed {
        let counts = answer["pods"][0]["countFailed"] == true;
        lines.push(format!("the failure {}", if counts { "counts" } else { "does not count" }));
    }
    lines.push(outcome(&answer));
    Ok(lines.join("\n") + "\n")
}

/// What becomes of the Job.
fn outcome(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match &answer["decision"] {
        Value::Null => {
            let created = answer["podsCreated"].as_array().map_or(0, Vec::len);
            let wait = answer["backoff"]["remaining"].as_str().filter(|left| *left != "0s");
            match (created, wait) {
                (0, Some(left)) => format!("the Job goes on: the next pod is created after the back-off of {left}"),
                (0, None) => "the Job goes on: no pod is created now".to_owned(),
                (count, _) => format!("the Job goes on: {count} pod(s) are created now"),
            }
        }
        decision => format!(
            "the Job gets the condition {}: {}: {}",
            text(&decision["type"]),
            text(&decision["reason"]),
            text(&decision["message"])
        ),
    }
}

/// A pod of the Job that has ended as the command line says: what is not named exited with 0.
fn pod(job: &Job, exits: &[(Option<String>, i32)], conditions: &[String]) -> Result<Value, Failure> {
    let spec = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let names = |list: Option<&Vec<k8s_openapi::api::core::v1::Container>>| -> Vec<String> {
        list.into_iter().flatten().map(|container| container.name.clone()).collect()
    };
    let main = names(spec.map(|spec| &spec.containers));
    let init = names(spec.and_then(|spec| spec.init_containers.as_ref()));
    for (name, _) in exits {
        if let Some(name) = name.as_ref().filter(|name| !main.contains(name) && !init.contains(name)) {
            let known = main.iter().chain(&init).cloned().collect::<Vec<_>>().join(", ");
            return Err(Failure::Usage(format!("--exit {name}: the pod has no such container; it has {known}")));
        }
    }
    let code = |name: &String| {
        let first = main.first() == Some(name);
        let named = |given: &Option<String>| given.as_ref().map_or(first, |given| given == name);
        exits.iter().find(|(given, _)| named(given)).map_or(0, |(_, code)| *code)
    };
    let ended = |names: &[String]| -> Vec<Value> {
        let status = |name: &String| {
            json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                   "state": {"terminated": {"exitCode": code(name), "finishedAt": "2025-01-01T00:10:00Z"}}})
        };
        names.iter().map(status).collect()
    };
    let failed = !conditions.is_empty() || main.iter().chain(&init).any(|name| code(name) != 0);
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|text| text.split_once('=').unwrap_or((text, "True")))
        .map(|(kind, status)| json!({"type": kind, "status": status}))
        .collect();
    Ok(json!({
        "metadata": {
            "name": format!("{}-pod", job.metadata.name.as_deref().unwrap_or("job")),
            "annotations": {"batch.kubernetes.io/job-completion-index": INDEX},
            "finalizers": ["batch.kubernetes.io/job-tracking"],
        },
        "status": {
            "phase": if failed { "Failed" } else { "Succeeded" },
            "containerStatuses": ended(&main),
            "initContainerStatuses": ended(&init),
            "conditions": conditions,
        },
    }))
}
