//! Owns the figures of the API alone: creates, lists of many pods, the way from a commit to its watchers, each beside
//! plain SQLite with the same durability and rows of the same size. No node, no engine: pods stay Pending.
//!
//! Clients speak HTTPS on loopback, on the same cores as the daemon, and read answers without decoding them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::daemon::Daemon;
use crate::sqlite::Sqlite;
use crate::times::{line, median};
use crate::{IMAGE, setting};

const PODS: &str = "/api/v1/namespaces/default/pods";
/// Pods of one round of creates by one client.
const ALONE: usize = 200;
/// Clients that create side by side, and the pods of one round of theirs.
const CLIENTS: usize = 16;
const TOGETHER: usize = 1600;
const WATCHERS: usize = 100;
/// Pods that the watchers see.
const WATCHED: usize = 100;
/// Pods of one page: what client libraries ask for.
const PAGE: usize = 500;

/// All of them. `JOBDOCK_BENCH_OBJECTS` (10000) pods are listed.
pub async fn figures(rounds: usize) -> Result<()> {
    let objects = setting("JOBDOCK_BENCH_OBJECTS", 10_000)?;
    let daemon = Daemon::start(&["--node", "none"])?;
    let clients: Vec<kube::Client> = futures::stream::iter(0..CLIENTS).then(|_| daemon.client()).try_collect().await?;
    let row = create(&clients[0]).await?;
    println!("\nthe API beside plain SQLite (WAL, synchronous=FULL), rows of {} bytes ({rounds} rounds)", row.len());
    creates(&clients, &row, rounds).await?;
    watches(&clients[0], &daemon, &row).await?;
    lists(&clients, &daemon, &row, objects, rounds).await?;
    daemon.stop().await
}

async fn creates(clients: &[kube::Client], row: &[u8], rounds: usize) -> Result<()> {
    let mut peer = Sqlite::new()?;
    for (workers, pods) in [(1, ALONE), (CLIENTS, TOGETHER)] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            theirs.push(peer.insert_many(row, pods)?);
            let start = Instant::now();
            create_many(&clients[..workers], pods).await?;
            ours.push(start.elapsed());
        }
        let rate = |times: &[Duration]| format!("{:.0}/s", pods as f64 / median(times).as_secs_f64());
        println!("  {pods} creates, {workers} at a time (SQLite: one after the other, a commit each)");
        line("SQLite", &theirs, &theirs, &rate(&theirs));
        line("jobdock", &ours, &theirs, &rate(&ours));
    }
    Ok(())
}

async fn lists(clients: &[kube::Client], daemon: &Daemon, row: &[u8], objects: usize, rounds: usize) -> Result<()> {
    let client = &clients[0];
    let missing = objects.saturating_sub(count(client).await?);
    create_many(clients, missing).await?;
    let mut peer = Sqlite::new()?;
    let there = count(client).await?;
    peer.fill(row, there)?;
    for (what, page) in [("in one answer".to_owned(), there), (format!("in pages of {PAGE}"), PAGE)] {
        let (mut ours, mut theirs, mut spent) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            theirs.push(peer.select(page)?);
            let before = daemon.processor_time()?;
            ours.push(list(client, page, there).await?);
            spent.push(daemon.processor_time()?.saturating_sub(before));
        }
        println!("  list of {there} pods {what} (SQLite: the same rows by key)");
        line("SQLite", &theirs, &theirs, "");
        line("jobdock", &ours, &theirs, "");
        line("its processors", &spent, &theirs, "");
    }
    Ok(())
}

