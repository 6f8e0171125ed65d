//! The promises of the runtime, kept by the real engine. Every container and volume carries the id of a store that
//! only its test knows, and goes with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use jobdock::runtime::docker::Docker;
use jobdock::runtime::endpoint::Surroundings;
use jobdock::runtime::sandbox::{self, SANDBOX_IMAGE};
use jobdock::runtime::{
    ContainerSeen, ContainerSpec, Error, Hint, LABEL_ATTEMPT, LABEL_CONTAINER, LABEL_POD_UID, LABEL_STORE, Limits,
    MemoryDisk, Mount, MountSource, Network, Runtime, Seen, VolumeSpec,
};

use crate::support::image;
use crate::support::proxy::Proxy;

/// How long a condition may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A store of its own on the engine, cleaned away at the end of its test, however that ends.
pub struct Bench {
    /// The runtime under test.
    pub docker: Docker,
    store: String,
}

impl Bench {
    /// A new store, with the test image there.
    pub async fn new() -> Result<Bench> {
        image::ensure().await?;
        let store = format!("test-{}", uuid::Uuid::new_v4());
        Ok(Bench { docker: Docker::connect(None, &store).await?, store })
    }

    /// A name that is no other test's.
    pub fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.store)
    }

    /// A container that runs this shell text.
    pub fn shell(&self, suffix: &str, text: &str) -> ContainerSpec {
        let labels = [(LABEL_POD_UID, suffix), (LABEL_CONTAINER, "main"), (LABEL_ATTEMPT, "0")];
        ContainerSpec {
            name: self.name(suffix),
            labels: labels.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned())).collect(),
            image: image::NAME.to_owned(),
            entrypoint: Some(vec!["sh".to_owned(), "-c".to_owned()]),
            command: Some(vec![text.to_owned()]),
            ..ContainerSpec::default()
        }
    }

    /// Creates and starts.
    pub async fn run(&self, spec: &ContainerSpec) -> Result<()> {
        self.docker.create(spec).await?;
        Ok(self.docker.start(&spec.name).await?)
    }

    /// Whether the engine is podman, which does some things its own way.
    pub async fn is_podman(&self) -> Result<bool> {
        Ok(self.docker.engine().await?.runtime_version.starts_with("podman://"))
    }

    async fn seen(&self, name: &str) -> Result<ContainerSeen> {
        self.docker.inspect(name).await?.context("the container is gone")
    }

    /// Waits until a container has ended.
    pub async fn end(&self, name: &str) -> Result<(i32, bool)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen(name).await?;
            if let Seen::Exited { code, oom_killed, .. } = seen.state {
                return Ok((code, oom_killed));
            }
            ensure!(Instant::now() < deadline, "{name} did not end: {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All output of a container, in one text.
    async fn output(&self, name: &str) -> Result<String> {
        let mut text = String::new();
        let mut chunks = self.docker.logs(name, None, true).await?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            text += &String::from_utf8_lossy(&chunk.line);
            text += if chunk.partial { "" } else { "\n" };
        }
        Ok(text)
    }

    async fn clean(docker: &Docker) -> Result<()> {
        let mut containers = docker.containers().await?;
        // Podman removes none whose namespaces others share.
        containers.sort_by_key(|seen| seen.name.ends_with("sandbox"));
        for seen in containers {
            docker.remove(&seen.name).await?;
        }
        for volume in docker.volumes().await? {
            docker.remove_volume(&volume.name).await?;
        }
        Ok(())
    }
}

impl Drop for Bench {
    /// On a thread of its own: a test that panics has no other way to wait.
    fn drop(&mut self) {
        let store = self.store.clone();
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            // With connections of its own: those of the test die with its runtime.
            runtime.block_on(async { Bench::clean(&Docker::connect(None, &store).await?).await })
        });
        match cleaning.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("the containers of a test could not be removed: {error:#}"),
            Err(_) => eprintln!("the containers of a test could not be removed"),
        }
    }
}

async fn next_hint(hints: &mut (impl Stream<Item = Hint> + Unpin)) -> Result<Hint> {
    tokio::time::timeout(PATIENCE, hints.next()).await.context("no hint came")?.context("the hints ended")
}

