//! Owns the sockets: a unix socket that only its owner can open, and TLS on TCP for whoever has the token. HTTP/1.1 and
//! HTTP/2 on both. Never looks into a request.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::guard::{Guard, Peer, guard};
use super::pki::{self, Pki};
use super::{ApiState, app};

/// How long a client may take for its TLS handshake or for the headers of a request: a slow one must not hold a place.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests at once on one HTTP/2 connection. Parity: upstream's `--http2-max-streams-per-connection`.
const MAX_HTTP2_STREAMS: u32 = 250;
/// How often a quiet HTTP/2 connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long requests under way may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(10);
/// Wait after a failed `accept`: it fails when file descriptors run out, and would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The unix socket belongs to a server that answers.
    #[error("a server already listens on {0}")]
    Busy(PathBuf),
    /// A socket could not be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Path or address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// No keys or certificates.
    #[error(transparent)]
    Pki(#[from] pki::Error),
}

/// Open sockets, not yet served.
pub struct Listeners {
    unix: Option<(UnixListener, PathBuf)>,
    tls: Vec<TcpListener>,
    pki: Option<Pki>,
}

impl Listeners {
    /// Opens the unix socket (mode 0600) at `unix`, and TLS at `tcp` with keys from `data_dir`, where they are asked for.
    /// A socket file that no server answers on is replaced.
    pub async fn bind(data_dir: &Path, unix: Option<&Path>, tcp: Option<SocketAddr>) -> Result<Self, Error> {
        Self::bind_all(data_dir, unix, tcp.as_slice()).await
    }

    /// [`Listeners::bind`] with TLS at several addresses; the first is the one that kubeconfigs name.
    pub async fn bind_all(data_dir: &Path, unix: Option<&Path>, tcp: &[SocketAddr]) -> Result<Self, Error> {
        let unix = match unix {
            Some(path) => Some((bind_unix(path).await?, path.to_owned())),
            None => None,
        };
        let mut pki = None;
        if !tcp.is_empty() {
            let names: Vec<IpAddr> = tcp.iter().map(SocketAddr::ip).collect();
            pki = Some(Pki::open(data_dir, &names, Timestamp::now())?);
        }
        let mut tls = Vec::with_capacity(tcp.len());
        for address in tcp {
            tls.push(bind_tls(*address).await?);
        }
        if let Some(first) = tls.first().and_then(|listener| listener.local_addr().ok()) {
            let host = match first.ip() {
                any if any.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], first.port())),
                _ => first,
            };
            pki::remember_url(data_dir, &format!("https://{host}"))?;
        }
        Ok(Self { unix, tls, pki })
    }

    /// Every address that TLS listens on.
    pub fn tcp_addresses(&self) -> Vec<SocketAddr> {
        self.tls.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The address that TLS listens on; tells the port where 0 was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tls.first().and_then(|listener| listener.local_addr().ok())
    }
}

async fn bind_unix(path: &Path) -> Result<UnixListener, Error> {
    let fail = |source| Error::Listen { address: path.display().to_string(), source };
    if UnixStream::connect(path).await.is_ok() {
        return Err(Error::Busy(path.to_owned()));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        Err(_) | Ok(()) => {}
    }
    // Bound under another name and moved when its mode is right, so that nobody can connect in between.
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft).map_err(fail)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).map_err(fail)?;
    fs::rename(&draft, path).map_err(fail)?;
    Ok(listener)
}

async fn bind_tls(address: SocketAddr) -> Result<TcpListener, Error> {
    let fail = |source| Error::Listen { address: address.to_string(), source };
    TcpListener::bind(address).await.map_err(fail)
}

