//! Owns how a command reaches the API server it works with. All commands are Kubernetes clients: which server it is
//! makes no difference after this.

use std::path::PathBuf;

use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::service_fn;

use super::exit::Failure;
use super::home::{self, Home};
use crate::daemon;

/// The namespace of objects that name none, on the local daemon.
const DEFAULT_NAMESPACE: &str = "default";

/// An API server.
#[derive(Clone)]
pub enum Target {
    /// The daemon of a data directory on this machine.
    Local(Home),
    /// Whatever a kubeconfig names.
    Cluster {
        /// The file; by default `$KUBECONFIG`, then `~/.kube/config`.
        kubeconfig: Option<PathBuf>,
        /// The context in it; by default its current one.
        context: Option<String>,
    },
}

/// A client of the target. For the local daemon a first connection is made, so that a missing engine is told at once.
pub async fn connect(target: &Target) -> Result<Client, Failure> {
    match target {
        Target::Local(home) => {
            drop(home.connection().await.map_err(failure)?);
            Ok(local(home.clone()))
        }
        Target::Cluster { kubeconfig, context } => cluster(kubeconfig.as_ref(), context.clone()).await,
    }
}

/// Every connection asks anew where the daemon is, so that requests survive a change of the process that it runs in.
fn local(home: Home) -> Client {
    let connector = service_fn(move |_: http::Uri| {
        let home = home.clone();
        Box::pin(async move { home.connection().await.map(TokioIo::new) })
    });
    let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
    // kube sends paths only; the legacy client wants a whole URI. Its host is never looked up.
    let service = tower::ServiceBuilder::new()
        .map_request(|mut request: http::Request<kube::client::Body>| {
            let path = request.uri().path_and_query().cloned();
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(http::uri::Scheme::HTTP);
            parts.authority = Some(http::uri::Authority::from_static("localhost"));
            parts.path_and_query = path.or_else(|| Some(http::uri::PathAndQuery::from_static("/")));
            *request.uri_mut() = http::Uri::from_parts(parts).expect("scheme, host and path make a URI");
            request
        })
        .service(http);
    Client::new(service, DEFAULT_NAMESPACE)
}

async fn cluster(kubeconfig: Option<&PathBuf>, context: Option<String>) -> Result<Client, Failure> {
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| usage(&format!("{}: {error}", path.display())))?;
            Config::from_custom_kubeconfig(file, &options).await
        }
        None => Config::from_kubeconfig(&options).await,
    };
    let config = config.map_err(|error| usage(&error.to_string()))?;
    Ok(Client::try_from(config)?)
}

fn usage(what: &str) -> Failure {
    Failure::Usage(format!("no cluster to connect to: {what}"))
}

/// What a missing daemon or engine means for a command.
pub fn failure(error: home::Error) -> Failure {
    match error {
        home::Error::NoDaemon(_) => {
            Failure::Usage(format!("{error}: start one with `jobdock serve`, or leave out --detach"))
        }
        home::Error::Start(daemon::Error::NoEngine(_)) => Failure::NoEngine(error.to_string()),
        home::Error::Start(_) | home::Error::Silent { .. } | home::Error::Socket(_) => Failure::Broken(error.into()),
    }
}
