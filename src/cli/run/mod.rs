//! `jobdock run`: Jobs from manifests, in the foreground, to their end.
//!
//! ```text
//!  sources -> manifests (everything checked) -> server -> submit -> session (until every Job has ended) -> report
//! ```
//!
//! Nothing is started before everything that can be known to be wrong has been looked for.

mod check;
mod follow;
mod line;
mod log_request;
pub(super) mod manifests;
mod observe;
mod pods;
mod position;
mod report;
mod screen;
mod session;
mod signals;
pub(super) mod sources;
mod state;
mod stop;
mod stuck;
mod submit;
mod text;
mod warnings;

use std::io::Write as _;
use std::path::PathBuf;

use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::watch;

use self::manifests::Manifest;
use self::report::{JobReport, Verdict};
use self::screen::{Look, Screen};
use self::session::{Outcome, Session, Wishes};
use self::state::Run;
use self::submit::Existing;
use super::connect::{self, Target};
use super::exit::{self, Failure};
use super::home::Home;
use super::local::{self, Local};
use super::log;

/// Messages of a daemon inside the process that are shown unless the user asks for more: they would stand between
/// the pods' output.
const LEVEL: &str = "error";

/// Run Jobs to completion: stream their output, show progress, explain failures, exit with the result.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Args {
    /// Manifests: files, directories (their .yaml, .yml and .json files), or - for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,

    /// Namespace of objects that name none
    #[arg(short, long, env = "JOBDOCK_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,

    /// Delete a Job of the same name first, finished or not
    #[arg(long)]
    replace: bool,

    /// Leave the Jobs to the running daemon and print their names
    #[arg(short, long, conflicts_with_all = ["timeout", "exit_code_from"])]
    detach: bool,

    /// Delete what has not finished after this time, and exit with 124
    #[arg(long, value_name = "DURATION", value_parser = local::limit)]
    timeout: Option<SignedDuration>,

    /// Wait even for pods that can never start (no such image, a missing ConfigMap), as a cluster does
    #[arg(long)]
    wait_forever: bool,

    /// Exit with the exit code of this container of a single-pod Job
    #[arg(long, value_name = "CONTAINER")]
    exit_code_from: Option<String>,

    /// No progress lines
    #[arg(long)]
    no_progress: bool,

    /// Nothing but pod output, and the summary of a failure
    #[arg(short, long)]
    quiet: bool,

    /// `json` prints the result on standard output, and pod output on standard error
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,

    /// Run on the cluster of this kubeconfig context instead of on this machine
    #[arg(long, value_name = "NAME", help_heading = CLUSTER)]
    context: Option<String>,

    /// Run on the cluster of this kubeconfig file instead of on this machine
    #[arg(long, value_name = "FILE", help_heading = CLUSTER)]
    kubeconfig: Option<PathBuf>,

    #[command(flatten)]
    local: Local,

    /// The flags of a daemon among those that were given, on the command line or by the environment
    #[arg(skip)]
    pub(super) given: Vec<String>,
}

/// Heading of these flags in `--help`.
const CLUSTER: &str = "Cluster";

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Runs the Jobs and returns the exit code; what keeps them from being run stands in the JSON, too.
pub async fn run(args: Args) -> Result<u8, Failure> {
    let format = args.output;
    let ended = run_jobs(args).await;
    if let (Format::Json, Err(failure)) = (format, &ended) {
        let told = serde_json::json!({"exitCode": failure.code(), "errors": failure.problems()});
        writeln!(std::io::stdout(), "{told:#}")?;
    }
    ended
}

async fn run_jobs(args: Args) -> Result<u8, Failure> {
    log::start(args.local.log_level.as_deref().unwrap_or(LEVEL), args.local.log_format)?;
    let interrupts = signals::listen()?;
    let mut manifests = manifests::read(&sources::read(&args.files)?, args.namespace.as_deref())?;
    check_exit_code_from(&args, &manifests)?;
    let target = args.target()?;
    let client = tokio::select! {
        client = connect::connect(&target) => client?,
        // A cluster that cannot be reached is tried for long.
        () = interruption(&interrupts) => return Err(Failure::Interrupted),
    };
    manifests::place(&mut manifests, client.default_namespace());
    let look = Look::of(args.output == Format::Json, args.no_progress || args.quiet || args.detach);
    let (screen, curtain) = Screen::start(look)?;
    let ended = tokio::select! {
        ended = carry_out(&args, client, &target, &manifests, screen.clone(), interrupts) => ended,
        why = broken(&target) => Err(anyhow::anyhow!(why).into()),
    };
    let lost = curtain.fall().await;
    let code = match ended {
        Ok(ended) => print(&args, look, ended),
        Err(failure) => Err(failure),
    };
    let code = match lost {
        Some(error) => code.and(Err(anyhow::Error::new(error).context("output is lost: it cannot be written").into())),
        None => code,
    };
    if let Target::Local(home) = &target {
        home.leave().await;
    }
    code
}

