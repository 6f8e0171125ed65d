//! Owns the looks themselves: a command, a connection, a GET, a health request, each within its time; and the sleep of
//! a hook. Never decides what follows from the outcome: `probe` counts, `plan` acts.
//!
//! Parity: `pkg/probe` for the rules, Go's words for what goes wrong with a connection.

mod grpc;
mod http;

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::probe::{Check, Outcome};
use crate::runtime::Runtime;
use crate::runtime::session::{self, Ran};

/// Bytes of a reply or of a command's output that are read. Parity: `maxRespBodyLength`, `maxReadLength`.
const MAX_BYTES: usize = 10 * 1024;
/// Who asks. Parity: `kube-probe/MAJOR.MINOR`.
const USER_AGENT: &str = "kube-probe/1.37";
/// Pause before a connection for a health request is tried again.
const RECONNECT: Duration = Duration::from_millis(100);

/// One look for a probe.
pub async fn probe(engine: &dyn Runtime, check: &Check, timeout: Duration) -> Outcome {
    match check {
        Check::Exec { name, command } => exec(engine, name, command, timeout).await,
        Check::Http { url, headers } => http::probe(url, headers, timeout).await,
        Check::Tcp { host, port } => match connect(host, *port, Instant::now() + timeout).await {
            Ok(_) => Outcome::Success,
            Err(words) => Outcome::Failure { words },
        },
        Check::Grpc { host, port, service } => grpc::probe(host, *port, service, timeout).await,
        Check::Sleep { .. } => Outcome::Unknown { words: "a probe cannot sleep".to_owned() },
        Check::Impossible { words } => Outcome::Unknown { words: words.clone() },
    }
}

/// One hook, within `limit`; the words of what went wrong, as the kubelet tells them.
///
/// # Errors
/// Those words.
pub async fn hook(engine: &dyn Runtime, check: &Check, limit: Duration) -> Result<(), String> {
    let outcome = match check {
        Check::Sleep { time } => match tokio::time::timeout(limit, tokio::time::sleep(*time)).await {
            Ok(()) => return Ok(()),
            Err(_) => return Err("container terminated before sleep hook finished".to_owned()),
        },
        Check::Http { url, headers } => http::hook(url, headers, limit).await,
        Check::Exec { name, command } => return exec_hook(engine, name, command, limit).await,
        Check::Tcp { .. } | Check::Grpc { .. } => Outcome::Unknown { words: "invalid handler".to_owned() },
        Check::Impossible { words } => Outcome::Unknown { words: words.clone() },
    };
    match outcome {
        Outcome::Success | Outcome::Warning { .. } => Ok(()),
        Outcome::Failure { words } | Outcome::Unknown { words } => Err(words),
    }
}

async fn exec(engine: &dyn Runtime, name: &str, command: &[String], timeout: Duration) -> Outcome {
    match session::run(engine, name, command, timeout, MAX_BYTES).await {
        Ok(Ran::Exited { code: 0, .. }) => Outcome::Success,
        Ok(Ran::Exited { output, .. }) => Outcome::Failure { words: String::from_utf8_lossy(&output).into_owned() },
        Ok(Ran::TimedOut { .. }) => {
            let words = format!("command timed out: {:?} timed out after {}s", command.join(" "), timeout.as_secs());
            Outcome::Failure { words }
        }
        Err(error) => Outcome::Unknown { words: error.to_string() },
    }
}

async fn exec_hook(engine: &dyn Runtime, name: &str, command: &[String], limit: Duration) -> Result<(), String> {
    match session::run(engine, name, command, limit, MAX_BYTES).await {
        Ok(Ran::Exited { code: 0, .. }) => Ok(()),
        Ok(Ran::Exited { code, output }) => {
            let output = String::from_utf8_lossy(&output);
            Err(format!("command '{}' exited with {code}: , message: {output:?}", command.join(" ")))
        }
        Ok(Ran::TimedOut { .. }) => Err(format!("command '{}' was not over in time", command.join(" "))),
        Err(error) => Err(error.to_string()),
    }
}

/// A connection, or Go's words for why there is none.
async fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, String> {
    let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    match tokio::time::timeout_at(deadline, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("dial tcp {place}: connect: {}", io_words(&error))),
        Err(_) => Err(format!("dial tcp {place}: i/o timeout")),
    }
}

/// What the system says, in its own words rather than with their number.
fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        _other => error.to_string(),
    }
}
