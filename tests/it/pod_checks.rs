//! The looks of probes against servers of every temper: what is well, what is not, and in which words.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jobdock::pod::check;
use jobdock::pod::probe::{Check, Outcome};
use jobdock::runtime::fake::Fake;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Enough for any reply here; only a failing test takes so long.
const LONG: Duration = Duration::from_secs(30);
/// For what never answers.
const SHORT: Duration = Duration::from_millis(300);

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    (listener, port)
}

async fn http_server() -> u16 {
    let (listener, port) = listener().await;
    let header = |headers: &HeaderMap, name: &str| {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?").to_owned()).collect::<Vec<_>>().join(",")
    };
    let expect = move |headers: HeaderMap, wanted: &[(&str, &str)]| {
        let all = wanted.iter().all(|(name, value)| header(&headers, name) == *value);
        if all { StatusCode::OK } else { StatusCode::EXPECTATION_FAILED }
    };
    let agent = move |headers: HeaderMap| async move {
        expect(headers, &[("user-agent", "kube-probe/1.37"), ("accept", "*/*")])
    };
    let own = move |headers: HeaderMap| async move {
        expect(headers, &[("user-agent", "me"), ("accept", ""), ("host", "other"), ("x", "1,2")])
    };
    let code = |Path(code): Path<u16>| async move { StatusCode::from_u16(code).expect("a code") };
    let app = Router::new()
        .route("/status/{code}", get(code))
        .route("/agent", get(agent))
        .route("/own", get(own))
        .route("/here", get(|| async { Redirect::temporary("status/204") }))
        .route("/away", get(|| async { (StatusCode::FOUND, [("location", "http://other.invalid/")], "moved") }))
        .route("/loop", get(|| async { Redirect::permanent("/loop") }))
        .route("/big", get(|| async { "x".repeat(1 << 20).into_response() }))
        .route("/slow", get(|| async { std::future::pending::<()>().await }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

async fn look(check: Check, timeout: Duration) -> Outcome {
    check::probe(&Fake::new(), &check, timeout).await
}

fn failure(words: &str) -> Outcome {
    Outcome::Failure { words: words.to_owned() }
}

#[tokio::test]
async fn the_status_of_a_reply_decides() {
    let port = http_server().await;
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let ask = |path: &str| Check::Http { url: at(path), headers: Vec::new() };
    let redirected =
        |body: &str| Outcome::Warning { words: format!("Probe terminated redirects, Response body: {body}") };
    for (path, expected) in [
        ("/status/200", Outcome::Success),
        ("/status/299", Outcome::Success),
        ("/status/304", redirected("")),
        ("/status/399", redirected("")),
        ("/status/400", failure("HTTP probe failed with statuscode: 400")),
        ("/status/503", failure("HTTP probe failed with statuscode: 503")),
        ("/nowhere", failure("HTTP probe failed with statuscode: 404")),
        ("/here", Outcome::Success),
        ("/away", redirected("moved")),
        ("/loop", failure(&format!("Get {:?}: stopped after 10 redirects", at("/loop")))),
        ("/big", Outcome::Success),
        ("/agent", Outcome::Success),
    ] {
        assert_eq!(look(ask(path), LONG).await, expected, "{path}");
    }
    let headers = [("User-Agent", "me"), ("Accept", ""), ("Host", "other"), ("X", "1"), ("X", "2")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    assert_eq!(look(Check::Http { url: at("/own"), headers }, LONG).await, Outcome::Success);
    let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    assert_eq!(look(ask("/slow"), SHORT).await, failure(&format!("Get {:?}: {late}", at("/slow"))));
}

#[tokio::test]
async fn nobody_there_is_told_as_go_tells_it() {
    let (listener, port) = listener().await;
    drop(listener);
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    let url = format!("http://127.0.0.1:{port}/");
    let http = Check::Http { url: url.clone(), headers: Vec::new() };
    assert_eq!(look(http, LONG).await, failure(&format!("Get {url:?}: {refused}")));
    let tcp = Check::Tcp { host: "127.0.0.1".to_owned(), port };
    assert_eq!(look(tcp, LONG).await, failure(&refused));
    let grpc = Check::Grpc { host: "127.0.0.1".to_owned(), port, service: String::new() };
    let late = format!("timeout: failed to connect service \"127.0.0.1:{port}\" within 0s: context deadline exceeded");
    assert_eq!(look(grpc, SHORT).await, failure(&late));
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp_and_none_for_a_reply_that_ends() {
    let (listener, port) = listener().await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let tcp = Check::Tcp { host: "127.0.0.1".to_owned(), port };
    assert_eq!(look(tcp, LONG).await, Outcome::Success);
    let url = format!("http://127.0.0.1:{port}/");
    let outcome = look(Check::Http { url, headers: Vec::new() }, LONG).await;
    assert!(matches!(outcome, Outcome::Failure { .. }), "{outcome:?}");
}

#[tokio::test]
async fn any_certificate_will_do() {
    let made = rcgen::generate_simple_self_signed(vec!["nobody.example".to_owned()]).expect("a certificate");
    let key = made.signing_key.serialize_der();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.try_into().expect("a key"))
        .expect("a server");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    });
    let url = format!("https://127.0.0.1:{port}/");
    assert_eq!(look(Check::Http { url, headers: Vec::new() }, LONG).await, Outcome::Success);
    let plain = format!("https://127.0.0.1:{}/", http_server().await);
    let words = format!("Get {plain:?}: http: server gave HTTP response to HTTPS client");
    assert_eq!(look(Check::Http { url: plain, headers: Vec::new() }, LONG).await, failure(&words));
}

/// A health server: the service asked about says how it answers.
async fn health_server() -> u16 {
    let (listener, port) = listener().await;
    serve_health(listener);
    port
}

/// Serves as a health server until it is ended.
pub fn serve_health(listener: TcpListener) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(answer);
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    })
}

