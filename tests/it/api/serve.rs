//! The listeners: who is let in, which files are left, how serving ends.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use http::{Request, StatusCode};
use jiff::{SignedDuration, Timestamp};
use jobdock::api::accounts::Accounts;
use jobdock::api::guard::{Guard, guard};
use jobdock::api::pki::Pki;
use jobdock::api::{ApiState, Limits, Listeners, app, kubeconfig, serve};
use jobdock::store::Store;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

fn state() -> ApiState {
    ApiState::new(Store::in_memory().unwrap(), CancellationToken::new())
}

/// What a caller over TCP with these headers is answered.
async fn call(path: &str, headers: &[(&str, &str)]) -> StatusCode {
    let accounts = Accounts::new(Store::in_memory().unwrap()).with_admin("secret");
    let guards = Arc::new(Guard::new(accounts, vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]));
    let router = app(state()).layer(from_fn_with_state(guards, guard));
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap().status()
}

#[tokio::test]
async fn only_the_bearer_of_the_token_is_let_in() {
    assert_eq!(call("/api", &[]).await, 401);
    assert_eq!(call("/api", &[("authorization", "Bearer wrong")]).await, 401);
    assert_eq!(call("/api", &[("authorization", "Basic secret")]).await, 401);
    assert_eq!(call("/api", &[("authorization", "Bearer secret")]).await, 200);
    assert_eq!(call("/api", &[("authorization", "bearer secret")]).await, 200);
    assert_eq!(call("/openapi/v3", &[]).await, 401);
    assert_eq!(call("/metrics", &[]).await, 401);
}

#[tokio::test]
async fn health_and_version_are_for_everybody() {
    for path in ["/livez", "/readyz", "/healthz", "/version", "/livez/ping"] {
        assert_eq!(call(path, &[]).await, 200, "{path}");
    }
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let token = ("authorization", "Bearer secret");
    for host in ["localhost", "localhost:6443", "127.0.0.1:1", "[::1]:6443", "LOCALHOST"] {
        assert_eq!(call("/api", &[token, ("host", host)]).await, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1"] {
        assert_eq!(call("/api", &[token, ("host", host)]).await, 403, "{host}");
        assert_eq!(call("/livez", &[("host", host)]).await, 403, "{host}");
    }
    let host = ("host", "localhost");
    assert_eq!(call("/api", &[token, host, ("origin", "https://localhost:6443")]).await, 200);
    assert_eq!(call("/api", &[token, host, ("origin", "https://evil.example")]).await, 403);
    assert_eq!(call("/api", &[token, host, ("origin", "null")]).await, 403);
}

#[test]
fn keys_are_private_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let first = Pki::open(dir.path(), &[[127, 0, 0, 1].into()], now).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join("pki").join(name)).unwrap();
    assert_eq!(first.token.len(), 64);
    let authority = read("ca.crt");
    let second = Pki::open(dir.path(), &[[127, 0, 0, 1].into()], now).unwrap();
    assert_eq!((&second.token, read("ca.crt")), (&first.token, authority.clone()));
    let years = SignedDuration::from_hours(24 * 365 * 9 + 48);
    let later = Pki::open(dir.path(), &[[127, 0, 0, 1].into()], now + years).unwrap();
    assert_eq!(later.token, first.token);
    assert_ne!(read("ca.crt"), authority, "an authority that ends soon is replaced");
    for file in ["ca.crt", "ca.key", "server.crt", "server.key", "token"] {
        assert_eq!(mode(&dir.path().join("pki").join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&dir.path().join("pki")), 0o700);
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_kubeconfig_needs_a_server_that_has_listened() {
    let dir = tempfile::tempdir().unwrap();
    assert!(kubeconfig(dir.path()).unwrap_err().to_string().contains("no server has listened"));
    let listeners = Listeners::bind(dir.path(), None, Some(([127, 0, 0, 1], 0).into())).await.unwrap();
    let text = kubeconfig(dir.path()).unwrap();
    assert!(text.contains(&format!("server: https://{}", listeners.tcp_address().unwrap())), "{text}");
}

async fn ask(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(b"GET /api HTTP/1.1\r\nhost: anything\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_unix_socket_is_for_its_owner_and_goes_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    // What a killed server leaves behind is in nobody's way.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let listeners = Listeners::bind(dir.path(), Some(&socket), None).await.unwrap();
    assert_eq!(mode(&socket), 0o600);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(state(), listeners, stop.clone()));
    assert!(ask(&socket).await.starts_with("HTTP/1.1 200 OK"));
    let busy = Listeners::bind(dir.path(), Some(&socket), None).await.err().unwrap();
    assert!(busy.to_string().contains("a server already listens"), "{busy}");
    stop.cancel();
    serving.await.unwrap();
    assert!(!socket.exists());
}

/// Serves with these limits until the token that it returns is cancelled.
async fn serve_limited(socket: &Path, tcp: bool, limits: Limits) -> CancellationToken {
    let tcp = tcp.then_some(([127, 0, 0, 1], 0).into());
    let listeners = Listeners::bind(socket.parent().unwrap(), Some(socket), tcp).await.unwrap();
    let stop = CancellationToken::new();
    let state = ApiState::limited(Store::in_memory().unwrap(), stop.clone(), limits);
    tokio::spawn(serve(state, listeners, stop.clone()));
    stop
}

#[tokio::test]
async fn headers_over_the_limit_are_refused_by_their_code() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let stop = serve_limited(&socket, false, Limits { headers: 8192, ..Limits::default() }).await;
    for (length, line) in [(4000, "HTTP/1.1 200 "), (9000, "HTTP/1.1 431 ")] {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        let request = format!("GET /api HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(length));
        stream.write_all(request.as_bytes()).await.unwrap();
        // No further: what the server leaves unread it answers with a reset.
        let mut answer = [0; 13];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), line, "{length}");
    }
    stop.cancel();
}

