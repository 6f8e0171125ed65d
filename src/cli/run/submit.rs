//! Owns how manifests become objects on the server: nothing is created before everything that is known to be in the
//! way has been looked at. Never validates: the manifests have been admitted.

use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::{Api, Client};

use super::manifests::Manifest;
use super::report;
use super::screen::Screen;
use crate::cli::exit::Failure;
use crate::model::kind::Kind;

/// Pause between looks at a Job that is being replaced.
const PAUSE: Duration = Duration::from_millis(100);

/// Tries after a lost connection: a handover between daemons takes well under the 5 seconds that these make.
const LOST_TRIES: usize = 50;
/// Creation times are whole seconds, cut.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(2);

/// As whom it writes, in `metadata.managedFields`.
const MANAGER: &str = "jobdock";

/// What is done about a Job of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is an error.
    Refuse,
    /// It is an error: one that has not finished is another run's (that process), or left to it.
    OfRun(String),
    /// Nobody but this process keeps it going: it is followed to its end if it has not finished, is what the manifest
    /// says, and is not being deleted.
    TakeOver,
    /// It is deleted first.
    Replace,
}

/// What one such Job comes to.
enum Fate {
    Refused(String),
    Followed(Box<Job>),
    /// With what is told of it.
    Deleted(String),
}