/// Serves until `stop`; then ends streams, lets requests under way finish, and returns.
pub async fn serve(state: ApiState, listeners: Listeners, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(state.limits.connections));
    let headers = state.limits.headers;
    let conversations = state.conversations.clone();
    let open = app(state.clone());
    let unix = async {
        if let Some((listener, path)) = listeners.unix {
            accept_all(Socket::Unix(listener), &open, headers, &places, &stop).await;
            // A client that comes now is told at once that nobody listens.
            let _ = fs::remove_file(path);
        }
    };
    let tls = async {
        if let Some(pki) = listeners.pki {
            let accounts = state.accounts.clone().with_admin(&pki.token);
            let guards = Arc::new(Guard::new(accounts.clone(), pki.hosts));
            let guarded =
                app(state.clone().with_accounts(accounts)).layer(middleware::from_fn_with_state(guards, guard));
            let acceptor = TlsAcceptor::from(pki.tls);
            let sockets = listeners.tls.into_iter().map(|listener| Socket::Tls(listener, acceptor.clone()));
            let all = sockets.map(|socket| accept_all(socket, &guarded, headers, &places, &stop));
            futures::future::join_all(all).await;
        }
    };
    tokio::join!(unix, tls);
    // They are told to end with the rest; their clients are to hear of it.
    conversations.close();
    if tokio::time::timeout(DRAIN, conversations.wait()).await.is_err() {
        tracing::warn!("conversations with pods were cut off: they did not end in time");
    }
}

/// What is listened on.
enum Socket {
    Unix(UnixListener),
    Tls(TcpListener, TlsAcceptor),
}

/// A connection before its handshake.
enum Arrived {
    Unix(UnixStream),
    Tls(TcpStream, TlsAcceptor),
}

/// A connection that carries HTTP.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Socket {
    async fn accept(&self) -> io::Result<Arrived> {
        match self {
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Arrived::Unix(stream)),
            Self::Tls(listener, acceptor) => {
                listener.accept().await.map(|(stream, _)| Arrived::Tls(stream, acceptor.clone()))
            }
        }
    }
}

impl Arrived {
    /// None where the handshake fails or takes too long: there is nobody to tell.
    async fn ready(self) -> Option<(Box<dyn Wire>, Option<Peer>)> {
        match self {
            Self::Unix(stream) => Some((Box::new(stream), None)),
            Self::Tls(stream, acceptor) => {
                // Small answers must not wait for a client's acknowledgement of the one before.
                let _ = stream.set_nodelay(true);
                let shaken = tokio::time::timeout(HEADER_TIMEOUT, acceptor.accept(stream)).await.ok()?.ok()?;
                let certificates = shaken.get_ref().1.peer_certificates().unwrap_or_default();
                let peer = certificates.first().and_then(|certificate| pki::caller(certificate)).map(Peer);
                Some((Box::new(shaken), peer))
            }
        }
    }
}

async fn accept_all(
    socket: Socket,
    router: &Router,
    headers: usize,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let arrived = tokio::select! {
            () = stop.cancelled() => break,
            arrived = socket.accept() => arrived,
        };
        match arrived {
            Ok(arrived) => {
                // Where every place is taken, one that arrived waits here and the others in the kernel's queue. A place is
                // not taken before: the listener that nobody calls would keep it from the other.
                let place = tokio::select! {
                    () = stop.cancelled() => break,
                    place = Arc::clone(places).acquire_owned() => place,
                };
                let Ok(place) = place else { break };
                connections.spawn(connection(arrived, router.clone(), headers, place, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        // Ended connections are forgotten as new ones come.
        while connections.try_join_next().is_some() {}
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("requests were cut off: they did not end in time");
    }
}

async fn connection(
    arrived: Arrived,
    router: Router,
    headers: usize,
    place: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let Some((stream, peer)) = arrived.ready().await else { return };
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = peer.clone() {
            request.extensions_mut().insert(peer);
        }
        router.clone().oneshot(request.map(Body::new))
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(headers);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_HTTP2_STREAMS)
        .max_header_list_size(u32::try_from(headers).unwrap_or(u32::MAX))
        .keep_alive_interval(KEEP_ALIVE);
    let served = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(served);
    tokio::select! {
        // A client that goes away in the middle is no concern of ours.
        _ = served.as_mut() => {}
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
    drop(place);
}
