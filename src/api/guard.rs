//! Owns who is let in over TCP, and as whom: the bearer of a token, the holder of a certificate of ours; anybody for
//! health and version. Refuses requests that a browser was tricked into sending (foreign `Host` or `Origin`).
//! Never guards the unix socket: its file mode does. What a caller may do is for `access`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Uri, header};

use super::accounts::Accounts;
use super::call;
use super::caller::Caller;
use super::error::Problem;

/// What callers are measured by.
pub struct Guard {
    /// Who bears which token.
    accounts: Accounts,
    /// Host names and addresses under which this server is known.
    hosts: Vec<String>,
}

/// Whom the connection's certificate names.
#[derive(Clone, Debug)]
pub struct Peer(pub Caller);

impl Guard {
    /// Lets in whoever bears a token that `accounts` knows, or came with a certificate of ours, under any of `hosts`
    /// (names or addresses, without ports).
    pub fn new(accounts: Accounts, hosts: Vec<String>) -> Self {
        Self { accounts, hosts }
    }

    fn check(&self, request: &Request) -> Result<Caller, Problem> {
        self.check_host(request.headers(), request.uri())?;
        let known = match bearer(request.headers()) {
            Some(token) => self.accounts.caller(&token),
            None => request.extensions().get::<Peer>().map(|peer| peer.0.clone()),
        };
        match known {
            Some(caller) => Ok(caller),
            None if is_public(request.uri().path()) => Ok(Caller::anonymous()),
            None => Err(Problem::unauthorized()),
        }
    }

    /// A page of another origin may reach us through the user's browser, by a name of its own that resolves to us.
    fn check_host(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
        let host = call::text(headers, header::HOST).or_else(|| uri.authority().map(http::uri::Authority::as_str));
        if let Some(host) = host.filter(|host| !self.knows(host)) {
            return Err(Problem::refused_caller(&format!("the host {host:?} is not a name of this server")));
        }
        let origin = call::text(headers, header::ORIGIN);
        let foreign = |origin: &str| origin.split_once("://").is_none_or(|(_, host)| !self.knows(host));
        match origin {
            Some(origin) if foreign(origin) => {
                Err(Problem::refused_caller(&format!("requests from the origin {origin:?} are not allowed")))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// What a browser, whose WebSockets cannot have an `Authorization`, puts before its token among the protocols.
/// Parity: apiserver's `websocket.ProtocolAuthenticator`.
const BEARER_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// The token that a request bears.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let Some(sent) = call::text(headers, header::AUTHORIZATION) else { return protocol_bearer(headers) };
    let (_, token) = sent.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))?;
    Some(token.trim().to_owned())
}

fn protocol_bearer(headers: &HeaderMap) -> Option<String> {
    let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    let mut names = protocols.flat_map(|value| value.split(',')).map(str::trim);
    let token = names.find_map(|name| name.strip_prefix(BEARER_PROTOCOL))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

/// Parity: what `system:public-info-viewer` may read.
pub fn is_public(path: &str) -> bool {
    let first = path.trim_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "livez" | "readyz" | "healthz" | "version")
}

/// The middleware.
pub async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}