/// Waits for the first interrupt.
async fn interruption(interrupts: &watch::Receiver<u32>) {
    let mut interrupts = interrupts.clone();
    if interrupts.wait_for(|count| *count > 0).await.is_err() {
        std::future::pending().await
    }
}

/// Tells of Jobs that stay unfinished because the daemon ends with this run: left by a run that was killed, perhaps.
async fn tell_of_others(client: &Client, home: &Home, mine: &Run, screen: &Screen) {
    if !home.is_here().await {
        return;
    }
    // A courtesy: where it cannot be asked, nothing is said.
    let Ok(jobs) = Api::<Job>::all(client.clone()).list(&ListParams::default()).await else { return };
    let is_mine = |job: &Job| job.metadata.uid.as_deref().is_some_and(|uid| mine.job(uid).is_some());
    let suspended = |job: &Job| job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    for job in jobs.items.iter().filter(|job| !is_mine(job) && !suspended(job) && report::ending(job).is_none()) {
        let meta = &job.metadata;
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        let next = "the next `jobdock run` or `jobdock serve` on this data goes on with it";
        screen.note(format!("jobdock: Job {namespace}/{name} has not finished: {next}")).await;
    }
}

/// Waits until the daemon in this process, if there is one, ends by itself.
async fn broken(target: &Target) -> String {
    match target {
        Target::Local(home) => home.broken().await,
        Target::Cluster { .. } => std::future::pending().await,
    }
}

/// What came of the Jobs.
enum Ended {
    /// The daemon goes on with them.
    Detached(Vec<Job>),
    /// They have ended.
    Followed(Box<Outcome>),
}

async fn carry_out(
    args: &Args,
    client: Client,
    target: &Target,
    manifests: &[Manifest],
    screen: Screen,
    interrupts: watch::Receiver<u32>,
) -> Result<Ended, Failure> {
    if !args.quiet {
        if let Some(warning) = without_effect(&args.given, target).await {
            screen.note(format!("warning: {warning}")).await;
        }
        for warning in manifests.iter().flat_map(|manifest| &manifest.warnings) {
            screen.note(format!("warning: {warning}")).await;
        }
    }
    let (jobs, needs): (Vec<&Manifest>, Vec<&Manifest>) = manifests.iter().partition(|manifest| manifest.is_job());
    let existing = existing(args, target).await;
    let unfinished = tokio::select! {
        cleared = submit::clear_way(&client, &jobs, &existing, &screen, args.quiet) => cleared?,
        // The pods of a Job that is being replaced may take their time.
        () = interruption(&interrupts) => return Err(Failure::Interrupted),
    };
    if matches!(target, Target::Local(_)) {
        for namespace in manifests::namespaces(manifests) {
            submit::make_namespace(&client, namespace).await?;
        }
    }
    for manifest in needs {
        submit::apply(&client, manifest).await?;
    }
    let wishes = Wishes {
        namespace: args.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned()),
        timeout: args.timeout,
        wait_forever: args.wait_forever,
        quiet: args.quiet,
    };
    let mut session = Session::new(client.clone(), screen.clone(), wishes, interrupts);
    let is_new = |manifest: &&Manifest| !unfinished.iter().any(|job| manifest.is_named_as(job));
    let created = create_all(&client, jobs.into_iter().filter(is_new)).await?;
    for job in &created {
        session.add(job.clone(), Timestamp::now());
    }
    if args.detach {
        return Ok(Ended::Detached(created));
    }
    for job in unfinished {
        let since = job.metadata.creation_timestamp.as_ref().map_or_else(Timestamp::now, |at| at.0);
        session.add(job, since);
    }
    let outcome = session.finish().await;
    if let Target::Local(home) = target
        && !args.quiet
    {
        tell_of_others(&client, home, &outcome.run, &screen).await;
    }
    Ok(Ended::Followed(Box::new(outcome)))
}

/// What is told where flags of a daemon were given, and another one or a cluster runs the Jobs.
async fn without_effect(given: &[String], target: &Target) -> Option<String> {
    let who = match target {
        Target::Local(home) if home.is_here().await => return None,
        Target::Local(home) => format!("the daemon (process {})", home.holder()?.process),
        Target::Cluster { .. } => "the cluster".to_owned(),
    };
    let have = match given {
        [] => return None,
        [_] => "has",
        [_, ..] => "have",
    };
    Some(format!("{} {have} no effect: {who} decides", given.join(", ")))
}