/// Refuses (or deletes) Jobs that stand where the manifests' Jobs are to be, and returns those that are taken over.
pub async fn clear_way(
    client: &Client,
    jobs: &[&Manifest],
    existing: &Existing,
    screen: &Screen,
    quiet: bool,
) -> Result<Vec<Job>, Failure> {
    let (mut refused, mut followed, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    for manifest in jobs.iter().filter(|manifest| !manifest.name.is_empty()) {
        let api = Api::<Job>::namespaced(client.clone(), &manifest.namespace);
        if let Some(job) = api.get_opt(&manifest.name).await.context("cannot ask for Jobs of the same name")? {
            match fate(manifest, job, existing) {
                Fate::Refused(why) => refused.push(why),
                Fate::Followed(job) => followed.push(*job),
                Fate::Deleted(told) => deleted.push((manifest, told, api)),
            }
        }
    }
    if !refused.is_empty() {
        return Err(Failure::Usage(refused.join("\n")));
    }
    for job in followed.iter().filter(|_| !quiet) {
        let (namespace, name) = (job.metadata.namespace.as_deref(), job.metadata.name.as_deref());
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        screen.note(format!("jobdock: Job {namespace}/{name} has not finished yet: going on with it")).await;
    }
    for (manifest, told, api) in deleted {
        if !quiet {
            screen.note(format!("jobdock: {told}")).await;
        }
        replace(&api, &manifest.name).await?;
    }
    Ok(followed)
}

fn fate(manifest: &Manifest, job: Job, existing: &Existing) -> Fate {
    let Manifest { namespace, name, origin, .. } = manifest;
    let refused = |why: String| Fate::Refused(format!("{origin}: Job {namespace}/{name} {why}"));
    let finished = report::ending(&job).and_then(|(_, ending)| ending.condition);
    match (existing, finished) {
        (Existing::Replace, _) => Fate::Deleted(format!("deleting Job {namespace}/{name} to replace it")),
        (Existing::Refuse | Existing::OfRun(_) | Existing::TakeOver, Some(condition)) => refused(format!(
            "has run already and is {condition}: run it again with --replace, or give it another name or generateName"
        )),
        (Existing::Refuse, None) => refused(format!(
            "is still running: follow it with `kubectl -n {namespace} logs -f job/{name}`, or end it and run it again \
             with --replace"
        )),
        (Existing::OfRun(process), None) => refused(format!(
            "has not finished, and a `jobdock run` (process {process}) keeps it going: wait for that, or end the Job and \
             run it again with --replace"
        )),
        (Existing::TakeOver, None) if job.metadata.deletion_timestamp.is_some() => {
            Fate::Deleted(format!("Job {namespace}/{name} is being deleted: waiting until it is gone"))
        }
        (Existing::TakeOver, None) if manifest.makes(&job) => Fate::Followed(Box::new(job)),
        (Existing::TakeOver, None) => refused(
            "has not finished, and is not what this manifest says: `jobdock serve` lets it go on, and --replace ends it \
             and runs this one"
                .to_owned(),
        ),
    }
}

async fn replace(api: &Api<Job>, name: &str) -> Result<(), Failure> {
    match api.delete(name, &DeleteParams::foreground()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(anyhow::Error::new(error).context(format!("cannot delete Job {name}")).into()),
    }
    while api.get_opt(name).await.with_context(|| format!("cannot see whether Job {name} is gone"))?.is_some() {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Makes the namespace of a manifest where it is missing, so that one file is enough on a fresh machine.
pub async fn make_namespace(client: &Client, name: &str) -> Result<(), Failure> {
    let api = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
    if api.get_opt(name).await.with_context(|| format!("cannot ask for namespace {name}"))?.is_some() {
        return Ok(());
    }
    let namespace = serde_json::from_value(serde_json::json!({"metadata": {"name": name}}))?;
    match api.create(&posting(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(anyhow::Error::new(error).context(format!("cannot create namespace {name}")).into()),
    }
}

/// Creates what a Job needs, or brings it to the manifest's state where it is there already.
pub async fn apply(client: &Client, manifest: &Manifest) -> Result<(), Failure> {
    let (api, object) = dynamic(client, manifest)?;
    let created = api.create(&posting(), &object).await;
    let Err(kube::Error::Api(status)) = &created else { return told(created.map(drop), manifest) };
    if status.code != 409 || manifest.name.is_empty() {
        return told(created.map(drop), manifest);
    }
    let live = api.get(&manifest.name).await.with_context(|| cannot("read", manifest))?;
    let mut object = object;
    object.metadata.resource_version = live.metadata.resource_version;
    told(api.replace(&manifest.name, &posting(), &object).await.map(drop), manifest)
}

/// Creates a Job. Where the connection is lost on the way (a daemon hands over to the next just then) it is tried again;
/// what a lost reply told of is found by its name then. A generated name cannot be found, so that is tried once.
pub async fn create(client: &Client, manifest: &Manifest) -> Result<Job, Failure> {
    let (api, object) = dynamic(client, manifest)?;
    let begun = Timestamp::now() - CLOCK_STEP;
    let mut answer = api.create(&posting(), &object).await;
    for _ in 0..LOST_TRIES {
        if manifest.name.is_empty() || !lost(&answer) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        answer = match api.create(&posting(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => match api.get(&manifest.name).await {
                Ok(live) if live.metadata.creation_timestamp.as_ref().is_some_and(|at| at.0 >= begun) => Ok(live),
                Ok(_) => Err(kube::Error::Api(status)),
                Err(error) => Err(error),
            },
            other => other,
        };
    }
    match answer {
        Ok(created) => created.try_parse().with_context(|| cannot("read back", manifest)).map_err(Into::into),
        Err(error) => Err(refused(error, manifest)),
    }
}

fn posting() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// No answer came.
fn lost<T>(answer: &kube::Result<T>) -> bool {
    matches!(answer, Err(kube::Error::HyperError(_) | kube::Error::Service(_)))
}

fn dynamic(client: &Client, manifest: &Manifest) -> Result<(Api<DynamicObject>, DynamicObject), Failure> {
    let resource = resource(manifest.kind);
    let api = if manifest.kind.namespaced {
        Api::namespaced_with(client.clone(), &manifest.namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    };
    let object = serde_json::from_value(manifest.value.clone()).with_context(|| cannot("send", manifest))?;
    Ok((api, object))
}

fn resource(kind: &Kind) -> ApiResource {
    ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    }
}

fn told(answer: kube::Result<()>, manifest: &Manifest) -> Result<(), Failure> {
    answer.map_err(|error| refused(error, manifest))
}

/// The server's refusal; where the manifest is to blame it is a usage error.
fn refused(error: kube::Error, manifest: &Manifest) -> Failure {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 409 | 413 | 422) => {
            Failure::Usage(format!("{}: {}", manifest.origin, status.message))
        }
        other => anyhow::Error::new(other).context(cannot("create", manifest)).into(),
    }
}

fn cannot(act: &str, manifest: &Manifest) -> String {
    format!("{}: cannot {act} {} {}", manifest.origin, manifest.kind.kind, manifest.title())
}