#[tokio::test]
async fn a_container_runs_once_and_its_end_is_seen() -> Result<()> {
    let bench = Bench::new().await?;
    let spec = bench.shell("a", "exit 3");
    let name = &spec.name;
    bench.docker.create(&spec).await?;
    assert_eq!(bench.seen(name).await?.state, Seen::Created { error: None });
    bench.docker.start(name).await?;
    assert_eq!(bench.end(name).await?, (3, false));
    let seen = bench.seen(name).await?;
    assert!(seen.image_id.starts_with("sha256:"), "{seen:?}");
    assert_eq!((seen.name.as_str(), seen.ip.as_ref()), (name.as_str(), None));
    assert_eq!(seen.labels[LABEL_POD_UID], "a");
    let Seen::Exited { started_at, finished_at, .. } = seen.state else { panic!("it ended") };

    // Neither a repeated create nor a repeated start runs it again, by this process or by one that knows nothing.
    bench.docker.create(&spec).await?;
    bench.docker.start(name).await?;
    Docker::connect(None, &bench.store).await?.start(name).await?;
    let Seen::Exited { started_at: again, .. } = bench.seen(name).await?.state else { panic!("it runs again") };
    assert_eq!(again, started_at);
    assert!(finished_at >= started_at);

    bench.docker.remove(name).await?;
    bench.docker.remove(name).await?;
    assert_eq!(bench.docker.inspect(name).await?, None);
    assert!(matches!(bench.docker.start(name).await, Err(Error::NoContainer(_))));
    Ok(())
}

#[tokio::test]
async fn signals_reach_a_container_and_what_is_over_needs_none() -> Result<()> {
    let bench = Bench::new().await?;
    let handled = bench.shell("handled", "trap 'exit 7' TERM; echo ready; while true; do sleep 0.1; done");
    bench.run(&handled).await?;
    let mut output = bench.docker.logs(&handled.name, None, true).await?;
    output.next().await.context("it says that it is ready")??;
    let seen = bench.seen(&handled.name).await?;
    assert!(matches!(seen.state, Seen::Running { .. }) && seen.ip.is_some(), "{seen:?}");
    bench.docker.kill(&handled.name, "SIGTERM").await?;
    assert_eq!(bench.end(&handled.name).await?, (7, false));

    let deaf = bench.shell("deaf", "sleep 1000");
    bench.docker.create(&deaf).await?;
    bench.docker.kill(&deaf.name, "SIGKILL").await?;
    bench.docker.start(&deaf.name).await?;
    bench.docker.kill(&deaf.name, "SIGKILL").await?;
    assert_eq!(bench.end(&deaf.name).await?, (137, false));
    bench.docker.kill(&deaf.name, "SIGTERM").await?;
    bench.docker.kill(&bench.name("nobody"), "SIGTERM").await?;
    assert!(matches!(bench.docker.kill("a/../b", "SIGTERM").await, Err(Error::Refused(_))));
    Ok(())
}

#[tokio::test]
async fn the_oom_killer_is_told_from_other_kills() -> Result<()> {
    let bench = Bench::new().await?;
    let greedy = bench.shell("greedy", "x=0123456789abcdef; while true; do x=$x$x; done");
    let spec = ContainerSpec { limits: Limits { memory_bytes: 16 << 20, ..Limits::default() }, ..greedy };
    bench.run(&spec).await?;
    assert_eq!(bench.end(&spec.name).await?, (137, true));
    Ok(())
}