/// What is to be done about Jobs of the same names.
async fn existing(args: &Args, target: &Target) -> Existing {
    let Target::Local(home) = target else { return if args.replace { Existing::Replace } else { Existing::Refuse } };
    if args.replace {
        Existing::Replace
    } else if home.is_here().await {
        Existing::TakeOver
    } else {
        home.holder().filter(|holder| holder.passing).map_or(Existing::Refuse, |run| Existing::OfRun(run.process))
    }
}

/// Creates Jobs, all of them or none.
async fn create_all(client: &Client, manifests: impl Iterator<Item = &Manifest>) -> Result<Vec<Job>, Failure> {
    let mut created = Vec::new();
    for manifest in manifests {
        match submit::create(client, manifest).await {
            Ok(job) => created.push(job),
            Err(failure) => {
                for job in created {
                    stop::gracefully(client.clone(), job).await;
                }
                return Err(failure);
            }
        }
    }
    Ok(created)
}

/// Prints what came of the Jobs, and works out the exit code.
#[expect(clippy::print_stderr, reason = "the summary is for people; standard output belongs to pods and to JSON")]
fn print(args: &Args, look: Look, ended: Ended) -> Result<u8, Failure> {
    let mut stdout = std::io::stdout().lock();
    let outcome = match ended {
        Ended::Detached(jobs) => {
            match args.output {
                Format::Json => writeln!(stdout, "{:#}", detached_json(&jobs))?,
                Format::Text => {
                    for job in &jobs {
                        writeln!(stdout, "{}", job.metadata.name.as_deref().unwrap_or_default())?;
                    }
                }
            }
            return Ok(exit::OK);
        }
        Ended::Followed(outcome) => outcome,
    };
    let code = exit_code(args, &outcome);
    for report in &outcome.reports {
        if !args.quiet || report.result != Verdict::Complete {
            eprint!("{}", report.summary(look.colour_notes));
        }
    }
    match args.output {
        Format::Json => writeln!(stdout, "{:#}", json(&outcome.reports, code))?,
        Format::Text => {}
    }
    Ok(code)
}

fn exit_code(args: &Args, outcome: &Outcome) -> u8 {
    let code = report::exit_code(&outcome.reports);
    let own = args.exit_code_from.as_deref().and_then(|container| outcome.run.container_exit_code(container));
    match (code, own.map(u8::try_from)) {
        (exit::OK | exit::FAILED, Some(Ok(own))) => own,
        (code, Some(Ok(_) | Err(_)) | None) => code,
    }
}

fn json(reports: &[JobReport], code: u8) -> serde_json::Value {
    serde_json::json!({"jobs": reports, "exitCode": code})
}

fn detached_json(jobs: &[Job]) -> serde_json::Value {
    let named = |job: &Job| {
        let meta = &job.metadata;
        serde_json::json!({"namespace": meta.namespace, "name": meta.name, "uid": meta.uid})
    };
    serde_json::json!({"jobs": jobs.iter().map(named).collect::<Vec<_>>()})
}

/// `--exit-code-from` needs one Job of one pod that has the container.
fn check_exit_code_from(args: &Args, manifests: &[Manifest]) -> Result<(), Failure> {
    let Some(container) = &args.exit_code_from else { return Ok(()) };
    let wrong = |why: String| Err(Failure::Usage(format!("--exit-code-from {container}: {why}")));
    let jobs: Vec<&Manifest> = manifests.iter().filter(|manifest| manifest.is_job()).collect();
    let [job] = jobs.as_slice() else {
        return wrong(format!("it needs exactly one Job, and there are {}", jobs.len()));
    };
    let spec = job.job().and_then(|job| job.spec).unwrap_or_default();
    if spec.completions.unwrap_or(1) > 1 || spec.parallelism.unwrap_or(1) > 1 {
        return wrong(format!("Job {} runs several pods", job.title()));
    }
    let pod = spec.template.spec.unwrap_or_default();
    let names: Vec<String> =
        pod.init_containers.into_iter().flatten().chain(pod.containers).map(|it| it.name).collect();
    if names.iter().any(|name| name == container) {
        return Ok(());
    }
    wrong(format!("Job {} has no such container; it has {}", job.title(), names.join(", ")))
}

impl Args {
    fn target(&self) -> Result<Target, Failure> {
        if self.context.is_some() || self.kubeconfig.is_some() {
            return Ok(Target::Cluster { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() });
        }
        let config = self.local.config()?;
        Ok(Target::Local(if self.detach { Home::found(config) } else { Home::found_or_started(config) }))
    }
}
