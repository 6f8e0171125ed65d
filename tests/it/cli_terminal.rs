//! `jobdock run` on a terminal: `script` (util-linux) gives it one.

use std::process::{Command, Stdio};

use crate::registry::{Registry, forget};
use crate::support::cli::{Place, Running, job};

/// `jobdock ARGUMENTS` on a terminal.
fn terminal(place: &Place, arguments: &str, environment: &[(&str, &str)]) -> Running {
    let inner = place.command(&[]);
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_jobdock"));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(place.path());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("TERM", "xterm").envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::of(command)
}

/// What `jobdock ARGUMENTS` writes to a terminal, with its escape sequences.
fn on_terminal(place: &Place, arguments: &str, environment: &[(&str, &str)]) -> String {
    let ended = terminal(place, arguments, environment).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.stdout
}

fn place() -> Place {
    let place = Place::fake();
    place.file("job.yaml", &job("hello", "completions: 2", "echo visible; sleep 1"));
    place
}

#[test]
fn progress_lines_are_drawn_and_taken_away() {
    let text = on_terminal(&place(), "run job.yaml", &[]);
    assert!(text.contains("/2 succeeded"), "{text:?}");
    assert!(text.contains("\x1b[2K"), "lines are erased: {text:?}");
    let (_, after) = text.rsplit_once("\x1b[2K").unwrap();
    assert!(
        after.contains("Job default/hello complete") && !after.contains("──"),
        "the summary stands alone: {after:?}"
    );
}

#[test]
fn pods_and_the_summary_have_colours() {
    let text = on_terminal(&place(), "run job.yaml", &[]);
    let prefix = text.lines().find(|line| line.contains("visible")).unwrap();
    assert!(prefix.contains("\x1b[3") || prefix.contains("\x1b[9"), "{prefix:?}");
}

#[test]
fn no_color_means_no_colours() {
    let text = on_terminal(&place(), "run --no-progress job.yaml", &[("NO_COLOR", "1")]);
    assert!(text.contains("visible"), "{text:?}");
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn no_progress_leaves_the_cursor_alone() {
    let text = on_terminal(&place(), "run --no-progress job.yaml", &[]);
    for sequence in ["\x1b[2K", "\x1b[1A", "\x1b[?25"] {
        assert!(!text.contains(sequence), "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_is_a_line_that_goes_when_the_image_is_there() {
    let registry = Registry::start().await.expect("a registry of the test's own");
    let image = registry.image("gated/busybox:1");
    let place = Place::docker();
    place.file("job.yaml", &job("pull", "completions: 1", "echo pulled").replace("busybox:1.36", &image));
    let running = terminal(&place, "run job.yaml", &[]);
    running.says(&format!("pulling {image}: "));
    registry.open();
    let ended = running.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let (_, after) = ended.stdout.rsplit_once("\x1b[2K").unwrap();
    assert!(!after.contains("pulling "), "{after:?}");
    forget(&[image]).await;
}