#[tokio::test]
async fn what_cannot_run_is_refused_and_says_why() -> Result<()> {
    let bench = Bench::new().await?;
    let base = bench.shell("a", "true");
    for (suffix, program, words) in
        [("missing", "/no/such/program", "no such file"), ("data", "/etc/passwd", "permission denied")]
    {
        let spec = ContainerSpec {
            name: bench.name(suffix),
            entrypoint: Some(vec![program.to_owned()]),
            command: None,
            ..base.clone()
        };
        bench.docker.create(&spec).await?;
        let refused = bench.docker.start(&spec.name).await;
        assert!(matches!(&refused, Err(Error::Refused(text)) if text.to_lowercase().contains(words)), "{refused:?}");
        let state = bench.seen(&spec.name).await?.state;
        assert!(matches!(&state, Seen::Created { error: Some(text) } if text.contains(program)), "{state:?}");
    }
    let no_image = ContainerSpec { image: "jobdock-test/none:1".to_owned(), ..base.clone() };
    assert!(matches!(bench.docker.create(&no_image).await, Err(Error::NoImage(_))));
    let dir = tempfile::tempdir()?;
    let no_place = Mount {
        source: MountSource::Bind(dir.path().join("none")),
        target: "/x".to_owned(),
        read_only: false,
        ..Mount::default()
    };
    let spec = ContainerSpec { mounts: vec![no_place], ..base };
    let refused = bench.docker.create(&spec).await;
    if bench.is_podman().await? {
        // It makes the directory, as the runtimes of most nodes do.
        assert!(refused.is_ok(), "{refused:?}");
    } else {
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_spec_arrives_in_the_container() -> Result<()> {
    let bench = Bench::new().await?;
    let text = "echo $A $B; hostname; id -u; id -G; pwd; grep -c extra /etc/hosts; touch /x 2>&1 || true; \
                df -k /mem | tail -n 1 | awk '{print $1, $2}'; grep NoNewPrivs /proc/self/status";
    let spec = ContainerSpec {
        env: ["A=1", "B=2", "A=3"].map(str::to_owned).to_vec(),
        hostname: Some("job-0".to_owned()),
        user: Some("1234:55".to_owned()),
        groups: vec!["77".to_owned()],
        working_dir: Some("/tmp".to_owned()),
        extra_hosts: vec!["extra.test:10.1.2.3".to_owned()],
        read_only_root: true,
        no_new_privileges: true,
        cap_drop: vec!["ALL".to_owned()],
        limits: Limits { cpu_nanos: 500_000_000, cpu_shares: 512, ..Limits::default() },
        mounts: vec![Mount {
            source: MountSource::Tmpfs { size_bytes: 1 << 20 },
            target: "/mem".to_owned(),
            read_only: false,
            ..Mount::default()
        }],
        ..bench.shell("a", text)
    };
    bench.run(&spec).await?;
    let expected = "3 2\njob-0\n1234\n55 77\n/tmp\n1\ntouch: /x: Read-only file system\ntmpfs 1024\nNoNewPrivs:\t1\n";
    assert_eq!(bench.output(&spec.name).await?, expected);
    Ok(())
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() -> Result<()> {
    let bench = Bench::new().await?;
    let other = Bench::new().await?;
    let theirs = other.shell("a", "sleep 1000");
    other.run(&theirs).await?;
    let spec = ContainerSpec { name: theirs.name.clone(), ..bench.shell("a", "true") };

    assert!(matches!(bench.docker.create(&spec).await, Err(Error::NameTaken(_))));
    assert!(matches!(bench.docker.start(&spec.name).await, Err(Error::NameTaken(_))));
    assert!(matches!(bench.docker.kill(&spec.name, "SIGKILL").await, Err(Error::NameTaken(_))));
    assert!(matches!(bench.docker.remove(&spec.name).await, Err(Error::NameTaken(_))));
    assert!(matches!(bench.docker.upload(&spec.name, "/", Bytes::new()).await, Err(Error::NameTaken(_))));
    assert_eq!(bench.docker.inspect(&spec.name).await?, None);
    assert_eq!(bench.docker.containers().await?, []);
    assert!(matches!(other.seen(&spec.name).await?.state, Seen::Running { .. }));

    // One of ours by store, but of another attempt, is not adopted either.
    let mut next = theirs.clone();
    next.labels.insert(LABEL_ATTEMPT.to_owned(), "1".to_owned());
    assert!(matches!(other.docker.create(&next).await, Err(Error::NameTaken(_))));

    // Nor is one without any label of ours.
    let stranger = bollard::Docker::connect_with_defaults()?;
    let name = bench.name("stranger");
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let body = ContainerCreateBody { image: Some(image::NAME.to_owned()), ..ContainerCreateBody::default() };
    stranger.create_container(Some(options), body).await?;
    let taken = bench.docker.create(&ContainerSpec { name: name.clone(), ..bench.shell("b", "true") }).await;
    let kept = bench.docker.remove(&name).await;
    stranger.remove_container(&name, None).await?;
    assert!(matches!(taken, Err(Error::NameTaken(_))) && matches!(kept, Err(Error::NameTaken(_))));
    Ok(())
}

#[tokio::test]
async fn all_containers_of_the_store_are_listed_with_their_facts() -> Result<()> {
    let bench = Bench::new().await?;
    bench.docker.create(&bench.shell("created", "true")).await?;
    bench.run(&bench.shell("running", "sleep 1000")).await?;
    bench.run(&bench.shell("ended", "exit 4")).await?;
    bench.end(&bench.name("ended")).await?;
    let states: BTreeMap<String, Seen> =
        bench.docker.containers().await?.into_iter().map(|seen| (seen.name, seen.state)).collect();
    assert_eq!(states.len(), 3);
    assert_eq!(states[&bench.name("created")], Seen::Created { error: None });
    assert!(matches!(states[&bench.name("running")], Seen::Running { .. }));
    assert!(matches!(states[&bench.name("ended")], Seen::Exited { code: 4, .. }));
    Ok(())
}

#[tokio::test]
async fn volumes_outlive_containers_and_an_upload_can_open_them_to_all() -> Result<()> {
    let bench = Bench::new().await?;
    let volume = VolumeSpec { name: bench.name("v"), ..VolumeSpec::default() };
    bench.docker.create_volume(&volume).await?;
    bench.docker.create_volume(&volume).await?;
    let listed = bench.docker.volumes().await?;
    assert_eq!((listed.len(), listed[0].labels[LABEL_STORE].as_str()), (1, bench.store.as_str()));

    let mounted = |suffix: &str, text: &str, read_only| ContainerSpec {
        user: Some("1234".to_owned()),
        mounts: vec![Mount {
            source: MountSource::Volume(volume.name.clone()),
            // The image has files there: without NoCopy they would fill the volume.
            target: "/etc".to_owned(),
            read_only,
            ..Mount::default()
        }],
        ..bench.shell(suffix, text)
    };
    let first = mounted("first", "stat -c %a /etc; ls -A /etc; echo kept > /etc/file", false);
    bench.docker.create(&first).await?;
    bench.docker.upload(&first.name, "/", directory("etc/", 0o777)?).await?;
    bench.docker.start(&first.name).await?;
    let lines: Vec<String> = bench.output(&first.name).await?.lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "777");
    // What the engine itself puts over a container's /etc is not in the volume.
    let own = ["hostname", "hosts", "mtab", "resolv.conf"];
    assert!(lines[1..].iter().all(|line| own.contains(&line.as_str())), "{lines:?}");
    assert_eq!(bench.end(&first.name).await?, (0, false));

    let second = mounted("second", "cat /etc/file; echo more > /etc/file", true);
    bench.run(&second).await?;
    // The two streams come by two ways: either line may be first.
    let output = bench.output(&second.name).await?;
    assert!(output.lines().any(|line| line == "kept"), "{output:?}");
    assert_eq!(bench.end(&second.name).await?.0, 1, "a read-only mount is not written to");

    assert!(bench.docker.remove_volume(&volume.name).await.is_err(), "it is in use");
    for name in [&first.name, &second.name] {
        bench.docker.remove(name).await?;
    }
    bench.docker.remove_volume(&volume.name).await?;
    bench.docker.remove_volume(&volume.name).await?;
    assert_eq!(bench.docker.volumes().await?, []);

    let other = Bench::new().await?;
    other.docker.create_volume(&VolumeSpec { name: other.name("v"), ..VolumeSpec::default() }).await?;
    let theirs = VolumeSpec { name: other.name("v"), ..VolumeSpec::default() };
    assert!(matches!(bench.docker.create_volume(&theirs).await, Err(Error::NameTaken(_))));
    assert!(matches!(bench.docker.remove_volume(&theirs.name).await, Err(Error::NameTaken(_))));
    Ok(())
}

/// An archive with nothing but a directory's permissions. It goes to the parent: the engine skips an entry `./`.
fn directory(path: &str, mode: u32) -> Result<Bytes> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(mode);
    header.set_size(0);
    header.set_path(path)?;
    header.set_cksum();
    tar.append(&header, std::io::empty())?;
    Ok(tar.into_inner()?.into())
}

#[tokio::test]
async fn a_memory_volume_has_its_size_and_is_everybodys() -> Result<()> {
    let bench = Bench::new().await?;
    let volume = VolumeSpec {
        name: bench.name("m"),
        memory: Some(MemoryDisk { bytes: 2 << 20, group: None }),
        ..VolumeSpec::default()
    };
    bench.docker.create_volume(&volume).await?;
    let spec = ContainerSpec {
        mounts: vec![Mount {
            source: MountSource::Volume(volume.name.clone()),
            target: "/m".to_owned(),
            read_only: false,
            ..Mount::default()
        }],
        ..bench.shell("a", "stat -c %a /m; df -k /m | tail -n 1 | awk '{print $1, $2}'")
    };
    bench.run(&spec).await?;
    assert_eq!(bench.output(&spec.name).await?, "777\ntmpfs 2048\n");
    Ok(())
}

#[tokio::test]
async fn files_are_uploaded_before_a_container_starts_and_while_it_runs() -> Result<()> {
    let bench = Bench::new().await?;
    let spec = bench.shell("a", "cat /tmp/first; while ! cat /tmp/second 2>/dev/null; do sleep 0.1; done");
    bench.docker.create(&spec).await?;
    bench.docker.upload(&spec.name, "/tmp", file("first", "early\n")?).await?;
    bench.docker.start(&spec.name).await?;
    bench.docker.upload(&spec.name, "/tmp", file("second", "late\n")?).await?;
    assert_eq!(bench.output(&spec.name).await?, "early\nlate\n");
    let nowhere = bench.docker.upload(&spec.name, "/nowhere", file("x", "")?).await;
    if bench.is_podman().await? {
        assert!(nowhere.is_ok(), "it makes the directory: {nowhere:?}");
    } else {
        assert!(matches!(nowhere, Err(Error::Refused(_))), "{nowhere:?}");
    }
    Ok(())
}

fn file(name: &str, content: &str) -> Result<Bytes> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content.as_bytes())?;
    Ok(tar.into_inner()?.into())
}

