//! Owns the flags about the daemon of this machine that several commands share, and the place of its data.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use jiff::SignedDuration;

use super::exit::Failure;
use super::log::Format;
use crate::daemon::{
    Config, DEFAULT_THRESHOLDS, ImagePolicy, Limits, LogLimits, Runtime, Threshold, device, thresholds,
};
use crate::model::quantity::Quantity;

/// Where root's daemon keeps its data.
const ROOT_DIRECTORY: &str = "/var/lib/jobdock";
/// Where a user's does, under the home directory, if `$XDG_STATE_HOME` does not say otherwise.
const USER_DIRECTORY: &str = ".local/state/jobdock";

/// Where the daemon's data is.
#[derive(Clone, Debug, clap::Args)]
pub struct Data {
    /// Data directory; by default $XDG_STATE_HOME/jobdock or ~/.local/state/jobdock, for root /var/lib/jobdock
    #[arg(long, env = "JOBDOCK_DATA_DIR", value_name = "DIR", help_heading = DAEMON)]
    data_dir: Option<PathBuf>,
}

/// The daemon that a command starts.
#[derive(Clone, Debug, clap::Args)]
pub struct Local {
    #[command(flatten)]
    pub data: Data,

    /// Container engine, e.g. unix:///run/docker.sock or tcp://HOST:2376; found as the docker CLI finds it by default
    #[arg(long, env = "JOBDOCK_HOST", value_name = "URL", help_heading = DAEMON)]
    pub host: Option<String>,

    /// What runs pods; `fake` is for tests and benchmarks: it only pretends
    #[arg(long, env = "JOBDOCK_RUNTIME", value_enum, default_value = "docker", help_heading = DAEMON)]
    pub runtime: Engine,

    /// First delay before a failed pod is tried again; each further one is twice as long
    #[arg(long, env = "JOBDOCK_BACKOFF_BASE", value_name = "DURATION", default_value = "10s", value_parser = duration, help_heading = DAEMON)]
    pub backoff_base: SignedDuration,

    /// Longest delay before a failed pod is tried again
    #[arg(long, env = "JOBDOCK_BACKOFF_CAP", value_name = "DURATION", default_value = "10m", value_parser = duration, help_heading = DAEMON)]
    pub backoff_cap: SignedDuration,

    /// Bytes of container output that are kept of one pod, the newest; what is older goes
    #[arg(long, env = "JOBDOCK_LOG_LIMIT_PER_POD", value_name = "QUANTITY", default_value = "1Gi", value_parser = bytes, help_heading = DAEMON)]
    pub log_limit_per_pod: u64,

    /// Bytes of container output that are kept in all; output of containers that ended first goes first
    #[arg(long, env = "JOBDOCK_LOG_LIMIT", value_name = "QUANTITY", default_value = "10Gi", value_parser = bytes, help_heading = DAEMON)]
    pub log_limit: u64,

    /// When this machine is short of memory, disk or processes: it takes no new pods then and evicts, one by one, those that
    /// take most. Signals: memory.available, nodefs.available, nodefs.inodesFree, imagefs.available, pid.available; "" for none
    #[arg(long, env = "JOBDOCK_EVICTION_HARD", value_name = "SIGNAL<QUANTITY,...", default_value = DEFAULT_THRESHOLDS, value_parser = eviction, help_heading = DAEMON)]
    pub eviction_hard: Thresholds,

    /// Processes that each container may have, at most; 0 for no limit
    #[arg(long, env = "JOBDOCK_POD_PIDS_LIMIT", value_name = "COUNT", default_value_t = 0, help_heading = DAEMON)]
    pub pod_pids_limit: u64,

    /// Devices that pods may have by a resource of that name (limits of nvidia.com/gpu), each of one pod at a time, e.g.
    /// nvidia.com/gpu=0,1; may be repeated. Those with numbers that the engine has found (CDI) are offered without it
    #[arg(long, env = "JOBDOCK_DEVICES", value_name = "RESOURCE=ID,...", value_delimiter = ';', value_parser = device, help_heading = DAEMON)]
    pub device: Vec<(String, Vec<String>)>,

    /// Daemon messages to show: error, warn, info, debug, trace, or a filter such as jobdock::pod=debug
    #[arg(long, env = "JOBDOCK_LOG_LEVEL", value_name = "LEVEL", help_heading = DAEMON)]
    pub log_level: Option<String>,

    /// How daemon messages look
    #[arg(long, env = "JOBDOCK_LOG_FORMAT", value_enum, default_value = "text", help_heading = DAEMON)]
    pub log_format: Format,
}

/// Heading of these flags in `--help`.
pub const DAEMON: &str = "Daemon";

/// What runs pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The Docker engine.
    Docker,
    /// Nothing: containers are pretended.
    Fake,
}

impl From<Engine> for Runtime {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Docker => Self::Docker,
            Engine::Fake => Self::Fake,
        }
    }
}