async fn answer(
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["user-agent"], "kube-probe/1.37");
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let service = body.get(7..).map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes).into_owned());
    let (status, code, message) = match service.as_str() {
        "" => (Some(1), "0", ""),
        "down" => (Some(2), "0", ""),
        "unknown" => (None, "5", "unknown service"),
        "none" => (None, "12", "no health here"),
        _slow => std::future::pending().await,
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().expect("a value"));
    trailers.insert("grpc-message", message.parse().expect("a value"));
    let data = status.map(|status| Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status])));
    let frames = data.into_iter().chain([Frame::trailers(trailers)]).map(Ok);
    Ok(hyper::Response::new(StreamBody::new(futures::stream::iter(frames))))
}

#[tokio::test]
async fn the_health_service_is_asked_as_grpc_health_probe_asks() {
    let port = health_server().await;
    for (service, timeout, expected) in [
        ("", LONG, Outcome::Success),
        ("down", LONG, failure("service unhealthy (responded with \"NOT_SERVING\")")),
        ("unknown", LONG, failure("error: health rpc probe failed: rpc error: code = NotFound desc = unknown service")),
        (
            "none",
            LONG,
            failure(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): no health here",
            ),
        ),
        ("slow", SHORT, failure("timeout: health rpc did not complete within 0s")),
    ] {
        let check = Check::Grpc { host: "127.0.0.1".to_owned(), port, service: service.to_owned() };
        assert_eq!(look(check, timeout).await, expected, "{service}");
    }
}

#[tokio::test]
async fn a_hook_is_content_with_any_reply_and_says_what_went_wrong_otherwise() {
    let port = http_server().await;
    let hook = async |check: Check, limit| check::hook(&Fake::new(), &check, limit).await;
    let http = |path: &str| Check::Http { url: format!("http://127.0.0.1:{port}{path}"), headers: Vec::new() };
    assert_eq!(hook(http("/status/500"), LONG).await, Ok(()));
    assert!(hook(http("/slow"), SHORT).await.is_err_and(|words| words.contains("context deadline exceeded")));
    let sleep = |time| Check::Sleep { time };
    assert_eq!(hook(sleep(Duration::from_millis(1)), LONG).await, Ok(()));
    let cut = Err("container terminated before sleep hook finished".to_owned());
    assert_eq!(hook(sleep(LONG), Duration::from_millis(1)).await, cut);
    let words = "invalid handler".to_owned();
    assert_eq!(hook(Check::Impossible { words: words.clone() }, LONG).await, Err(words));
}
