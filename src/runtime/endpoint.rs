//! Owns the search for the engine: which addresses are worth a try, in the order and with the precedence of the
//! docker command line. Reads environment and files through [`Surroundings`], so that tests bring their own.
//! Never connects: `docker::wire` dials what is found here.
//!
//! ```text
//! --host ─┐
//! DOCKER_HOST ─┤ named: the only candidate, its failure is final
//! DOCKER_CONTEXT, currentContext ─┘
//! nothing named ──> well-known sockets: Docker, rootless Docker, Docker Desktop, podman
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Error;

/// Port of an engine's TCP address without one, unencrypted.
const TCP_PORT: u16 = 2375;
/// Port of an engine's TCP address without one, with TLS.
const TLS_PORT: u16 = 2376;
/// The context that stands for "no context".
const DEFAULT_CONTEXT: &str = "default";

/// What the search looks at besides the host's file system.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Surroundings {
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let home = env.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from).or_else(home_by_uid);
        Surroundings { env, home }
    }

    /// A variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The docker command line's directory: `$DOCKER_CONFIG`, else `~/.docker`.
    pub fn docker_dir(&self) -> Option<PathBuf> {
        match self.var("DOCKER_CONFIG") {
            Some(dir) => Some(PathBuf::from(dir)),
            None => self.home.as_ref().map(|home| home.join(".docker")),
        }
    }
}

/// The home directory of a process without `HOME` (a service), from the user database.
fn home_by_uid() -> Option<PathBuf> {
    nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.dir)
}

/// How an engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP address, encrypted where there is `tls`.
    Tcp {
        /// Host name or address; an IPv6 address in brackets.
        host: String,
        /// Port.
        port: u16,
        /// Certificates, if TLS is wanted.
        tls: Option<TlsFiles>,
    },
    /// `ssh DESTINATION docker system dial-stdio`, as the docker command line does it.
    Ssh {
        /// `[user@]host`.
        destination: String,
        /// Port, if not ssh's own choice.
        port: Option<u16>,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
            Address::Ssh { destination, port: Some(port) } => write!(f, "ssh://{destination}:{port}"),
            Address::Ssh { destination, port: None } => write!(f, "ssh://{destination}"),
        }
    }
}

/// Certificates of an encrypted address, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who the engine must be signed by.
    pub ca: PathBuf,
    /// Our certificate and its key, if the engine asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// `ca.pem`, and `cert.pem` with `key.pem` where both are there.
    fn in_dir(dir: &Path) -> TlsFiles {
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        let client = (cert.exists() && key.exists()).then_some((cert, key));
        TlsFiles { ca: dir.join("ca.pem"), client }
    }
}

/// One address worth a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who named it: `--host`, `DOCKER_HOST`, `context "colima"`, `rootless Docker`.
    pub origin: String,
    /// Where it is.
    pub address: Address,
}

/// The addresses to try, best first. A named engine (flag, variable, context) is the only one, as with docker.
///
/// # Errors
/// [`Error::Refused`] where a named engine cannot be made sense of: bad address, unknown context, unreadable
/// configuration.
pub fn candidates(host: Option<&str>, around: &Surroundings) -> Result<Vec<Candidate>, Error> {
    if let Some(host) = host {
        return named("--host", host, around);
    }
    if let Some(host) = around.var("DOCKER_HOST") {
        return named("DOCKER_HOST", host, around);
    }
    match context_name(around)? {
        Some(context) => Ok(vec![from_context(&context, around)?]),
        None => Ok(well_known(around)),
    }
}

fn named(origin: &str, host: &str, around: &Surroundings) -> Result<Vec<Candidate>, Error> {
    let address = parse_address(host, tls_of_environment(around)?)
        .map_err(|problem| Error::Refused(format!("{origin} names the engine {host:?}: {problem}")))?;
    Ok(vec![Candidate { origin: origin.to_owned(), address }])
}

/// Certificates by `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`, as the docker command line reads them: any value but
/// the empty one asks for verification.
fn tls_of_environment(around: &Surroundings) -> Result<Option<TlsFiles>, Error> {
    if around.var("DOCKER_TLS_VERIFY").is_none() {
        return Ok(None);
    }
    let dir = around.var("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| around.docker_dir());
    let dir = dir.ok_or_else(|| Error::Refused("DOCKER_TLS_VERIFY is set, but there is no DOCKER_CERT_PATH".into()))?;
    Ok(Some(TlsFiles::in_dir(&dir)))
}

/// Reads an engine's address: `unix:///path`, `/path`, `tcp://host[:port]`, `https://…`, `ssh://[user@]host[:port]`.
fn parse_address(text: &str, tls: Option<TlsFiles>) -> Result<Address, String> {
    if text.starts_with('/') {
        return Ok(Address::Unix(PathBuf::from(text)));
    }
    let (scheme, rest) =
        text.split_once("://").ok_or("an address looks like unix:///path, tcp://host:port, ssh://host")?;
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Address::Unix(PathBuf::from(rest))),
        "unix" => Err("a unix address needs an absolute path: unix:///run/docker.sock".to_owned()),
        "https" if tls.is_none() => {
            Err("an https address needs DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, or a docker context".to_owned())
        }
        "tcp" | "http" | "https" => {
            let port = if tls.is_some() { TLS_PORT } else { TCP_PORT };
            let (host, given) = host_and_port(rest)?;
            Ok(Address::Tcp { host, port: given.unwrap_or(port), tls })
        }
        "ssh" => {
            let (destination, port) = host_and_port(rest)?;
            // A destination that begins with a dash would be read by ssh as an option.
            if destination.starts_with('-') {
                return Err("the host begins with a dash".to_owned());
            }
            Ok(Address::Ssh { destination, port })
        }
        other => Err(format!("{other:?} is not a way to reach an engine from here (unix, tcp and ssh are)")),
    }
}

