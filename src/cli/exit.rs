//! Owns how a command ends: the exit codes, and the errors that decide them.
//! Never prints: `main` does, once.

use std::fmt;
use std::process::ExitCode;

/// Every Job became Complete, or the command did what was asked.
pub const OK: u8 = 0;
/// A Job failed, or the command could not do what was asked.
pub const FAILED: u8 = 1;
/// A manifest or the command line is wrong: nothing was started.
pub const USAGE: u8 = 2;
/// There is no container engine to run pods on.
pub const NO_ENGINE: u8 = 3;
/// `--timeout` passed; the code that coreutils' `timeout` uses.
pub const TIMED_OUT: u8 = 124;
/// Interrupted; the code that shells give a command that SIGINT ended.
pub const INTERRUPTED: u8 = 130;

/// Why a command could not do what was asked. The text says what is wrong, where, and what to do next.
#[derive(Debug)]
pub enum Failure {
    /// The caller must change a manifest or the command line.
    Usage(String),
    /// The caller must start a container engine, or say where it is.
    NoEngine(String),
    /// Everything else; the caller may try again.
    Broken(anyhow::Error),
}

impl Failure {
    /// The process's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::NoEngine(_) => NO_ENGINE,
            Self::Broken(_) => FAILED,
        }
    }

    /// [`Failure::code`] as `main` returns it.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// The text for a person, without `error:` before it; causes follow after a colon.
impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::NoEngine(text) => out.write_str(text),
            Self::Broken(error) => write!(out, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}
