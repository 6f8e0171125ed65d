//! The real binary as a person or a build runs it: arguments and standard input in, exit code and texts out.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::daemon::{PATIENCE, jobdock};

/// A place for a test's data, manifests and processes.
pub struct Place {
    dir: tempfile::TempDir,
    runtime: &'static str,
}

/// What a command left.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// Pods are pretended.
    pub fn fake() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), runtime: "fake" }
    }

    /// Pods run on the real engine.
    pub fn docker() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), runtime: "docker" }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory of its daemons.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes a manifest and returns its name; commands run beside it.
    pub fn file<'a>(&self, name: &'a str, text: &str) -> &'a str {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        name
    }

    /// A command that is ready to be started here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = jobdock();
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("JOBDOCK_") || name == "NO_COLOR") {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.path())
            .env("JOBDOCK_DATA_DIR", self.data())
            .env("JOBDOCK_RUNTIME", self.runtime)
            .env("JOBDOCK_BACKOFF_BASE", "50ms")
            .env("JOBDOCK_BACKOFF_CAP", "200ms")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `jobdock ARGUMENTS` to its end.
    pub fn jobdock(&self, arguments: &[&str]) -> Ended {
        Running::of(self.command(arguments)).end()
    }

    /// Starts `jobdock ARGUMENTS`.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments))
    }

    /// Runs `jobdock ARGUMENTS` with a text on standard input.
    pub fn with_stdin(&self, arguments: &[&str], text: &str) -> Ended {
        let mut command = self.command(arguments);
        let mut process = command.stdin(Stdio::piped()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Running::from(process).end()
    }
}

/// A command under way; killed when dropped.
pub struct Running {
    process: Child,
    stdout: Text,
    stderr: Text,
}

/// What a command has written so far.
struct Text {
    so_far: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Text {
    fn of(mut from: impl Read + Send + 'static) -> Self {
        let so_far = Arc::new(Mutex::new(String::new()));
        let to = Arc::clone(&so_far);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            let mut rest = Vec::new();
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                rest.extend_from_slice(&bytes[..count]);
                // A character may be cut in two; a terminal's lines need not end.
                let whole = std::str::from_utf8(&rest).map_or_else(|cut| cut.valid_up_to(), str::len);
                to.lock().unwrap().push_str(std::str::from_utf8(&rest[..whole]).unwrap());
                rest.drain(..whole);
            }
            to.lock().unwrap().push_str(std::str::from_utf8(&rest).unwrap());
        });
        Self { so_far, reader: Some(reader) }
    }

    fn end(&mut self) -> String {
        self.reader.take().unwrap().join().unwrap();
        self.so_far.lock().unwrap().clone()
    }
}

impl Running {
    /// Starts it.
    pub fn of(mut command: Command) -> Self {
        Self::from(command.spawn().unwrap())
    }

    fn from(mut process: Child) -> Self {
        let stdout = Text::of(process.stdout.take().unwrap());
        let stderr = Text::of(process.stderr.take().unwrap());
        Self { process, stdout, stderr }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until it has written this, on either stream.
    #[track_caller]
    pub fn says(&self, text: &str) {
        let said = |from: &Text| from.so_far.lock().unwrap().contains(text);
        until(text, || said(&self.stdout) || said(&self.stderr));
    }

    /// Waits for its end, but not for ever.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let mut status = None;
        until("the command to end", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        let code = status.and_then(|status| status.code()).unwrap_or(-1);
        Ended { code, stdout: self.stdout.end(), stderr: self.stderr.end() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that fails must not leave its processes behind; one that is gone already is fine.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks until it is so; fails the test after [`PATIENCE`].
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A Job of one container with this script and these further lines of its spec.
pub fn job(name: &str, spec: &str, script: &str) -> String {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n{indented}  template:\n    spec:\n      \
         restartPolicy: Never\n      containers:\n        - name: main\n          image: busybox:1.36\n          \
         command: [sh, -c]\n          args:\n            - |\n              {}\n",
        script.replace('\n', "\n              ")
    )
}