/// Asks over a connection that stays open.
async fn ask_again(stream: &mut UnixStream) {
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        answer.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn a_connection_over_the_limit_is_answered_when_another_ends() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let stop = serve_limited(&socket, false, Limits { connections: 1, ..Limits::default() }).await;
    let mut first = UnixStream::connect(&socket).await.unwrap();
    ask_again(&mut first).await;
    let mut second = UnixStream::connect(&socket).await.unwrap();
    let mut asked = Box::pin(ask_again(&mut second));
    // Long enough for an answer that nothing holds back: as many rounds of the one that has the place.
    for _ in 0..50 {
        assert!(futures::poll!(&mut asked).is_pending(), "a second connection was served");
        ask_again(&mut first).await;
    }
    drop(first);
    asked.await;
    stop.cancel();
}

#[tokio::test]
async fn the_listener_that_nobody_calls_takes_no_place_from_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let stop = serve_limited(&socket, true, Limits { connections: 1, ..Limits::default() }).await;
    let config = Kubeconfig::from_yaml(&kubeconfig(dir.path()).unwrap()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    client.apiserver_version().await.unwrap();
    drop(client);
    ask_again(&mut UnixStream::connect(&socket).await.unwrap()).await;
    stop.cancel();
}

#[tokio::test]
async fn serving_ends_although_watches_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let listeners = Listeners::bind(dir.path(), Some(&socket), None).await.unwrap();
    let stop = CancellationToken::new();
    let state = ApiState::new(Store::in_memory().unwrap(), stop.clone());
    let serving = tokio::spawn(serve(state, listeners, stop.clone()));
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    stream.write_all(b"GET /api/v1/pods?watch=1&resourceVersion=0 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut begun = [0; 15];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200 OK");
    stop.cancel();
    serving.await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream is ended, not cut: {rest}");
}
