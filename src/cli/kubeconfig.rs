//! `jobdock kubeconfig`: prints what kubectl and client libraries need to reach the daemon.

use std::io::Write as _;

use super::exit::{self, Failure};
use super::local::Data;
use crate::daemon;

/// Print a kubeconfig for the daemon of this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use a client certificate made now, valid for a year, instead of the token
    #[arg(long)]
    client_certificate: bool,

    #[command(flatten)]
    data: Data,
}

/// Prints the kubeconfig on standard output.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let directory = args.data.directory()?;
    let Some(text) = daemon::kubeconfig(&directory, args.client_certificate)? else {
        let flag = args.data.flag();
        return Err(Failure::Usage(format!(
            "no daemon has served {} yet: start one with `jobdock serve{flag}`",
            directory.display()
        )));
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(exit::OK)
}
