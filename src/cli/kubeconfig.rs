//! `jobdock kubeconfig`: prints what kubectl and client libraries need to reach the daemon.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::connect;
use super::exit::{self, Failure};
use super::local::Data;
use crate::daemon;

/// How long nobody may hold the data directory: the daemon may be starting just now.
const STARTING: Duration = Duration::from_secs(2);
/// How long who holds it may take to serve: an engine may be slow to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Print a kubeconfig for the daemon of this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use a client certificate made now, valid for a year, instead of the token
    #[arg(long)]
    client_certificate: bool,

    #[command(flatten)]
    data: Data,
}

/// Prints the kubeconfig on standard output, once a daemon that is starting has one.
pub async fn run(args: &Args) -> Result<u8, Failure> {
    let directory = args.data.directory()?;
    if let Err(error) = std::fs::read_dir(&directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(connect::failure(daemon::unusable(&directory, error).into()));
    }
    let begun = Instant::now();
    loop {
        if let Some(text) = daemon::kubeconfig(&directory, args.client_certificate)? {
            std::io::stdout().write_all(text.as_bytes())?;
            return Ok(exit::OK);
        }
        if !may_come(&directory, begun.elapsed()) {
            let flag = args.data.flag();
            return Err(Failure::Usage(format!(
                "no daemon has served {} yet: start one with `jobdock serve{flag}`",
                directory.display()
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether somebody may yet serve the directory, where nobody has for so long.
fn may_come(directory: &Path, waited: Duration) -> bool {
    match daemon::holder(directory) {
        // It has no address.
        Some(holder) if holder.passing => false,
        Some(_) => waited < PATIENCE,
        None => waited < STARTING,
    }
}