/// From the POST of a pod to the moment when a watcher has read it, and when the last of them has.
async fn watches(client: &kube::Client, daemon: &Daemon, row: &[u8]) -> Result<()> {
    let (seen, mut sightings) = mpsc::unbounded_channel();
    // Each stream holds a connection; the client opens as many as it needs.
    let watching = daemon.client().await?;
    let watchers: Vec<_> = futures::stream::iter(0..WATCHERS).then(|_| watcher(&watching, &seen)).try_collect().await?;
    let mut peer = Sqlite::new()?;
    let (mut commits, mut answers, mut middles, mut lasts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WATCHED {
        commits.push(peer.insert(row)?);
        let start = Instant::now();
        create(client).await?;
        answers.push(start.elapsed());
        let mut waits = Vec::with_capacity(WATCHERS);
        while waits.len() < WATCHERS {
            let at: Instant = sightings.recv().await.context("the watchers still run")?;
            waits.push(at.duration_since(start));
        }
        middles.push(median(&waits));
        lasts.push(waits.into_iter().max().unwrap_or_default());
    }
    watchers.iter().for_each(tokio::task::JoinHandle::abort);
    println!("  {WATCHED} creates seen by {WATCHERS} watchers, each from the POST on (SQLite: one commit)");
    line("SQLite", &commits, &commits, "");
    line("POST answered", &answers, &commits, "");
    line("middle watcher", &middles, &commits, "");
    line("last watcher", &lasts, &commits, "");
    Ok(())
}

/// A watch of the pods to come, that tells when it has read an event.
async fn watcher(client: &kube::Client, seen: &mpsc::UnboundedSender<Instant>) -> Result<tokio::task::JoinHandle<()>> {
    let path = format!("{PODS}?watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan");
    let mut body = send(client, Method::GET, &path, Vec::new()).await?.into_body();
    let seen = seen.clone();
    Ok(tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            // Every event ends a line, and JSON has no line ends of its own.
            let events = frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
            if (0..events).any(|_| seen.send(Instant::now()).is_err()) {
                return;
            }
        }
    }))
}

/// Creates so many pods, as many at a time as there are clients.
async fn create_many(clients: &[kube::Client], pods: usize) -> Result<()> {
    let shares = clients.iter().enumerate().map(|(number, client)| async move {
        for _ in (number..pods).step_by(clients.len()) {
            create(client).await?;
        }
        Ok(())
    });
    futures::future::try_join_all(shares).await.map(|_: Vec<()>| ())
}

/// Makes one pod; the JSON of it.
async fn create(client: &kube::Client) -> Result<Vec<u8>> {
    let pod = json!({"metadata": {"generateName": "bench-", "labels": {"app": "bench"}}, "spec": {
        "restartPolicy": "Never",
        "containers": [{
            "name": "main", "image": IMAGE, "command": ["sh", "-c", "true"],
            "env": [{"name": "INDEX", "value": "1"}], "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        }],
    }});
    read(send(client, Method::POST, PODS, pod.to_string().into_bytes()).await?).await
}

/// Reads all pods, so many at a time.
async fn list(client: &kube::Client, page: usize, there: usize) -> Result<Duration> {
    /// What of a list is looked at, so that the time is the server's.
    #[derive(serde::Deserialize)]
    struct List {
        metadata: Value,
    }
    let start = Instant::now();
    if page >= there {
        read(send(client, Method::GET, PODS, Vec::new()).await?).await?;
        return Ok(start.elapsed());
    }
    let mut token = String::new();
    loop {
        let path = format!("{PODS}?limit={page}&continue={token}");
        let body = read(send(client, Method::GET, &path, Vec::new()).await?).await?;
        let list: List = serde_json::from_slice(&body)?;
        match list.metadata["continue"].as_str() {
            Some(next) if !next.is_empty() => next.clone_into(&mut token),
            _ => return Ok(start.elapsed()),
        }
    }
}

async fn count(client: &kube::Client) -> Result<usize> {
    let body = read(send(client, Method::GET, &format!("{PODS}?limit=1"), Vec::new()).await?).await?;
    let list: Value = serde_json::from_slice(&body)?;
    let more = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
    Ok(list["items"].as_array().map_or(0, Vec::len) + usize::try_from(more)?)
}

async fn send(client: &kube::Client, method: Method, path: &str, body: Vec<u8>) -> Result<Response<Body>> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let response = client.send(request.body(Body::from(body))?).await?;
    ensure!(response.status().is_success(), "{path}: {}", response.status());
    Ok(response)
}

async fn read(response: Response<Body>) -> Result<Vec<u8>> {
    Ok(response.into_body().collect().await?.to_bytes().into())
}
