//! Owns who may call over TCP: the bearer of the token; anybody for health and version. Refuses requests that a browser
//! was tricked into sending (foreign `Host` or `Origin`). Never guards the unix socket: its file mode does.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri, header};
use sha2::{Digest, Sha256};

use super::call;
use super::error::Problem;

/// What callers are measured by.
pub struct Guard {
    /// Digest of the token, so that comparing takes the same time whatever was sent.
    token: [u8; 32],
    /// Host names and addresses under which this server is known.
    hosts: Vec<String>,
}

impl Guard {
    /// Lets in whoever has `token`, under any of `hosts` (names or addresses, without ports).
    pub fn new(token: &str, hosts: Vec<String>) -> Self {
        Self { token: digest(token), hosts }
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        self.check_host(request.headers(), request.uri())?;
        if is_public(request.uri().path()) {
            return Ok(());
        }
        let sent = call::text(request.headers(), header::AUTHORIZATION).unwrap_or_default();
        let token = sent.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        match token {
            Some((_, token)) if same(&digest(token.trim()), &self.token) => Ok(()),
            Some(_) | None => Err(Problem::unauthorized()),
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

/// Parity: what `system:public-info-viewer` may read.
fn is_public(path: &str) -> bool {
    let first = path.trim_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "livez" | "readyz" | "healthz" | "version")
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Compares in constant time.
fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right)) == 0
}

/// The middleware.
pub async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