impl Local {
    /// A daemon that serves its unix socket and runs pods.
    pub fn config(&self) -> Result<Config, Failure> {
        Ok(Config {
            data_dir: self.data.directory()?,
            passing: true,
            listen: None,
            also_listen: Vec::new(),
            host: self.host.clone(),
            runtime: self.runtime.into(),
            node: true,
            node_name: None,
            stop_pods_on_exit: false,
            account_access: true,
            limits: Limits::default(),
            backoff_base: self.backoff_base,
            backoff_cap: self.backoff_cap,
            thresholds: self.eviction_hard.0.clone(),
            image_gc: ImagePolicy::default(),
            pids_limit: Some(self.pod_pids_limit).filter(|most| *most > 0),
            devices: self.device.iter().cloned().collect(),
            logs: LogLimits { pod: self.log_limit_per_pod, total: self.log_limit, ..LogLimits::default() },
        })
    }
}

impl Data {
    /// The data directory.
    pub fn directory(&self) -> Result<PathBuf, Failure> {
        if let Some(given) = &self.data_dir {
            return Ok(std::path::absolute(given)?);
        }
        let root = nix::unistd::geteuid().is_root();
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        default_directory(root, variable("XDG_STATE_HOME"), variable("HOME")).ok_or_else(|| {
            Failure::Usage("no place for data: neither HOME nor XDG_STATE_HOME is set; give --data-dir DIR".to_owned())
        })
    }

    /// The flag that leads other commands to the same data, with a space before it; empty where none is needed.
    pub fn flag(&self) -> String {
        self.data_dir.as_ref().map(|given| format!(" --data-dir {}", given.display())).unwrap_or_default()
    }
}

fn default_directory(root: bool, state: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    match (state, root, home) {
        (Some(state), _, _) => Some(state.join("jobdock")),
        (None, true, _) => Some(PathBuf::from(ROOT_DIRECTORY)),
        (None, false, home) => Some(home?.join(USER_DIRECTORY)),
    }
}

/// Reads `90`, `90s`, `1m30s`, `1h` or `PT1H`; a plain number is seconds.
pub fn duration(text: &str) -> Result<SignedDuration, String> {
    let parsed = match text.parse::<u32>() {
        Ok(seconds) => SignedDuration::from_secs(seconds.into()),
        Err(_) => text.parse().map_err(|_| "give a duration such as 90s, 5m or 1h30m".to_owned())?,
    };
    if parsed.is_negative() { Err("a duration cannot be negative".to_owned()) } else { Ok(parsed) }
}

/// Reads `127.0.0.1:7443`, `[::1]:7443` or `localhost:7443`.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    local.as_deref().unwrap_or(text).parse().map_err(|_| "give IP:PORT, as 127.0.0.1:7443".to_owned())
}

/// Reads a time that something may take: none at all is a mistake.
pub fn limit(text: &str) -> Result<SignedDuration, String> {
    let limit = duration(text)?;
    if limit.is_zero() { Err("give a time longer than 0".to_owned()) } else { Ok(limit) }
}

/// Thresholds in a type of their own: clap takes a list for a flag that is given several times.
#[derive(Clone, Debug)]
pub struct Thresholds(Vec<Threshold>);

fn eviction(text: &str) -> Result<Thresholds, String> {
    thresholds(text).map(Thresholds)
}

/// Reads a number of bytes as Kubernetes writes quantities: `500Mi`, `1G`, `1048576`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let quantity = Quantity::parse(text).map_err(|_| "give a quantity such as 500Mi or 10Gi".to_owned())?;
    u64::try_from(quantity.units()).map_err(|_| "a size cannot be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(root: bool, state: Option<&str>, home: Option<&str>, expected: Option<&str>) {
        let found = default_directory(root, state.map(PathBuf::from), home.map(PathBuf::from));
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn a_users_data_is_in_the_state_directory() {
        check(false, Some("/s"), Some("/h"), Some("/s/jobdock"));
        check(false, None, Some("/h"), Some("/h/.local/state/jobdock"));
        check(false, None, None, None);
    }

    #[test]
    fn roots_data_is_in_var_lib() {
        check(true, None, Some("/root"), Some("/var/lib/jobdock"));
    }

    #[test]
    fn sizes_are_read_as_quantities() {
        assert_eq!(bytes("1Ki"), Ok(1024));
        assert_eq!(bytes("2G"), Ok(2_000_000_000));
        assert_eq!(bytes("0"), Ok(0));
        assert!(bytes("much").is_err());
        assert!(bytes("-1").is_err());
    }

    #[test]
    fn addresses_are_read_with_their_port_and_may_be_local() {
        let local = "127.0.0.1:7443".parse().unwrap();
        assert_eq!(address("localhost:7443"), Ok(local));
        assert_eq!(address("127.0.0.1:7443"), Ok(local));
        assert!(address("[::1]:7443").is_ok());
        for text in ["7443", "localhost", "example.com:7443", ":7443"] {
            assert_eq!(address(text), Err("give IP:PORT, as 127.0.0.1:7443".to_owned()), "{text}");
        }
    }

    #[test]
    fn a_limit_of_no_time_is_refused() {
        assert_eq!(limit("2s"), Ok(SignedDuration::from_secs(2)));
        assert!(limit("0").is_err());
        assert!(limit("0ms").is_err());
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("90"), Ok(SignedDuration::from_secs(90)));
        assert_eq!(duration("1m30s"), Ok(SignedDuration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(SignedDuration::from_millis(250)));
        assert!(duration("soon").is_err());
        assert!(duration("-1s").is_err());
    }
}
