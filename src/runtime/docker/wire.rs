//! Owns the connections to one engine: dialling (unix, TCP, TLS, ssh), the pool that keeps them alive, the API version
//! in each path, and the time limit of each call.
//! Never knows what a call means: containers, images and logs are read elsewhere.
//!
//! bollard speaks through this too ([`Wire::client`]): its own unix transport opens a connection for every call and
//! sends no API version. What it cannot read without harm goes by [`Wire::read`] and [`Wire::open`]: its types refuse
//! a whole reply for one unknown word, its log reader guesses at a terminal from the first byte of each piece, and its
//! registry header is in an alphabet that the engine does not read.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::upgrade::Upgraded;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;

use super::tls;
use crate::runtime::Error;
use crate::runtime::endpoint::{Address, Candidate};
use crate::runtime::failure::{Act, judge};
use crate::runtime::session::Duplex;

/// Time to open a connection. A local engine accepts at once; ssh has to authenticate first.
const DIAL_LIMIT: Duration = Duration::from_secs(30);
/// Idle connections kept: as many as calls that usually run side by side.
const IDLE_CONNECTIONS: usize = 16;
/// How long an idle connection is kept. Shorter than any engine's own patience, so that a call seldom meets a
/// connection that the engine has just closed.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Silence after which a connection to an engine elsewhere is tried, and pause between tries: what a network has lost
/// without a word is otherwise waited for for ever.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Longest reply that is read whole. An inspection is some 10 KB; a listing of 10,000 containers some 10 MB.
const REPLY_MAX: usize = 256 * 1024 * 1024;
/// Longest text of a refusal that is kept.
const REFUSAL_MAX: usize = 64 * 1024;
/// bollard's own limit, out of the way: [`Wire::within`] limits each call as it deserves (EDGES D8).
const BOLLARD_LIMIT_SECONDS: u64 = 24 * 60 * 60;

/// The body of a request, in the form that bollard sends.
type Body =
    Either<Full<Bytes>, StreamBody<Pin<Box<dyn futures::Stream<Item = Result<Frame<Bytes>, io::Error>> + Send>>>>;

/// The pooled connections to one engine.
#[derive(Clone)]
pub(super) struct Wire {
    client: Client<Dial, Body>,
    /// `http://HOST`, of which only the host matters, as the Host header.
    base: String,
    /// `1.41`, once negotiated.
    version: Option<Arc<str>>,
    /// For error texts.
    endpoint: String,
}

/// One request for [`Wire::open`] and [`Wire::read`].
pub(super) struct Ask<'a> {
    /// What is asked, for the reading of a refusal.
    pub act: Act,
    /// Whom it is about: a container's name, an image's reference.
    pub subject: &'a str,
    /// HTTP method.
    pub method: Method,
    /// Path without version, with its query.
    pub path: String,
    /// A further header.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// The body; empty for none.
    pub body: Bytes,
}

