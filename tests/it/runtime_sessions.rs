//! Commands beside a container's own, and joins to its streams: on the real engine, and on the fake one, which has to
//! behave the same.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use jiff::Timestamp;
use jobdock::runtime::fake::Fake;
use jobdock::runtime::session::{self, ExecSpec, Ran, Session, Streams};
use jobdock::runtime::{ContainerSpec, Error, Runtime};
use tokio::io::AsyncWriteExt;

use crate::runtime_docker::Bench;

/// How long a condition may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);
const BOTH: Streams = Streams { stdin: false, stdout: true, stderr: true, tty: false };
const TALK: Streams = Streams { stdin: true, ..BOTH };
const TERMINAL: Streams = Streams { tty: true, stderr: false, ..TALK };

fn shell(text: &str, streams: Streams) -> ExecSpec {
    let command = ["sh", "-c", text].map(str::to_owned).to_vec();
    ExecSpec { command, streams, ..ExecSpec::default() }
}

/// What is left of a session: standard output, standard error.
async fn rest(session: &mut Session) -> Result<(String, String)> {
    let (mut out, mut err) = (String::new(), String::new());
    while let Some(piece) = session.output.next().await {
        let piece = piece?;
        if piece.stderr { &mut err } else { &mut out }.push_str(&String::from_utf8_lossy(&piece.bytes));
    }
    Ok((out, err))
}

