//! The flags of `jobdock serve` that bound what clients may ask of the API at once.

use crate::daemon::Limits;

/// Limits of the API.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Limits of the API")]
pub struct Args {
    /// Requests under way at once, streams aside; more are answered 429 with Retry-After
    #[arg(long, env = "JOBDOCK_MAX_REQUESTS", value_name = "NUMBER", default_value_t = Limits::default().requests, value_parser = number)]
    max_requests: usize,

    /// Watches, followed logs and other streams under way at once; more are answered 429
    #[arg(long, env = "JOBDOCK_MAX_STREAMS", value_name = "NUMBER", default_value_t = Limits::default().streams, value_parser = number)]
    max_streams: usize,

    /// Connections at once; more wait until others end
    #[arg(long, env = "JOBDOCK_MAX_CONNECTIONS", value_name = "NUMBER", default_value_t = Limits::default().connections, value_parser = number)]
    max_connections: usize,

    /// Bytes of one request's body; more are answered 413
    #[arg(long, env = "JOBDOCK_MAX_REQUEST_BYTES", value_name = "BYTES", default_value_t = Limits::default().body, value_parser = number)]
    max_request_bytes: usize,

    /// Bytes of one request's headers; more are answered 431
    #[arg(long, env = "JOBDOCK_MAX_HEADER_BYTES", value_name = "BYTES", default_value_t = Limits::default().headers, value_parser = header_bytes)]
    max_header_bytes: usize,
}

impl Args {
    /// As the daemon takes them.
    pub fn limits(self) -> Limits {
        Limits {
            requests: self.max_requests,
            streams: self.max_streams,
            connections: self.max_connections,
            body: self.max_request_bytes,
            headers: self.max_header_bytes,
        }
    }
}

/// More than this of anything is a typing error, and more than a counter of permits holds.
const MOST: usize = 1 << 30;
/// Less than this holds no request that a Kubernetes client sends; the server's buffer has this as its least size.
const LEAST_HEADERS: usize = 8192;

fn number(text: &str) -> Result<usize, String> {
    within(text, 1)
}

fn header_bytes(text: &str) -> Result<usize, String> {
    within(text, LEAST_HEADERS)
}

fn within(text: &str, least: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (least..=MOST).contains(number));
    number.ok_or_else(|| format!("a whole number from {least} to {MOST} is wanted"))
}
