//! Owns a daemon of the benchmark's own, on a data directory of its own, and its clients.
//! Never measures.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::process::{Child, Command};

/// The unit of proc(5)'s times on every Linux that Rust has a tier for.
const TICKS_A_SECOND: u32 = 100;

/// A running `jobdock serve`.
pub struct Daemon {
    process: Child,
    dir: tempfile::TempDir,
}

impl Daemon {
    /// Starts it with further arguments; it may not answer yet.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let process = Command::new(env!("CARGO_BIN_EXE_jobdock"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"])
            .arg(dir.path())
            .args(arguments)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { process, dir })
    }

    /// A client with connections of its own, once the daemon answers.
    pub async fn client(&self) -> Result<kube::Client> {
        let config = kubeconfig(self.dir.path()).await?;
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// What the daemon has used of the processors so far, as proc(5) tells: fields 14 and 15 of `stat`, counted
    /// after the name in parentheses, in clock ticks.
    pub fn processor_time(&self) -> Result<Duration> {
        let id = self.process.id().context("the daemon still runs")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(Duration::from_secs(1) * ticks / TICKS_A_SECOND)
    }

    pub async fn stop(mut self) -> Result<()> {
        let id = self.process.id().context("the daemon still runs")?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id.try_into()?), nix::sys::signal::Signal::SIGTERM)?;
        let status = self.process.wait().await?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }
}

/// The kubeconfig of a daemon that is starting: asked for until it answers.
async fn kubeconfig(dir: &Path) -> Result<Kubeconfig> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let output =
            Command::new(env!("CARGO_BIN_EXE_jobdock")).arg("kubeconfig").arg("--data-dir").arg(dir).output().await?;
        if output.status.success() {
            return Ok(Kubeconfig::from_yaml(&String::from_utf8(output.stdout)?)?);
        }
        if Instant::now() > deadline {
            bail!("the daemon did not start: {}", String::from_utf8_lossy(&output.stderr));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
