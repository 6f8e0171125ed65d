//! How the engine is spoken to: versions, encryption, credentials, and replies that only other engines give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures::StreamExt;
use jobdock::runtime::docker::Docker;
use jobdock::runtime::endpoint::Surroundings;
use jobdock::runtime::{ContainerSpec, Error, RegistryAuth, Runtime, Seen};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_util::task::AbortOnDropHandle;

use crate::runtime_docker::Bench;
use crate::support::engine::{Answers, CannedEngine};

fn version(newest: &str, oldest: &str) -> (&'static str, u16, Vec<u8>) {
    let body =
        serde_json::json!({ "Version": "29.0.0", "ApiVersion": newest, "MinAPIVersion": oldest, "Arch": "amd64" });
    ("GET /version", 200, body.to_string().into_bytes())
}

async fn connect(newest: &str, oldest: &str, more: Answers) -> Result<(CannedEngine, Result<Docker, Error>)> {
    let mut answers = vec![version(newest, oldest)];
    answers.extend(more);
    let engine = CannedEngine::start(answers)?;
    let docker = Docker::connect_from(&Surroundings::default(), Some(&engine.address()), "s").await;
    Ok((engine, docker))
}

#[tokio::test]
async fn every_path_carries_the_version_that_both_sides_know() -> Result<()> {
    for (newest, oldest, path) in [("1.41", "1.12", "/v1.41"), ("1.44", "1.44", "/v1.44"), ("1.54", "1.44", "/v1.51")] {
        let (engine, docker) = connect(newest, oldest, vec![]).await?;
        let docker = docker?;
        let _ = docker.inspect("a").await;
        let _ = docker.create(&ContainerSpec { name: "a".to_owned(), ..ContainerSpec::default() }).await;
        let _ = docker.pull("busybox", None, &|_| {}).await;
        let asked = engine.asked();
        assert!(asked.len() >= 4, "{asked:?}");
        assert!(
            asked[1..].iter().all(|(line, _)| line.split(' ').nth(1).unwrap_or_default().starts_with(path)),
            "{asked:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_engine_that_is_too_old_or_none_at_all_is_refused_by_name() -> Result<()> {
    let (engine, docker) = connect("1.40", "1.12", vec![]).await?;
    let Err(Error::Refused(text)) = docker else { panic!("it is too old") };
    let expected = "speaks API 1.40; jobdock needs 1.41 (Docker 20.10) or later";
    assert_eq!(text, format!("the engine at {} {expected}", engine.address()));

    let none = CannedEngine::start(vec![("GET /version", 200, b"{}".to_vec())])?;
    let refused = Docker::connect_from(&Surroundings::default(), Some(&none.address()), "s").await;
    assert!(matches!(refused, Err(Error::Refused(text)) if text.contains("is no container engine")));
    Ok(())
}

#[tokio::test]
async fn replies_of_newer_engines_with_unknown_words_are_read() -> Result<()> {
    let container = serde_json::json!({
        "Id": "1", "Name": "/a", "Image": "sha256:1", "Newfangled": { "A": [1] },
        "Config": { "Labels": { "io.jobdock.store": "s" } },
        "HostConfig": { "CgroupnsMode": "newfangled", "Isolation": "newfangled" },
        "State": { "Status": "running", "StartedAt": "2025-11-11T10:00:00.123456789Z", "Health": { "Status": "odd" } },
        "NetworkSettings": { "Networks": { "bridge": { "IPAddress": "172.17.0.9" } } },
    });
    let (_engine, docker) =
        connect("1.52", "1.44", vec![("GET /v1.51/containers/a/json", 200, container.to_string().into_bytes())])
            .await?;
    let seen = docker?.inspect("a").await?.context("it is there")?;
    assert!(matches!(seen.state, Seen::Running { .. }));
    assert_eq!(seen.ip.as_deref(), Some("172.17.0.9"));
    Ok(())
}

#[tokio::test]
async fn a_pull_asks_for_one_tag_with_credentials_and_fails_by_what_its_stream_says() -> Result<()> {
    let progress = |last: &str| format!("{{\"status\":\"Pulling\"}}\r\n{last}\r\n").into_bytes();
    let (pulling, auth) = (
        "POST /v1.44/images/create",
        RegistryAuth {
            username: Some("me".to_owned()), password: Some("ÿ?>~ÿ".to_owned()), ..RegistryAuth::default()
        },
    );
    let (engine, docker) = connect("1.44", "1.44", vec![(pulling, 200, progress("{\"status\":\"done\"}"))]).await?;
    let docker = docker?;
    docker.pull("busybox", Some(&auth), &|_| {}).await?;
    docker.pull(&format!("quay.io/team/app:1@sha256:{}", "a".repeat(64)), None, &|_| {}).await?;
    let asked = engine.asked();
    assert!(asked[1].0.ends_with("?fromImage=docker.io%2Flibrary%2Fbusybox&tag=latest"), "{asked:?}");
    assert!(
        asked[2].0.ends_with(&format!("?fromImage=quay.io%2Fteam%2Fapp&tag=sha256%3A{}", "a".repeat(64))),
        "{asked:?}"
    );
    let header = URL_SAFE.decode(asked[1].1.get("x-registry-auth").context("credentials")?)?;
    assert_eq!(String::from_utf8(header)?, r#"{"password":"ÿ?>~ÿ","username":"me"}"#);
    assert!(asked[2].1.get("x-registry-auth").is_none());

    for (last, missing) in [
        (r#"{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}"#, true),
        (r#"{"error":"toomanyrequests: slow down"}"#, false),
    ] {
        let (_engine, docker) = connect("1.44", "1.44", vec![(pulling, 200, progress(last))]).await?;
        let failed = docker?.pull("busybox", None, &|_| {}).await;
        assert!(if missing {
            matches!(failed, Err(Error::NoImage(_)))
        } else {
            matches!(failed, Err(Error::Engine(_)))
        });
    }
    Ok(())
}

#[tokio::test]
async fn an_engine_that_mounts_images_makes_no_copy_of_them() -> Result<()> {
    let image = format!("sha256:{}", "a".repeat(64));
    let (engine, docker) = connect("1.48", "1.24", vec![]).await?;
    docker?.mountable_image(&image).await?;
    assert_eq!(engine.asked().len(), 1, "{:?}", engine.asked());
    let (engine, docker) = connect("1.47", "1.24", vec![]).await?;
    docker?.mountable_image(&image).await.expect_err("this engine answers nothing");
    assert!(engine.asked()[1].0.ends_with("/volumes/create"), "{:?}", engine.asked());
    Ok(())
}

#[tokio::test]
async fn logs_that_stop_inside_a_frame_are_an_error_not_an_end() -> Result<()> {
    let answers = vec![("GET /v1.44/containers/a/logs", 200, vec![1, 0, 0, 0, 0, 0, 0, 99, b'x'])];
    let (_engine, docker) = connect("1.44", "1.44", answers).await?;
    let mut logs = docker?.logs("a", None, false).await?;
    assert!(matches!(logs.next().await, Some(Err(Error::Engine(_)))));
    Ok(())
}

#[tokio::test]
async fn a_followed_log_that_goes_silent_is_read_to_its_end_once_its_container_is_over() -> Result<()> {
    let line = |second: u8, text: &str| {
        let text = format!("2026-01-01T00:00:0{second}.000000000Z {text}\n");
        [&[1, 0, 0, 0], &u32::try_from(text.len()).expect("short").to_be_bytes()[..], text.as_bytes()].concat()
    };
    let container = serde_json::json!({
        "Id": "1", "Name": "/a", "Image": "sha256:1", "Config": { "Labels": { "io.jobdock.store": "s" } },
        "State": {
            "Status": "exited", "ExitCode": 0,
            "StartedAt": "2026-01-01T00:00:00Z", "FinishedAt": "2026-01-01T00:00:03Z",
        },
    });
    let answers = vec![
        version("1.44", "1.44"),
        ("GET /v1.44/containers/a/json", 200, container.to_string().into_bytes()),
        ("GET /v1.44/containers/a/logs", 200, [line(1, "one"), line(2, "two")].concat()),
    ];
    let engine = CannedEngine::start_stuck(answers, Some(line(1, "one")))?;
    let docker = Docker::connect_from(&Surroundings::default(), Some(&engine.address()), "s").await?;
    let mut logs = docker.logs("a", None, true).await?;
    let mut told = vec![logs.next().await.context("the first line")??.line];
    // The rest is asked for when a while has passed, which the test does not wait for.
    let mut next = logs.next();
    assert!(futures::poll!(&mut next).is_pending());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    told.push(next.await.context("the second line")??.line);
    assert!(logs.next().await.is_none());
    assert_eq!(told, ["one", "two"]);
    Ok(())
}

/// Certificates as `DOCKER_CERT_PATH` holds them, and a TLS server before the engine's socket that wants ours.
async fn encrypted(dir: &Path, socket: PathBuf) -> Result<(u16, AbortOnDropHandle<()>)> {
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let signed = |name: &str| -> Result<(rcgen::Certificate, KeyPair)> {
        let key = KeyPair::generate()?;
        Ok((CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &authority)?, key))
    };
    let (client, client_key) = signed("client.test")?;
    for (file, text) in
        [("ca.pem", authority.pem()), ("cert.pem", client.pem()), ("key.pem", client_key.serialize_pem())]
    {
        std::fs::write(dir.join(file), text)?;
    }

    let (server, server_key) = signed("127.0.0.1")?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![server.der().clone()], PrivateKeyDer::Pkcs8(server_key.serialize_der().into()))?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(stream).await else { return };
                let Ok(mut engine) = UnixStream::connect(socket).await else { return };
                // The connection's end is its peer's business.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    });
    Ok((port, AbortOnDropHandle::new(task)))
}

#[tokio::test]
async fn an_encrypted_engine_is_reached_by_those_whom_it_knows_and_who_know_it() -> Result<()> {
    let bench = Bench::new().await?;
    let socket = bench.docker.endpoint().strip_prefix("unix://").context("an engine on a unix socket")?.to_owned();
    let (ours, strangers) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (port, _server) = encrypted(ours.path(), socket.clone().into()).await?;
    let (_, _other) = encrypted(strangers.path(), socket.into()).await?;
    let around = |certificates: &Path| Surroundings {
        env: BTreeMap::from([
            ("DOCKER_HOST".to_owned(), format!("tcp://127.0.0.1:{port}")),
            ("DOCKER_TLS_VERIFY".to_owned(), "1".to_owned()),
            ("DOCKER_CERT_PATH".to_owned(), certificates.display().to_string()),
        ]),
        home: None,
    };
    let docker = Docker::connect_from(&around(ours.path()), None, "s").await?;
    assert!(docker.engine().await?.cpus > 0);

    let stranger = Docker::connect_from(&around(strangers.path()), None, "s").await;
    assert!(matches!(stranger, Err(Error::Unreachable { .. })), "signed by somebody else");
    std::fs::remove_file(ours.path().join("ca.pem"))?;
    let blind = Docker::connect_from(&around(ours.path()), None, "s").await;
    assert!(matches!(blind, Err(Error::Refused(text)) if text.contains("ca.pem cannot be used")));
    Ok(())
}