impl<'a> Ask<'a> {
    /// A read about a subject.
    pub fn get(act: Act, subject: &'a str, path: String) -> Ask<'a> {
        Ask { act, subject, method: Method::GET, path, header: None, body: Bytes::new() }
    }

    /// An act with a body of the given type.
    pub fn post(act: Act, subject: &'a str, path: String, content_type: &'static str, body: Bytes) -> Ask<'a> {
        let header = Some((http::header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
        Ask { act, subject, method: Method::POST, path, header, body }
    }
}

impl Wire {
    /// A pool for one address; no connection is opened yet.
    pub fn new(candidate: &Candidate) -> Result<Wire, Error> {
        let host = match &candidate.address {
            Address::Tcp { host, port, .. } => format!("{host}:{port}"),
            Address::Unix(_) | Address::Ssh { .. } => "localhost".to_owned(),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_LIMIT)
            .build(Dial::to(&candidate.address)?);
        let endpoint = candidate.address.to_string();
        Ok(Wire { client, base: format!("http://{host}"), version: None, endpoint })
    }

    /// The same pool, with the API version that the engine agreed to in each path (D10).
    pub fn with_version(mut self, version: &str) -> Wire {
        self.version = Some(version.into());
        self
    }

    /// Where the engine is, for people.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// bollard over these connections.
    pub fn bollard(&self) -> Result<bollard::Docker, Error> {
        let wire = self.clone();
        let transport = move |request: Request<Body>| {
            let sent = wire.versioned(request).map(|request| wire.client.request(request));
            async move { Ok(sent?.await?) }
        };
        let version = bollard::API_DEFAULT_VERSION;
        bollard::Docker::connect_with_custom_transport(transport, Some(&*self.base), BOLLARD_LIMIT_SECONDS, version)
            .map_err(|error| self.unreachable(error))
    }

    fn versioned(&self, mut request: Request<Body>) -> Result<Request<Body>, bollard::errors::Error> {
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() = self.uri(path)?;
        Ok(request)
    }

    fn uri(&self, path: &str) -> Result<Uri, http::uri::InvalidUri> {
        match &self.version {
            Some(version) => format!("{}/v{version}{path}", self.base).parse(),
            None => format!("{}{path}", self.base).parse(),
        }
    }

    /// Runs a call within its limit.
    pub async fn within<T>(&self, limit: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match tokio::time::timeout(limit, call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.unreachable(format!("no answer within {} s", limit.as_secs()))),
        }
    }

    /// The engine cannot be reached, for this reason.
    pub fn unreachable(&self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::Unreachable { endpoint: self.endpoint.clone(), source: source.into() }
    }

    /// What a failed call of bollard's means. `Ok` says that the wish is fulfilled all the same.
    pub fn judged(&self, act: Act, subject: &str, error: bollard::errors::Error) -> Result<(), Error> {
        match error {
            bollard::errors::Error::DockerResponseServerError { status_code, message } => {
                judge(act, subject, status_code, &message)
            }
            bollard::errors::Error::DockerStreamError { error } => judge(act, subject, 500, &error),
            // A reply that is not understood: the engine acted, or did not; looking again will tell.
            bollard::errors::Error::JsonDataError { message, .. } => Err(Error::Engine(message)),
            bollard::errors::Error::JsonSerdeError { err } => Err(Error::Engine(err.to_string())),
            bollard::errors::Error::InvalidURIError { err } => Err(Error::Refused(err.to_string())),
            other => Err(self.unreachable(other)),
        }
    }

    /// Sends a request and returns the reply once its headers are there.
    ///
    /// # Errors
    /// The judged refusal; `Ok(None)` where it says that the wish is fulfilled all the same.
    pub async fn open(&self, ask: Ask<'_>) -> Result<Option<Response<Incoming>>, Error> {
        let (act, subject) = (ask.act, ask.subject);
        let response = self.client.request(self.request(ask)?).await.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(Some(response));
        }
        self.refused(act, subject, response).await.map(|()| None)
    }

    /// Sends a request that turns its connection into a process's streams. Shutting the writing half down is the end
    /// of the process's input; reading goes on.
    ///
    /// # Errors
    /// The judged refusal.
    pub async fn hijack(&self, ask: Ask<'_>) -> Result<TokioIo<Upgraded>, Error> {
        let (act, subject) = (ask.act, ask.subject);
        let mut request = self.request(ask)?;
        request.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(http::header::UPGRADE, HeaderValue::from_static("tcp"));
        let response = self.client.request(request).await.map_err(|error| self.unreachable(error))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = hyper::upgrade::on(response).await.map_err(|error| self.unreachable(error))?;
            return Ok(TokioIo::new(upgraded));
        }
        let status = response.status();
        self.refused(act, subject, response).await?;
        Err(Error::Engine(format!("the engine answered {status} where its streams were asked for")))
    }

    async fn refused(&self, act: Act, subject: &str, response: Response<Incoming>) -> Result<(), Error> {
        let status = response.status();
        let text = self.collect(response, REFUSAL_MAX).await?;
        judge(act, subject, status.as_u16(), &refusal(status, &text))
    }

    fn request(&self, ask: Ask<'_>) -> Result<Request<Body>, Error> {
        let uri = self.uri(&ask.path).map_err(|error| Error::Refused(format!("{:?}: {error}", ask.subject)))?;
        let mut request = Request::new(Either::Left(Full::new(ask.body)));
        *request.method_mut() = ask.method;
        *request.uri_mut() = uri;
        if let Some((name, value)) = ask.header {
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }

    /// Reads a reply whole, as JSON; nothing where the subject is not there.
    pub async fn read<T: DeserializeOwned>(&self, limit: Duration, ask: Ask<'_>) -> Result<T, Error> {
        let path = ask.path.clone();
        self.within(limit, async {
            let response = self.open(ask).await?.ok_or_else(|| Error::Engine(format!("{path}: no content")))?;
            let text = self.collect(response, REPLY_MAX).await?;
            serde_json::from_slice(&text).map_err(|error| Error::Engine(format!("{path}: {error}")))
        })
        .await
    }

    async fn collect(&self, response: Response<Incoming>, limit: usize) -> Result<Bytes, Error> {
        let body = http_body_util::Limited::new(response.into_body(), limit);
        Ok(body.collect().await.map_err(|error| self.unreachable(error))?.to_bytes())
    }
}

