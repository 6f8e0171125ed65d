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
/// There is no container engine to run pods on, or the cluster that was asked for does not answer.
pub const NO_ENGINE: u8 = 3;
/// `--timeout` passed; the code that coreutils' `timeout` uses.
pub const TIMED_OUT: u8 = 124;
/// Interrupted; the code that shells give a command that SIGINT ended.
pub const INTERRUPTED: u8 = 130;

/// Why a command could not do what was asked. The text says what is wrong, where, and what to do next.
#[derive(Debug)]
pub enum Failure {
    /// The caller must change a manifest or the command line. Each line that is not indented is a problem of its own.
    Usage(String),
    /// The caller must start a container engine or the cluster, or say where it is.
    NoEngine(String),
    /// The user interrupted the command before it had started anything.
    Interrupted,
    /// Everything else; the caller may try again.
    Broken(anyhow::Error),
}

impl Failure {
    /// The process's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::NoEngine(_) => NO_ENGINE,
            Self::Interrupted => INTERRUPTED,
            Self::Broken(_) => FAILED,
        }
    }

    /// Each problem, as one text.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = Vec::new();
        let is_list = matches!(self, Self::Usage(_));
        for line in self.to_string().lines() {
            match problems.last_mut() {
                Some(last) if !is_list || line.starts_with(' ') => {
                    last.push('\n');
                    last.push_str(line);
                }
                Some(_) | None => problems.push(line.to_owned()),
            }
        }
        problems
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
            Self::Interrupted => out.write_str("interrupted before anything was started"),
            Self::Broken(error) => out.write_str(&with_causes(error)),
        }
    }
}

/// An error with its causes. What a server said stands for itself: the client library would add the whole answer.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let status = match cause.downcast_ref() {
            Some(kube::Error::Api(status)) => Some(status),
            Some(_) | None => None,
        };
        let words = status.map_or_else(|| cause.to_string(), |status| status.message.clone());
        // Some causes quote their own cause.
        if !text.contains(&words) {
            let separator = if text.is_empty() { "" } else { ": " };
            text.push_str(separator);
            text.push_str(&words);
        }
        if status.is_some() {
            break;
        }
    }
    text
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}
