//! Owns where the daemon's messages go: standard error, as text or JSON lines.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::exit::Failure;

/// Other crates' messages that are shown beside ours. The client's errors reach us as values, and are told once.
const OTHERS: &str = "warn,kube_client=off";

/// How messages look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for people.
    Text,
    /// A JSON object a line, for collectors.
    Json,
}

/// Starts showing messages. `level` is a level for jobdock's own, or a whole filter.
pub fn start(level: &str, format: Format) -> Result<(), Failure> {
    let directives = match level {
        "off" => "off".to_owned(),
        "error" | "warn" | "info" | "debug" | "trace" => format!("{OTHERS},jobdock={level}"),
        filter => filter.to_owned(),
    };
    let filter = EnvFilter::try_new(&directives).map_err(|error| {
        Failure::Usage(format!("--log-level {level}: {error}: give error, warn, info, debug, trace or a filter"))
    })?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => subscriber.with_ansi(colours).with_target(false).init(),
        Format::Json => subscriber.json().init(),
    }
    Ok(())
}
