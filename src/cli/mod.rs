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

use clap::{Parser, Subcommand};

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
    let cli = Cli::parse();
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

/// Prints why the command failed; of a list of problems each has its own mark.
#[expect(clippy::print_stderr, reason = "this is where the program speaks to the user last")]
fn told(failure: &Failure) -> ExitCode {
    let is_list = matches!(failure, Failure::Usage(_));
    for (number, line) in failure.to_string().lines().enumerate() {
        let begins = number == 0 || (is_list && !line.starts_with(' '));
        eprintln!("{}{line}", if begins { "error: " } else { "" });
    }
    failure.exit_code()
}
