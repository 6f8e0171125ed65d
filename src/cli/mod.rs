//! The command line: one file per command. Each is a Kubernetes client and works against the daemon of this machine;
//! what makes sense there works against any cluster. Only `serve` and `run` know that there is a daemon to start.
//! Never decides anything about Jobs or pods.

mod connect;
pub mod exit;
mod home;
mod images;
mod kubeconfig;
mod limits;
mod local;
mod log;
mod plan;
mod run;
mod serve;

use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::exit::Failure;

/// How long tasks may take to end after the command has.
const LAST_TASKS: Duration = Duration::from_millis(500);
/// What this process creates is the user's alone: the database holds Secrets.
const UMASK: u32 = 0o077;

/// Run Kubernetes Jobs on this machine with Docker: exact Job semantics, a real Kubernetes API, no cluster.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Name of the subcommand.
const RUN: &str = "run";

const EXIT_CODES: &str = "\
Exit codes:
  0    done, every Job complete
  1    a Job failed, or can never start
  2    a manifest or the command line is wrong, nothing was started
  3    no container engine, or the cluster does not answer
  124  --timeout has passed
  130  interrupted";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run Jobs to completion: stream their output, show progress, explain failures, exit with the result
    #[command(after_help = EXIT_CODES)]
    Run(run::Args),
    /// Serve the Kubernetes API and run Jobs until stopped
    Serve(serve::Args),
    /// Show what the Job controller would decide, and why
    Plan(plan::Args),
    /// Print a kubeconfig for the daemon of this machine
    Kubeconfig(kubeconfig::Args),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    // Parity with every clap program: usage errors exit with 2, --help and --version with 0.
    let matches = Cli::command().try_get_matches().unwrap_or_else(|error| misused(&error));
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let (Command::Run(args), Some(matches)) = (&mut cli.command, matches.subcommand_matches(RUN)) {
        args.given = given(matches);
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(UMASK));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return told(&Failure::Broken(error.into())),
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run::run(args).await,
            Command::Serve(args) => serve::run(args).await,
            Command::Plan(args) => plan::run(&args),
            Command::Kubeconfig(args) => kubeconfig::run(&args).await,
        }
    });
    runtime.shutdown_timeout(LAST_TASKS);
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => told(&failure),
    }
}

/// The flags about the daemon that were given to `run`. Where its data and its messages go is this process's own matter.
fn given(matches: &ArgMatches) -> Vec<String> {
    let command = Cli::command();
    let flags = command.find_subcommand(RUN).into_iter().flat_map(clap::Command::get_arguments);
    let daemons = flags.filter(|flag| flag.get_help_heading() == Some(local::DAEMON));
    let deciding = daemons.filter(|flag| !matches!(flag.get_id().as_str(), "data_dir" | "log_level" | "log_format"));
    let is_given = |flag: &&Arg| {
        matches!(
            matches.value_source(flag.get_id().as_str()),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    deciding.filter(is_given).filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect()
}

/// Tells of a wrong command line, and where a value comes from that does not stand in it.
#[expect(clippy::print_stderr, reason = "this is where the program speaks to the user last")]
fn misused(error: &clap::Error) -> ! {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && !std::env::args().any(|argument| argument.ends_with(value.as_str()))
        && let Some((name, _)) = std::env::vars().find(|(name, held)| name.starts_with("JOBDOCK_") && held == value)
    {
        eprintln!("the variable {name} is set:");
    }
    error.exit()
}

/// Prints why the command failed; of a list of problems each has its own mark.
#[expect(clippy::print_stderr, reason = "this is where the program speaks to the user last")]
fn told(failure: &Failure) -> ExitCode {
    for problem in failure.problems() {
        eprintln!("error: {problem}");
    }
    failure.exit_code()
}
