//! The real binary as a daemon of a test's own: started, killed, started again on the same data directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a condition may take before a test gives up; generous, because two cores may be shared by many tests.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A running `jobdock serve`, killed when dropped.
pub struct Daemon {
    process: Child,
    dir: PathBuf,
    arguments: Vec<String>,
}

impl Daemon {
    /// Starts the daemon on `dir` with further arguments.
    pub fn start(dir: &Path, arguments: &[&str]) -> Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Ok(Self { process: spawn(dir, &arguments)?, dir: dir.to_owned(), arguments })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL: what a crash does.
    pub fn crash(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts again on the same data directory after [`Daemon::crash`] or [`Daemon::stop`].
    pub fn restart(&mut self) -> Result<()> {
        self.process = spawn(&self.dir, &self.arguments)?;
        Ok(())
    }

    /// SIGTERM, and waits for the end. Fails where the daemon does not exit with 0.
    pub fn stop(&mut self) -> Result<()> {
        kill(Pid::from_raw(self.process.id().try_into()?), Signal::SIGTERM)?;
        let status = self.process.wait()?;
        if !status.success() {
            bail!("the daemon ended with {status}");
        }
        Ok(())
    }

    /// The text that `jobdock kubeconfig` prints, once the daemon answers.
    pub fn kubeconfig(&self) -> Result<String> {
        wait_for("the daemon to answer", || {
            let output = jobdock().arg("kubeconfig").arg("--data-dir").arg(&self.dir).output()?;
            Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
        })
    }

    /// A client of the daemon's TLS face, once it answers. The kubeconfig is read anew for each try: right after a
    /// restart it is still that of the process before, which had another port.
    pub async fn client(&self) -> Result<kube::Client> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let config = Kubeconfig::from_yaml(&self.kubeconfig()?)?;
            let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
            let client = kube::Client::try_from(config)?;
            match client.apiserver_version().await {
                Ok(_) => return Ok(client),
                Err(error) if Instant::now() > deadline => return Err(error).context("the daemon does not answer"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A test that fails must not leave its daemon behind; one that is gone already is fine.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The binary under test.
pub fn jobdock() -> Command {
    Command::new(env!("CARGO_BIN_EXE_jobdock"))
}

fn spawn(dir: &Path, arguments: &[String]) -> Result<Child> {
    jobdock()
        .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"])
        .arg(dir)
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .context("the daemon did not start")
}

/// Asks until `probe` has an answer; fails after [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} for {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