/// Splits `[user@]host[:port][/]`; an IPv6 host keeps its brackets.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let text = text.trim_end_matches('/');
    if text.contains('/') {
        return Err("an engine's address has no path".to_owned());
    }
    let colon = text.rfind(':').filter(|at| !text[*at..].contains(']'));
    let (host, port) = match colon {
        None => (text, None),
        Some(at) => {
            let port = text[at + 1..].parse().map_err(|_| format!("{:?} is not a port", &text[at + 1..]))?;
            (&text[..at], Some(port))
        }
    };
    if host.is_empty() { Err("the host is missing".to_owned()) } else { Ok((host.to_owned(), port)) }
}

/// The part of docker's `config.json` that names the engine.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CliConfig {
    current_context: String,
}

/// The context in force, if it is not the default one.
fn context_name(around: &Surroundings) -> Result<Option<String>, Error> {
    let name = match around.var("DOCKER_CONTEXT") {
        Some(name) => name.to_owned(),
        None => {
            let Some(path) = around.docker_dir().map(|dir| dir.join("config.json")) else { return Ok(None) };
            match std::fs::read(&path) {
                Err(_) => return Ok(None),
                Ok(text) => {
                    let config: CliConfig = serde_json::from_slice(&text)
                        .map_err(|error| Error::Refused(format!("{} cannot be read: {error}", path.display())))?;
                    config.current_context
                }
            }
        }
    };
    Ok(Some(name).filter(|name| !name.is_empty() && name != DEFAULT_CONTEXT))
}

/// A context's `meta.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextMeta {
    #[serde(default)]
    endpoints: BTreeMap<String, ContextEndpoint>,
}

/// A context's engine.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextEndpoint {
    #[serde(default)]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// The engine of a docker context: `contexts/meta/ID/meta.json`, its certificates in `contexts/tls/ID/docker`, where ID
/// is the SHA-256 of the context's name.
fn from_context(name: &str, around: &Surroundings) -> Result<Candidate, Error> {
    let refuse = |problem: String| Error::Refused(format!("docker context {name:?}: {problem}"));
    let dir = around.docker_dir().ok_or_else(|| refuse("there is no home directory to look in".to_owned()))?;
    let id: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let meta = dir.join("contexts/meta").join(&id).join("meta.json");
    let text = std::fs::read(&meta).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::Refused(format!("docker context {name:?} does not exist; `docker context ls` shows what there is"))
        }
        _ => refuse(format!("{} cannot be read ({error})", meta.display())),
    })?;
    let parsed: ContextMeta = serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
    let endpoint =
        parsed.endpoints.get("docker").cloned().ok_or_else(|| refuse("it names no docker engine".to_owned()))?;
    let certificates = dir.join("contexts/tls").join(&id).join("docker");
    if endpoint.skip_tls_verify && certificates.exists() {
        // Differs: the docker command line would go on without knowing whom it talks to.
        return Err(refuse("it skips the check of the engine's certificate, which jobdock does not".to_owned()));
    }
    let tls = certificates.join("ca.pem").exists().then(|| TlsFiles::in_dir(&certificates));
    let address = parse_address(&endpoint.host, tls).map_err(refuse)?;
    Ok(Candidate { origin: format!("context {name:?}"), address })
}

/// The sockets that engines make where nobody says otherwise.
fn well_known(around: &Surroundings) -> Vec<Candidate> {
    let run = around.var("XDG_RUNTIME_DIR").map(PathBuf::from);
    let docker = around.home.as_ref().map(|home| home.join(".docker"));
    let at = |origin: &str, dir: Option<&PathBuf>, rest: &str| {
        dir.map(|dir| Candidate { origin: origin.to_owned(), address: Address::Unix(dir.join(rest)) })
    };
    let root = PathBuf::from("/");
    [
        at("Docker", Some(&root), "var/run/docker.sock"),
        at("rootless Docker", run.as_ref(), "docker.sock"),
        at("rootless Docker", docker.as_ref(), "run/docker.sock"),
        at("Docker Desktop", docker.as_ref(), "desktop/docker.sock"),
        at("rootless podman", run.as_ref(), "podman/podman.sock"),
        at("podman", Some(&root), "run/podman/podman.sock"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What was tried and why it failed, with the remedy: the source of the error where no engine answers.
#[derive(Debug)]
pub struct NoEngine {
    /// Each address with its reason, in the order tried.
    pub tried: Vec<(Candidate, String)>,
}

impl NoEngine {
    /// The whole as the runtime's error.
    pub fn into_error(self) -> Error {
        let mut endpoint = match self.tried.first() {
            Some((first, _)) => first.address.to_string(),
            None => "any well-known address".to_owned(),
        };
        if self.tried.len() > 1 {
            endpoint += &format!(" (or {} other places)", self.tried.len() - 1);
        }
        Error::Unreachable { endpoint, source: Box::new(self) }
    }

    fn remedy(&self) -> &'static str {
        if self.tried.iter().any(|(_, reason)| reason.contains("ermission denied")) {
            "An engine is there, but its socket is not for this user: join the group `docker` (and log in again), \
             or run as root."
        } else {
            "Start Docker (`systemctl start docker`) or podman (`systemctl start podman.socket`), or say where the \
             engine is: --host unix:///path/docker.sock, DOCKER_HOST, or `docker context use NAME`."
        }
    }
}

impl fmt::Display for NoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no container engine was found; tried:")?;
        for (candidate, reason) in &self.tried {
            writeln!(f, "  {} ({}): {reason}", candidate.address, candidate.origin)?;
        }
        write!(f, "{}", self.remedy())
    }
}

impl std::error::Error for NoEngine {}