/// Reads until the output holds these words.
async fn until(session: &mut Session, words: &str) -> Result<()> {
    let mut seen = String::new();
    let reading = async {
        while !seen.contains(words) {
            let piece = session.output.next().await.context("the output ended")??;
            seen += &String::from_utf8_lossy(&piece.bytes);
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, reading).await.with_context(|| format!("no {words:?} came"))?
}

async fn running(bench: &Bench) -> Result<String> {
    let spec = bench.shell("a", "exec sleep 1000");
    bench.run(&spec).await?;
    Ok(spec.name)
}

async fn fake() -> Result<Fake> {
    let fake = Fake::at(Timestamp::from_second(1_700_000_000)?);
    let command = Some(["sh", "-c", "echo early; sleep 5; echo late; exit 3"].map(str::to_owned).to_vec());
    let spec = ContainerSpec { name: "a".to_owned(), image: "busybox".to_owned(), command, ..ContainerSpec::default() };
    fake.create(&spec).await?;
    fake.start("a").await?;
    Ok(fake)
}

/// The same on both engines.
async fn check_commands(runtime: &dyn Runtime, name: &str) -> Result<()> {
    for (text, out, err, code) in [
        ("echo one; echo two >&2; exit 7", "one\n", "two\n", 7),
        ("printf '%s' open", "open", "", 0),
        ("true", "", "", 0),
    ] {
        let mut session = runtime.exec(name, &shell(text, BOTH)).await?;
        assert_eq!(rest(&mut session).await?, (out.to_owned(), err.to_owned()), "{text}");
        assert_eq!(session::exit(runtime, &session.id).await?, code, "{text}");
    }
    let mut session = runtime.exec(name, &shell("echo one; echo two >&2", Streams { stderr: false, ..BOTH })).await?;
    assert_eq!(rest(&mut session).await?, ("one\n".to_owned(), String::new()), "standard error was not asked for");
    Ok(())
}

async fn check_input(runtime: &dyn Runtime, name: &str) -> Result<()> {
    let spec = ExecSpec { command: vec!["cat".to_owned()], streams: TALK, ..ExecSpec::default() };
    let mut session = runtime.exec(name, &spec).await?;
    session.input.write_all(b"said").await?;
    session.input.flush().await?;
    until(&mut session, "said").await?;
    assert_eq!(runtime.exec_exit(&session.id).await?, None, "its input is open, so it runs");
    session.input.write_all(b" more").await?;
    session.input.shutdown().await?;
    assert_eq!(rest(&mut session).await?, (" more".to_owned(), String::new()));
    assert_eq!(session::exit(runtime, &session.id).await?, 0);
    Ok(())
}

async fn check_runs(runtime: &dyn Runtime, name: &str) -> Result<()> {
    let run = async |text: &str, limit: Duration, keep: usize| {
        let command = ["sh", "-c", text].map(str::to_owned);
        session::run(runtime, name, &command, limit, keep).await
    };
    let exited = |code: i32, output: &'static str| Ran::Exited { code, output: output.into() };
    assert_eq!(run("echo well; exit 0", PATIENCE, 100).await?, exited(0, "well\n"));
    assert_eq!(run("echo 0123456789; exit 2", PATIENCE, 4).await?, exited(2, "0123"), "the head is kept");
    let missing = session::run(runtime, name, &["missing-program".to_owned()], PATIENCE, 10_000).await?;
    let Ran::Exited { code: 126 | 127, output } = missing else { panic!("{missing:?}") };
    // Docker: "executable file not found in $PATH"; podman puts the program's name between.
    let output = String::from_utf8_lossy(&output);
    assert!(output.contains("executable file") && output.contains("not found in $PATH"), "{output}");
    let late = run("echo began; exec sleep 500", Duration::from_secs(2), 100).await?;
    assert_eq!(late, Ran::TimedOut { output: "began\n".into() });
    Ok(())
}

#[tokio::test]
async fn a_command_tells_its_output_and_its_exit_code() -> Result<()> {
    let bench = Bench::new().await?;
    let name = running(&bench).await?;
    check_commands(&bench.docker, &name).await?;
    check_input(&bench.docker, &name).await?;
    check_runs(&bench.docker, &name).await
}

#[tokio::test(start_paused = true)]
async fn a_command_on_the_fake_does_too() -> Result<()> {
    let fake = fake().await?;
    check_commands(&fake, "a").await?;
    check_input(&fake, "a").await?;
    check_runs(&fake, "a").await
}

#[tokio::test]
async fn a_command_that_runs_out_of_time_is_killed() -> Result<()> {
    let bench = Bench::new().await?;
    let name = running(&bench).await?;
    let mut session = bench.docker.exec(&name, &shell("echo began; exec sleep 1000", BOTH)).await?;
    until(&mut session, "began").await?;
    assert!(bench.docker.signal_exec(&session.id, "SIGKILL").await?, "this engine runs here, and so do its processes");
    assert_eq!(tokio::time::timeout(PATIENCE, session::exit(&bench.docker, &session.id)).await??, 137);
    assert!(bench.docker.signal_exec(&session.id, "SIGKILL").await?, "what has ended needs no signal");
    Ok(())
}

#[tokio::test]
async fn a_terminal_has_a_size_and_keeps_no_key_for_itself() -> Result<()> {
    let bench = Bench::new().await?;
    let name = running(&bench).await?;
    let mut session = bench.docker.exec(&name, &shell("stty raw -echo; echo ready; exec sh", TERMINAL)).await?;
    until(&mut session, "ready").await?;
    bench.docker.resize(&session.id, 33, 77).await?;
    session.input.write_all(b"stty size\n").await?;
    until(&mut session, "33 77").await?;
    // The engine's own keys to detach, ctrl-p ctrl-q, are the program's.
    session.input.write_all(b"head -c 2 | od -An -tx1\n\x10\x11").await?;
    until(&mut session, "10 11").await?;
    session.input.write_all(b"exit 5\n").await?;
    assert_eq!(rest(&mut session).await?.1, "");
    assert_eq!(session::exit(&bench.docker, &session.id).await?, 5);
    Ok(())
}

#[tokio::test]
async fn an_attach_joins_the_containers_own_streams() -> Result<()> {
    let bench = Bench::new().await?;
    let spec = ContainerSpec { stdin: true, stdin_once: true, ..bench.shell("a", "cat; echo end >&2; exit 4") };
    bench.run(&spec).await?;
    let mut session = bench.docker.attach(&spec.name, TALK).await?;
    session.input.write_all(b"said").await?;
    until(&mut session, "said").await?;
    session.input.shutdown().await?;
    assert_eq!(rest(&mut session).await?, (String::new(), "end\n".to_owned()));
    assert_eq!(bench.end(&spec.name).await?, (4, false));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_attach_on_the_fake_tells_what_is_said_from_now_on() -> Result<()> {
    let fake = fake().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut session = fake.attach("a", BOTH).await?;
    assert_eq!(rest(&mut session).await?, ("late\n".to_owned(), String::new()));
    Ok(())
}

#[tokio::test]
async fn nothing_is_run_where_nothing_runs() -> Result<()> {
    let bench = Bench::new().await?;
    let spec = bench.shell("a", "true");
    bench.docker.create(&spec).await?;
    let gone = bench.name("gone");
    let fake = fake().await?;
    fake.finish("a", 0);
    for (runtime, name, gone) in
        [(&bench.docker as &dyn Runtime, spec.name.as_str(), gone.as_str()), (&fake, "a", "gone")]
    {
        let told = runtime.exec(name, &shell("true", BOTH)).await;
        assert!(matches!(&told, Err(Error::Refused(why)) if why.contains("is not running")), "{told:?}");
        let told = runtime.exec(gone, &shell("true", BOTH)).await;
        assert!(matches!(told, Err(Error::NoContainer(_))), "{told:?}");
        let told = runtime.attach(gone, BOTH).await;
        assert!(matches!(told, Err(Error::NoContainer(_))), "{told:?}");
    }
    Ok(())
}