#[tokio::test]
async fn hints_come_for_deaths_of_this_store_only() -> Result<()> {
    let (bench, other) = (Bench::new().await?, Bench::new().await?);
    let mut hints = bench.docker.hints();
    assert_eq!(next_hint(&mut hints).await?, Hint::Resync);
    other.run(&other.shell("theirs", "true")).await?;
    other.end(&other.name("theirs")).await?;
    bench.run(&bench.shell("ours", "exit 1")).await?;
    assert_eq!(next_hint(&mut hints).await?, Hint::Pod { uid: "ours".to_owned() });
    bench.docker.remove(&bench.name("ours")).await?;
    assert_eq!(next_hint(&mut hints).await?, Hint::Pod { uid: "ours".to_owned() });
    Ok(())
}

/// The socket of the engine that these tests use, to stand before it.
async fn socket(bench: &Bench) -> Result<String> {
    let path =
        bench.docker.endpoint().strip_prefix("unix://").context("these tests need an engine on a unix socket")?;
    Ok(path.to_owned())
}

#[tokio::test]
async fn connections_are_kept_and_lost_ones_are_made_again() -> Result<()> {
    let bench = Bench::new().await?;
    let proxy = Proxy::before(Path::new(&socket(&bench).await?))?;
    let around = Surroundings::default();
    let docker = Docker::connect_from(&around, Some(&proxy.address()), &bench.store).await?;
    let spec = bench.shell("a", "sleep 1000");
    docker.create(&spec).await?;
    docker.start(&spec.name).await?;
    for _ in 0..20 {
        docker.inspect(&spec.name).await?;
    }
    assert!(proxy.connections() <= 2, "{} connections for one caller", proxy.connections());

    let mut hints = docker.hints();
    assert_eq!(next_hint(&mut hints).await?, Hint::Resync);
    proxy.cut();
    assert_eq!(next_hint(&mut hints).await?, Hint::Resync, "after the gap, look at everything");
    docker.kill(&spec.name, "SIGKILL").await?;
    assert_eq!(next_hint(&mut hints).await?, Hint::Pod { uid: "a".to_owned() });

    drop(proxy);
    let error = docker.inspect(&spec.name).await.expect_err("nobody is there");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn no_engine_is_an_error_that_tells_what_was_tried() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let address = format!("unix://{}", dir.path().join("none.sock").display());
    let around = Surroundings { env: BTreeMap::from([("DOCKER_HOST".to_owned(), address.clone())]), home: None };
    let Err(error) = Docker::connect_from(&around, None, "test").await else { panic!("there is none") };
    let Error::Unreachable { endpoint, source } = error else { panic!("{error:?}") };
    let text = source.to_string();
    assert_eq!(endpoint, address);
    assert!(
        text.contains("(DOCKER_HOST): No such file or directory") && text.contains("systemctl start docker"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn the_engine_tells_what_it_is() -> Result<()> {
    let bench = Bench::new().await?;
    let engine = bench.docker.engine().await?;
    assert!(engine.runtime_version.contains("://") && engine.cpus > 0 && engine.memory_bytes > 1 << 20, "{engine:?}");
    assert!(["amd64", "arm64"].contains(&engine.architecture.as_str()), "{engine:?}");
    assert!([1, 2].contains(&engine.cgroup_version) && !engine.kernel.is_empty() && !engine.name.is_empty());
    Ok(())
}

#[tokio::test]
async fn images_that_are_not_here_are_not_seen_and_not_pulled() -> Result<()> {
    let bench = Bench::new().await?;
    let image = bench.docker.image(image::NAME).await?.context("the test image")?;
    assert!(image.id.starts_with("sha256:"));
    assert_eq!(bench.docker.image(&image.id).await?.context("by id")?.id, image.id);
    assert_eq!(bench.docker.image("jobdock-test/none:1").await?, None);
    assert!(matches!(bench.docker.image("Not A Name").await, Err(Error::Refused(_))));
    // Nothing listens there: the engine answers at once, in whatever way it reports it.
    let pulled = bench.docker.pull("127.0.0.1:9/none:1", None, &|_| {}).await;
    assert!(matches!(pulled, Err(Error::Engine(_) | Error::NoImage(_))), "{pulled:?}");
    Ok(())
}

#[tokio::test]
async fn the_sandbox_holds_namespaces_reaps_orphans_and_obeys_sigterm() -> Result<()> {
    let bench = Bench::new().await?;
    let (first, second) = tokio::join!(bench.docker.sandbox_image(), bench.docker.sandbox_image());
    assert_eq!((first?, second?), (SANDBOX_IMAGE.to_owned(), SANDBOX_IMAGE.to_owned()));
    let holder = ContainerSpec {
        image: SANDBOX_IMAGE.to_owned(),
        entrypoint: None,
        command: None,
        hostname: Some("the-pod".to_owned()),
        ..bench.shell("sandbox", "")
    };
    bench.run(&holder).await?;
    let joining = |suffix: &str, text: &str| ContainerSpec {
        network: Network::Container(holder.name.clone()),
        pid_container: Some(holder.name.clone()),
        ipc_container: Some(holder.name.clone()),
        ..bench.shell(suffix, text)
    };
    // The inner shell's child is orphaned when that shell ends; process 1 of the namespace inherits and reaps it.
    let orphan = joining("a", "hostname; sh -c 'sleep 0.2 & exit 0'; sleep 1; ps -o stat,comm | grep -c '^Z' || true");
    bench.run(&orphan).await?;
    assert_eq!(bench.output(&orphan.name).await?, "the-pod\n0\n");
    assert_eq!(bench.seen(&orphan.name).await?.ip, None, "the address is the sandbox's");
    assert!(bench.seen(&holder.name).await?.ip.is_some());

    bench.docker.kill(&holder.name, "SIGTERM").await?;
    assert_eq!(bench.end(&holder.name).await?, (0, false));
    let late = joining("late", "true");
    bench.docker.create(&late).await?;
    let started = bench.docker.start(&late.name).await;
    if bench.is_podman().await? {
        // It starts what a container joins, if that does not run.
        assert!(
            started.is_ok() && matches!(bench.seen(&holder.name).await?.state, Seen::Running { .. }),
            "{started:?}"
        );
    } else {
        assert!(started.is_err(), "what is gone cannot be joined");
    }
    Ok(())
}

#[test]
fn the_sandbox_program_is_small_and_its_archive_always_the_same() {
    for (architecture, machine) in [("amd64", 62), ("arm64", 183)] {
        let program = sandbox::program(architecture).expect("carried");
        assert_eq!((&program[..4], program[18], program.len()), (&b"\x7fELF"[..], machine, 232));
        assert_eq!(sandbox::archive(architecture), sandbox::archive(architecture));
    }
    assert_eq!(sandbox::archive("riscv64"), None);
}
