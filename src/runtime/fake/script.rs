//! PURE. Owns what a fake container does: its output, its end, its answer to SIGTERM, worked out from its command line
//! and environment before it starts.
//! Never runs anything.
//!
//! Said outright, by the environment (each variable alone is enough, and the command line is then not looked at):
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `FAKE_EXIT` | exit code | 0 |
//! | `FAKE_RUN_MS` | milliseconds until it ends; `forever` | 0 |
//! | `FAKE_LOG` | lines that it prints at its start | none |
//! | `FAKE_OOM` | `1`: the OOM killer ends it, with 137 | |
//! | `FAKE_START_ERROR` | it cannot start, with these words | |
//!
//! and for any container, how SIGTERM ends it (a real one as process 1 often ignores it; here it ends with 143):
//! `FAKE_TERM=ignore`, `FAKE_TERM_MS`, `FAKE_TERM_EXIT`.
//!
//! Else by its command line: `sh -c TEXT` is read by `shell`; `true`, `false`, `echo`, `sleep` and `exit`
//! mean what they say; a program whose name holds `missing` is not found; any other program ends with 0 at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::shell;

/// Exit code of a SIGTERM that nothing handles.
const TERMINATED: i32 = 143;
/// Exit code of a SIGKILL, which is what the OOM killer sends.
const KILLED: i32 = 137;
/// A program whose name holds this is not there.
const MISSING: &str = "missing";

/// What a container does once it is started.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Its output, in order.
    pub lines: Vec<Line>,
    /// How it ends by itself; never, where absent.
    pub end: Option<End>,
    /// What SIGTERM does.
    pub on_term: OnTerm,
    /// Why it cannot start, if it cannot.
    pub start_error: Option<String>,
}

/// One line of output.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Time since the start.
    pub after: Duration,
    /// On standard error.
    pub stderr: bool,
    /// Its text.
    pub text: String,
    /// Without a line's end.
    pub partial: bool,
}

impl Line {
    /// The same line, this much later.
    pub fn later(mut self, by: Duration) -> Line {
        self.after += by;
        self
    }
}

/// A container's end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct End {
    /// Time since the start.
    pub after: Duration,
    /// Exit code.
    pub code: i32,
    /// By the OOM killer.
    pub oom_killed: bool,
}

/// What SIGTERM does to it.
#[derive(Clone, Debug, PartialEq)]
pub enum OnTerm {
    /// Nothing.
    Ignore,
    /// It ends.
    Exit {
        /// Time from the signal to the end.
        after: Duration,
        /// Exit code.
        code: i32,
        /// Last words; their times count from the signal.
        lines: Vec<Line>,
    },
}

impl Script {
    /// Runs until a signal comes.
    pub fn for_ever() -> Script {
        Script { end: None, ..Script::ending(Duration::ZERO, 0) }
    }

    fn ending(after: Duration, code: i32) -> Script {
        Script {
            lines: Vec::new(),
            end: Some(End { after, code, oom_killed: false }),
            on_term: OnTerm::Exit { after: Duration::ZERO, code: TERMINATED, lines: Vec::new() },
            start_error: None,
        }
    }
}

/// Reads a container's command line and environment.
pub fn script(argv: &[String], env: &[String], hostname: Option<&str>) -> Script {
    let variables = variables(env, hostname);
    let mut script = outright(&variables).unwrap_or_else(|| by_command(argv, &variables));
    if let Some(on_term) = term(&variables) {
        script.on_term = on_term;
    }
    script
}

/// Reads a command that is run beside a container's own: only its command line says what it does.
pub fn command(argv: &[String], env: &[String], hostname: Option<&str>) -> Script {
    by_command(argv, &variables(env, hostname))
}

fn variables(env: &[String], hostname: Option<&str>) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    variables.insert("HOSTNAME".to_owned(), hostname.unwrap_or("fake").to_owned());
    for entry in env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        variables.insert(name.to_owned(), value.to_owned());
    }
    variables
}

fn outright(env: &BTreeMap<String, String>) -> Option<Script> {
    let names = ["FAKE_EXIT", "FAKE_RUN_MS", "FAKE_LOG", "FAKE_OOM", "FAKE_START_ERROR"];
    if !names.iter().any(|name| env.contains_key(*name)) {
        return None;
    }
    let oom_killed = env.get("FAKE_OOM").is_some_and(|value| value == "1");
    let code = number(env, "FAKE_EXIT").unwrap_or(if oom_killed { KILLED } else { 0 });
    let mut script = Script::ending(millis(env, "FAKE_RUN_MS"), code);
    if env.get("FAKE_RUN_MS").is_some_and(|value| value == "forever") {
        script.end = None;
    }
    if let Some(end) = &mut script.end {
        end.oom_killed = oom_killed;
    }
    let text = env.get("FAKE_LOG").map(String::as_str).unwrap_or_default();
    let line = |text: &str| Line { after: Duration::ZERO, stderr: false, text: text.to_owned(), partial: false };
    script.lines = text.lines().map(line).collect();
    script.start_error = env.get("FAKE_START_ERROR").cloned();
    Some(script)
}

fn term(env: &BTreeMap<String, String>) -> Option<OnTerm> {
    if env.get("FAKE_TERM").is_some_and(|value| value == "ignore") {
        return Some(OnTerm::Ignore);
    }
    let said = ["FAKE_TERM_MS", "FAKE_TERM_EXIT"].iter().any(|name| env.contains_key(*name));
    let code = number(env, "FAKE_TERM_EXIT").unwrap_or(TERMINATED);
    said.then(|| OnTerm::Exit { after: millis(env, "FAKE_TERM_MS"), code, lines: Vec::new() })
}

fn number(env: &BTreeMap<String, String>, name: &str) -> Option<i32> {
    env.get(name)?.parse().ok()
}

fn millis(env: &BTreeMap<String, String>, name: &str) -> Duration {
    Duration::from_millis(env.get(name).and_then(|value| value.parse().ok()).unwrap_or(0))
}

fn by_command(argv: &[String], env: &BTreeMap<String, String>) -> Script {
    let Some((program, rest)) = argv.split_first() else { return Script::ending(Duration::ZERO, 0) };
    if program.contains(MISSING) {
        let error = format!("exec: {program:?}: executable file not found in $PATH: unknown");
        return Script { start_error: Some(error), ..Script::ending(Duration::ZERO, 127) };
    }
    let name = program.rsplit('/').next().unwrap_or(program);
    let flags = rest.first().map(String::as_str).unwrap_or_default();
    let run = match (name, rest) {
        ("sh" | "bash" | "ash" | "dash", [_, text, ..]) if flags.starts_with('-') && flags.ends_with('c') => {
            shell::run_text(text, env, flags.contains('e'))
        }
        _ => shell::run_words(argv, env),
    };
    let mut script = Script::ending(run.elapsed, run.code);
    script.lines = run.lines;
    if run.for_ever {
        script.end = None;
    }
    if let Some(text) = run.trap {
        let handler = shell::run_text(&text, env, false);
        // A handler that does not exit leaves the program running.
        script.on_term = if handler.exited {
            OnTerm::Exit { after: handler.elapsed, code: handler.code, lines: handler.lines }
        } else {
            OnTerm::Ignore
        };
    }
    script
}
