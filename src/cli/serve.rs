//! `jobdock serve`: the daemon in the foreground, until a signal ends it.

use std::net::SocketAddr;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use super::connect;
use super::exit::{self, Failure};
use super::images;
use super::limits;
use super::local::{self, Local};
use super::log::{self, Format};
use crate::daemon::{Config, Daemon};
use crate::model::validation::names;

/// Messages that a daemon shows unless told otherwise.
const LEVEL: &str = "info";

/// Serve the Kubernetes API and run Jobs until stopped.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the HTTPS API; every request needs the token or certificate of `jobdock kubeconfig`
    #[arg(long, env = "JOBDOCK_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7443", value_parser = local::address)]
    listen: SocketAddr,

    /// Another address of the HTTPS API, for pods that call it: the bridge's, such as 172.17.0.1:7443; may be repeated
    #[arg(long, env = "JOBDOCK_ALSO_LISTEN", value_name = "ADDRESS", value_delimiter = ',', value_parser = local::address)]
    also_listen: Vec<SocketAddr>,

    /// `none` serves the API and the controllers only: pods stay Pending until a client writes their status
    #[arg(long, env = "JOBDOCK_NODE", value_enum, default_value = "local")]
    node: Node,

    /// Name of the Node; by default the one it has had in this data directory, and at first the machine's. Pods that are
    /// bound to another name are given up
    #[arg(long, env = "JOBDOCK_NODE_NAME", value_name = "NAME", value_parser = node_name)]
    node_name: Option<String>,

    /// End all pods when the daemon stops; without it they run on, and the next daemon adopts them
    #[arg(long, env = "JOBDOCK_STOP_PODS_ON_EXIT")]
    stop_pods_on_exit: bool,

    /// Refuse requests with service account tokens; without it they may edit in their own namespace
    #[arg(long, env = "JOBDOCK_NO_SERVICE_ACCOUNT_ACCESS")]
    no_service_account_access: bool,

    #[command(flatten)]
    local: Local,

    #[command(flatten)]
    images: images::Args,

    #[command(flatten)]
    limits: limits::Args,
}

/// Where pods run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Node {
    /// On this machine's engine.
    Local,
    /// Nowhere.
    None,
}

fn node_name(text: &str) -> Result<String, String> {
    match names::dns_subdomain(text).into_iter().next() {
        Some(fault) => Err(fault),
        None => Ok(text.to_owned()),
    }
}

/// Runs the daemon until SIGTERM or SIGINT.
pub async fn run(args: Args) -> Result<u8, Failure> {
    log::start(args.local.log_level.as_deref().unwrap_or(LEVEL), args.local.log_format)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let config = Config {
        passing: false,
        listen: Some(args.listen),
        also_listen: args.also_listen.clone(),
        node: args.node == Node::Local,
        node_name: args.node_name.clone(),
        stop_pods_on_exit: args.stop_pods_on_exit,
        account_access: !args.no_service_account_access,
        limits: args.limits.limits(),
        image_gc: args.images.policy()?,
        ..args.local.config()?
    };
    let daemon = Daemon::start(config).await.map_err(|error| connect::failure(error.into()))?;
    greet(&daemon, &args);
    // Outside of systemd there is nobody to tell.
    let _no_supervisor = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        error = daemon.failed() => Some(error),
    };
    let _no_supervisor = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tokio::select! {
        left = daemon.shutdown() => part(left, args.local.log_format),
        // Whoever asks twice does not want to wait; what is under way is found again at the next start.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    match failed {
        None => Ok(exit::OK),
        Some(error) => Err(error.into()),
    }
}

/// Tells what runs on.
#[expect(clippy::print_stderr, reason = "standard output is not for messages")]
fn part(pods: usize, format: Format) {
    match format {
        Format::Json => tracing::info!(pods, "stopped"),
        Format::Text => eprintln!("{}", parting_words(pods)),
    }
}

fn parting_words(pods: usize) -> String {
    let (count, run, them) = match pods {
        0 => return "stopped".to_owned(),
        1 => ("1 pod".to_owned(), "runs", "it"),
        more => (format!("{more} pods"), "run", "them"),
    };
    format!("stopped; {count} {run} on (the next jobdock adopts {them}; --stop-pods-on-exit ends {them})")
}

/// Tells where it listens, and what to type next.
#[expect(clippy::print_stderr, reason = "standard output is not for messages")]
fn greet(daemon: &Daemon, args: &Args) {
    let data = args.local.data.flag();
    let address = daemon.address().map(|address| format!("https://{address}")).unwrap_or_default();
    if args.local.log_format == Format::Json {
        tracing::info!(%address, data = %daemon.directory().display(), "serving");
        return;
    }
    eprintln!("jobdock {} serves {address}, data in {}", env!("CARGO_PKG_VERSION"), daemon.directory().display());
    for address in std::iter::once(&args.listen).chain(&args.also_listen).filter(|one| !one.ip().is_loopback()) {
        eprintln!(
            "warning: {address} can be reached from elsewhere; whoever holds the token rules this machine's engine"
        );
    }
    eprintln!("  jobdock kubeconfig{data} > jobdock.kubeconfig");
    eprintln!("  kubectl --kubeconfig jobdock.kubeconfig get jobs,pods");
}

#[cfg(test)]
mod tests {
    use super::parting_words;

    #[test]
    fn who_stops_a_daemon_is_told_what_runs_on() {
        assert_eq!(parting_words(0), "stopped");
        assert_eq!(
            parting_words(1),
            "stopped; 1 pod runs on (the next jobdock adopts it; --stop-pods-on-exit ends it)"
        );
        assert_eq!(
            parting_words(2),
            "stopped; 2 pods run on (the next jobdock adopts them; --stop-pods-on-exit ends them)"
        );
    }
}
