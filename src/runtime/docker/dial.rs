//! Owns connections to ports of containers: from inside their network where this machine lets us in, else by their
//! address.
//! Never knows what is said on them.
//!
//! ```text
//! the engine's processes are this machine's, and we may enter their network -> 127.0.0.1 in there, then ::1
//! else                                                                      -> the address, from here
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::Deserialize;
use tokio::net::TcpStream;

use super::wire::Ask;
use super::{Docker, READ_LIMIT, containers};
use crate::runtime::Error;
use crate::runtime::failure::Act;
use crate::runtime::session::Pipe;

/// Time to connect. On one machine a port answers or refuses at once; one that drops packets does neither.
const LIMIT: Duration = Duration::from_secs(10);

/// What is to be known of a container.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    id: String,
    state: State,
    #[serde(default)]
    host_config: HostConfig,
    #[serde(default)]
    network_settings: NetworkSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    pid: i32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    networks: std::collections::BTreeMap<String, Endpoint>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(default, rename = "IPAddress")]
    address: String,
}

pub(super) async fn dial(docker: &Docker, name: &str, port: u16) -> Result<Pipe, Error> {
    containers::must_be_here(docker, name).await?;
    let reply = inspect(docker, name).await?;
    if !reply.state.running {
        return Err(Error::Refused(format!("Container {name} is not running")));
    }
    let refused = |error: io::Error| Error::Refused(format!("cannot connect to port {port} in the pod: {error}"));
    if is_process_here(reply.state.pid, &reply.id).await
        && let Some(outcome) = inside(reply.state.pid, port).await
    {
        return Ok(Box::new(outcome.map_err(refused)?));
    }
    let address = address(docker, reply).await?;
    let far = |error: io::Error| {
        Error::Refused(format!(
            "cannot connect to port {port} of {address}: {error}; a server that listens on 127.0.0.1 in its pod is reached \
             only by a jobdock that runs as root, on Linux, beside its engine"
        ))
    };
    let connected = tokio::time::timeout(LIMIT, TcpStream::connect((address, port))).await;
    Ok(Box::new(connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(far)?))
}

async fn inspect(docker: &Docker, name: &str) -> Result<Reply, Error> {
    containers::check_name(name)?;
    docker.wire().read(READ_LIMIT, Ask::get(Act::Session, name, format!("/containers/{name}/json"))).await
}

/// The address at which a container's network is reached from here.
async fn address(docker: &Docker, reply: Reply) -> Result<IpAddr, Error> {
    let holder = match reply.host_config.network_mode.as_str() {
        "host" => return Ok(Ipv4Addr::LOCALHOST.into()),
        mode => match mode.strip_prefix("container:") {
            Some(holder) => inspect(docker, holder).await?,
            None => reply,
        },
    };
    let mut addresses = holder.network_settings.networks.values().filter_map(|endpoint| endpoint.address.parse().ok());
    addresses
        .next()
        .ok_or_else(|| Error::Refused("the pod's network has no address that can be connected to".to_owned()))
}

/// Whether a number that the engine tells is that of a process on this machine, in that container.
pub(super) async fn is_process_here(pid: i32, container: &str) -> bool {
    let groups = tokio::fs::read_to_string(format!("/proc/{pid}/cgroup")).await.unwrap_or_default();
    pid > 1 && !container.is_empty() && groups.contains(container)
}

/// Connects from inside a process's network; none where we may not enter it.
#[cfg(target_os = "linux")]
async fn inside(pid: i32, port: u16) -> Option<io::Result<TcpStream>> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own, since what it enters it never leaves; the connection it makes stays where it was made.
    let entering = move || {
        let network = std::fs::File::open(format!("/proc/{pid}/ns/net")).ok()?;
        nix::sched::setns(network, nix::sched::CloneFlags::CLONE_NEWNET).ok()?;
        let here = [Ipv4Addr::LOCALHOST.into(), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)];
        let [first, second] = here.map(|ip| std::net::TcpStream::connect_timeout(&(ip, port).into(), LIMIT));
        // What 127.0.0.1 says is what people know.
        Some(first.or_else(|error| second.map_err(|_| error)))
    };
    let thread = std::thread::Builder::new().name("port".to_owned()).spawn(move || sender.send(entering()));
    thread.ok()?;
    let connected = receiver.await.ok()??;
    Some(connected.and_then(|stream| {
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }))
}

/// Elsewhere engines run in a machine of their own, whose processes are not ours.
#[cfg(not(target_os = "linux"))]
async fn inside(_: i32, _: u16) -> Option<io::Result<TcpStream>> {
    None
}
