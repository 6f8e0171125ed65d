//! Owns how a command reaches the API server it works with, and what is told where it cannot. All commands are
//! Kubernetes clients: which server it is makes no difference after this.

use std::error::Error;
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
/// What a cluster is asked for first.
const JOBS: &str = "batch/v1";
/// The HTTP code for credentials that are not known.
const UNAUTHORIZED: u16 = 401;

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
    let named = kubeconfig.map_or_else(|| "the kubeconfig".to_owned(), |path| path.display().to_string());
    let unusable = |error: &dyn Error| Failure::Usage(format!("no cluster to connect to: {named}: {error}"));
    let file = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let file = file.map_err(|error| unusable(&error))?;
    let shown = context.clone().or_else(|| file.current_context.clone()).unwrap_or_default();
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unusable(&error))?;
    let place = format!("cluster {} (context {shown})", config.cluster_url.to_string().trim_end_matches('/'));
    let client = Client::try_from(config).map_err(|error| unusable(&error))?;
    answering(client, &place).await
}

/// The client, once the cluster has answered and taken its credentials: that it does not is told before anything else.
async fn answering(client: Client, place: &str) -> Result<Client, Failure> {
    match client.list_api_group_resources(JOBS).await {
        Err(kube::Error::Api(status)) if status.code == UNAUTHORIZED => {
            Err(Failure::NoEngine(format!("{place} does not take the credentials: {}", status.message)))
        }
        Err(kube::Error::Auth(error)) => Err(Failure::NoEngine(format!("{place}: no credentials: {error}"))),
        // What else it refuses is told by what is asked for in earnest.
        Ok(_) | Err(kube::Error::Api(_)) => Ok(client),
        Err(error) => Err(Failure::NoEngine(format!("{place} does not answer: {}", first_cause(&error)))),
    }
}

/// What an error comes down to; what lies around it are the layers of the client library.
fn first_cause(error: &(dyn Error + 'static)) -> String {
    let mut first = error;
    while let Some(cause) = first.source() {
        first = cause;
    }
    first.to_string()
}

/// What a missing daemon or engine means for a command.
pub fn failure(error: home::Error) -> Failure {
    match error {
        home::Error::NoDaemon(_) | home::Error::Passing { .. } => {
            Failure::Usage(format!("{error}: start one with `jobdock serve`, or leave out --detach"))
        }
        home::Error::Start(daemon::Error::NoEngine(_)) => Failure::NoEngine(error.to_string()),
        home::Error::Start(daemon::Error::Directory { .. } | daemon::Error::Foreign(_)) => {
            Failure::Usage(error.to_string())
        }
        home::Error::Start(_) | home::Error::Silent { .. } | home::Error::Socket(_) => Failure::Broken(error.into()),
    }
}