/// The words of a refusal: `message` of its JSON, else the text as it is, else the status.
fn refusal(status: StatusCode, text: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(text)
        .ok()
        .and_then(|value| value.get("message").and_then(|message| message.as_str().map(str::to_owned)));
    let words = message.unwrap_or_else(|| String::from_utf8_lossy(text).trim().to_owned());
    if words.is_empty() { format!("the engine answered {status}") } else { words }
}

/// Opens connections to one address.
#[derive(Clone)]
pub(super) struct Dial {
    address: Address,
    tls: Option<tokio_rustls::TlsConnector>,
}

impl Dial {
    fn to(address: &Address) -> Result<Dial, Error> {
        let tls = match address {
            Address::Tcp { tls: Some(files), .. } => Some(tls::connector(files)?),
            Address::Tcp { tls: None, .. } | Address::Unix(_) | Address::Ssh { .. } => None,
        };
        Ok(Dial { address: address.clone(), tls })
    }

    async fn open(self) -> io::Result<Pipe> {
        match self.address {
            Address::Unix(path) => Ok(Pipe(Box::new(UnixStream::connect(path).await?))),
            Address::Tcp { host, port, .. } => {
                let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let stream = TcpStream::connect((name.as_str(), port)).await?;
                stream.set_nodelay(true)?;
                let alive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
                SockRef::from(&stream).set_tcp_keepalive(&alive)?;
                match self.tls {
                    None => Ok(Pipe(Box::new(stream))),
                    Some(connector) => {
                        let name = tls::server_name(name)?;
                        Ok(Pipe(Box::new(connector.connect(name, stream).await?)))
                    }
                }
            }
            Address::Ssh { destination, port } => ssh(&destination, port),
        }
    }
}

/// As the docker command line does it: the far side's `docker` copies between ssh and its socket.
fn ssh(destination: &str, port: Option<u16>) -> io::Result<Pipe> {
    let mut command = Command::new("ssh");
    command.args(["-o", "ConnectTimeout=30", "-T"]);
    if let Some(port) = port {
        command.args(["-p", &port.to_string()]);
    }
    command.args(["--", destination, "docker", "system", "dial-stdio"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let missing = || io::Error::other("ssh has no standard streams");
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    Ok(Pipe(Box::new(Ssh { streams: tokio::io::join(output, input), _child: child })))
}

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<Pipe>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Pipe>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The address is fixed; the request's own is only a Host header.
    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection within 30 s");
            tokio::time::timeout(DIAL_LIMIT, dial.open()).await.map_err(|_| late())?.map(TokioIo::new)
        })
    }
}

/// One connection.
pub(super) struct Pipe(Box<dyn Duplex>);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// An ssh process as a connection; it ends with it.
struct Ssh {
    streams: tokio::io::Join<tokio::process::ChildStdout, tokio::process::ChildStdin>,
    _child: tokio::process::Child,
}

impl AsyncRead for Ssh {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.streams).poll_read(cx, buf)
    }
}

impl AsyncWrite for Ssh {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.streams).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.streams).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.streams).poll_shutdown(cx)
    }
}
