//! Owns a GET of a container: its headers, its redirects, how much of the reply is read, what its status means.
//! Never goes through a proxy, never follows a redirect to another host, and trusts any certificate: it asks whether
//! something answers, not who.
//!
//! Parity: `DoHTTPProbe` and `RedirectChecker` of `pkg/probe/http`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use url::Url;

use super::MAX_BYTES;
use crate::pod::probe::Outcome;

/// Redirects that are followed. Parity: `RedirectChecker`.
const MAX_REDIRECTS: usize = 10;
/// What Go's client says of a reply that does not come.
const TIMED_OUT: &str = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

/// What came back.
struct Reply {
    status: StatusCode,
    location: Option<String>,
    body: String,
}

/// Asks, and judges by the status: anything from 200 to below 400 is well.
pub async fn probe(url: &str, headers: &[(String, String)], timeout: Duration) -> Outcome {
    match ask(url, headers, timeout).await {
        Err(words) => Outcome::Failure { words: format!("Get {url:?}: {words}") },
        Ok(reply) if reply.status.is_success() => Outcome::Success,
        Ok(reply) if reply.status.is_redirection() => {
            Outcome::Warning { words: format!("Probe terminated redirects, Response body: {}", reply.body) }
        }
        Ok(reply) => {
            Outcome::Failure { words: format!("HTTP probe failed with statuscode: {}", reply.status.as_u16()) }
        }
    }
}

/// Asks for a hook, which is content with any reply. Parity: `runHTTPHandler`.
pub async fn hook(url: &str, headers: &[(String, String)], limit: Duration) -> Outcome {
    match ask(url, headers, limit).await {
        Ok(_) => Outcome::Success,
        Err(words) => Outcome::Failure { words: format!("Get {url:?}: {words}") },
    }
}

/// The last reply after redirects within the host.
async fn ask(url: &str, headers: &[(String, String)], timeout: Duration) -> Result<Reply, String> {
    let deadline = Instant::now() + timeout;
    let first = Url::parse(url).map_err(|error| error.to_string())?;
    let headers = all_headers(headers)?;
    let mut here = first.clone();
    for _ in 0..=MAX_REDIRECTS {
        let reply = tokio::time::timeout_at(deadline, once(&here, &headers, deadline));
        let reply = reply.await.unwrap_or_else(|_| Err(TIMED_OUT.to_owned()))?;
        match next(&here, &reply).filter(|next| next.host_str() == first.host_str()) {
            Some(next) => here = next,
            None => return Ok(reply),
        }
    }
    Err(format!("stopped after {MAX_REDIRECTS} redirects"))
}

/// Where a reply sends us, if it does.
fn next(here: &Url, reply: &Reply) -> Option<Url> {
    let moved = matches!(reply.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let place = reply.location.as_deref().filter(|_| moved)?;
    here.join(place).ok().filter(|next| matches!(next.scheme(), "http" | "https"))
}

/// The given headers with upstream's own; an empty value takes one of those away.
fn all_headers(given: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut out = HeaderMap::new();
    for (name, value) in given {
        let header = HeaderName::try_from(name).map_err(|_| format!("net/http: invalid header field name {name:?}"))?;
        let value =
            HeaderValue::from_str(value).map_err(|_| format!("net/http: invalid header field value for {name:?}"))?;
        out.append(header, value);
    }
    for (name, value) in [(USER_AGENT, super::USER_AGENT), (ACCEPT, "*/*")] {
        match out.get(&name) {
            None => drop(out.insert(name, HeaderValue::from_static(value))),
            Some(own) if own.is_empty() => drop(out.remove(name)),
            Some(_) => {}
        }
    }
    Ok(out)
}

async fn once(url: &Url, headers: &HeaderMap, deadline: Instant) -> Result<Reply, String> {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = super::connect(host, port, deadline).await?;
    if url.scheme() == "https" {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let stream = any_certificate()?.connect(name, stream).await.map_err(|error| {
            // A server that speaks plain HTTP answers the greeting with something that is no TLS record.
            let plain = error.to_string().contains("InvalidContentType");
            if plain { "http: server gave HTTP response to HTTPS client".to_owned() } else { error.to_string() }
        })?;
        exchange(stream, url, headers).await
    } else {
        exchange(stream, url, headers).await
    }
}

/// One request on one connection, which is then closed. Parity: probes keep no connection alive.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Url,
    headers: &HeaderMap,
) -> Result<Reply, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::get(target).body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    *request.headers_mut() = headers.clone();
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    if !headers.contains_key(HOST) {
        let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
        request.headers_mut().insert(HOST, host);
    }
    let talk = async {
        let reply = sender.send_request(request).await.map_err(|error| told(&error))?;
        let (head, mut body) = reply.into_parts();
        let mut kept = Vec::new();
        while kept.len() < MAX_BYTES
            && let Some(frame) = body.frame().await
        {
            let frame = frame.map_err(|error| told(&error))?;
            kept.extend_from_slice(frame.data_ref().map_or(&[][..], Bytes::as_ref));
        }
        kept.truncate(MAX_BYTES);
        let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Reply { status: head.status, location, body: String::from_utf8_lossy(&kept).into_owned() })
    };
    // The connection is driven here and dropped with the reply: whatever more would come is not read.
    // What goes wrong with it is told to the request.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        reply = talk => reply,
        never = drive => match never {},
    }
}

/// What went wrong with a connection; Go's word where it ends instead of a reply.
fn told(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn any_certificate() -> Result<TlsConnector, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Believes whatever certificate is shown, as `InsecureSkipVerify` does; the handshake itself is checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
