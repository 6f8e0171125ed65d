//! Exec, attach, cp and port-forward with the real kubectl on the real engine, over WebSockets and over SPDY.

use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use rand::RngCore;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, wait_for};
use crate::support::image;

/// More than every buffer on the way together.
const MUCH: usize = 10 * 1024 * 1024;
/// What the pod does: one server that only the pod itself reaches, one that all do.
const SERVERS: &str = "mkdir /www; echo page > /www/index.html; httpd -p 127.0.0.1:8080 -h /www; httpd -p 8081 -h /www; \
                       exec sleep 1000";

/// A daemon with a pod, and a kubectl that speaks one of the two protocols.
struct Site {
    daemon: Daemon,
    dir: TempDir,
    websockets: bool,
}

impl Site {
    async fn new(websockets: bool) -> Result<Site> {
        image::ensure().await?;
        let dir = tempfile::tempdir()?;
        let daemon = Daemon::start(&dir.path().join("data"), &["--stop-pods-on-exit"])?;
        let site = Site { daemon, dir, websockets };
        std::fs::write(site.dir.path().join("config"), site.daemon.kubeconfig()?)?;
        site.make("p", SERVERS, false).await?;
        Ok(site)
    }

    async fn make(&self, name: &str, script: &str, stdin: bool) -> Result<()> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [{
                "name": "main", "image": image::NAME, "imagePullPolicy": "Never", "stdin": stdin, "stdinOnce": stdin,
                "command": ["sh", "-c", script],
            }]},
        }))?;
        let pods: Api<Pod> = Api::default_namespaced(self.daemon.client().await?);
        pods.create(&PostParams::default(), &pod).await?;
        self.ok(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=180s"])?;
        Ok(())
    }

    fn kubectl(&self) -> Command {
        let mut command = Command::new("kubectl");
        self.dress(&mut command);
        command
    }

    fn dress(&self, command: &mut Command) {
        let websockets = self.websockets.to_string();
        command
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("KUBECONFIG", self.dir.path().join("config"))
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", &websockets)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", &websockets)
            .stdin(Stdio::null());
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Output> {
        let mut command = self.kubectl();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("kubectl is missing: install it (Debian: kubernetes-client)")?;
        let mut stdin = child.stdin.take().context("it has an input")?;
        let input = input.to_vec();
        // Beside the reading of its output, or both would wait for each other. A command may end before it has read all.
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output()?;
        ensure!(feeding.join().is_ok(), "the feeder panicked");
        Ok(output)
    }

    fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments, b"")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {arguments:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn check_exit_codes(&self) -> Result<()> {
        for code in [0, 1, 7, 255] {
            let script = format!("echo out; echo err >&2; exit {code}");
            let output = self.run(&["exec", "p", "--", "sh", "-c", &script], b"")?;
            assert_eq!(output.status.code(), Some(code));
            assert_eq!(output.stdout, b"out\n");
            assert!(output.stderr.starts_with(b"err\n"), "{output:?}");
        }
        let output = self.run(&["exec", "p", "--", "no-such-program"], b"")?;
        assert!(matches!(output.status.code(), Some(126 | 127)), "{output:?}");
        // A process that is killed, and not by us.
        let output = self.run(&["exec", "p", "--", "sh", "-c", "kill -9 $$"], b"")?;
        assert_eq!(output.status.code(), Some(137), "{output:?}");
        Ok(())
    }

    fn check_input(&self, bytes: &[u8]) -> Result<()> {
        let back = self.run(&["exec", "-i", "p", "--", "cat"], bytes)?;
        assert!(
            back.status.success() && back.stdout == bytes,
            "{} of {} bytes came back",
            back.stdout.len(),
            bytes.len()
        );
        let sum = self.run(&["exec", "-i", "p", "--", "sha256sum"], bytes)?;
        let expected: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(String::from_utf8_lossy(&sum.stdout).split_whitespace().next(), Some(expected.as_str()));
        // A process that reads nothing does not hold the client.
        let unread = self.run(&["exec", "-i", "p", "--", "true"], bytes)?;
        assert!(unread.status.success(), "{unread:?}");
        Ok(())
    }

    fn check_copies(&self, bytes: &[u8]) -> Result<()> {
        std::fs::write(self.dir.path().join("there"), bytes)?;
        self.ok(&["cp", "there", "p:/tmp/there"])?;
        self.ok(&["cp", "p:/tmp/there", "back"])?;
        assert!(std::fs::read(self.dir.path().join("back"))? == bytes, "another file came back");
        Ok(())
    }

    /// `script` gives kubectl a terminal, whose size it tells the other side.
    fn check_terminal(&self) -> Result<()> {
        let mut command = Command::new("script");
        self.dress(&mut command);
        let line = "stty rows 33 cols 77; kubectl exec -it p -- sh -c 'until stty size | grep \"33 77\"; do sleep 0.1; \
                    done; tty; exit 5'";
        let output = command.args(["-qec", line, "/dev/null"]).output().context("script is missing")?;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("33 77\r\n") && text.contains("/dev/pts/"), "{text}");
        assert_eq!(output.status.code(), Some(5), "{text}");
        Ok(())
    }

    async fn check_attach(&self) -> Result<()> {
        self.make("reader", "read line; echo got $line; echo bye >&2", true).await?;
        let output = self.run(&["attach", "-i", "reader"], b"a line\n")?;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "got a line\n");
        assert!(String::from_utf8_lossy(&output.stderr).contains("bye\n"), "{output:?}");
        Ok(())
    }

    fn check_ports(&self) -> Result<()> {
        for port in ["8080", "8081"] {
            let (_forwarding, address) = self.forward(port)?;
            for _ in 0..3 {
                assert!(get(&address)?.ends_with("\r\n\r\npage\n"), "port {port}");
            }
        }
        let (mut forwarding, address) = self.forward("9")?;
        assert_eq!(get(&address).unwrap_or_default(), "", "nobody listens there");
        forwarding.0.kill()?;
        let mut told = String::new();
        forwarding.0.stderr.take().context("it complains")?.read_to_string(&mut told)?;
        assert!(told.contains("error forwarding port 9 to pod p, uid "), "{told}");
        assert!(told.contains("Connection refused"), "{told}");
        Ok(())
    }

    fn forward(&self, port: &str) -> Result<(Running, String)> {
        let mut command = self.kubectl();
        command.args(["port-forward", "p", &format!("0:{port}")]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn()?);
        let mut stdout = child.0.stdout.take().context("it says where it listens")?;
        let mut said = Vec::new();
        while !said.ends_with(b"\n") {
            let mut byte = [0];
            stdout.read_exact(&mut byte)?;
            said.push(byte[0]);
        }
        let said = String::from_utf8(said)?;
        let address = said.split_whitespace().nth(2).context("Forwarding from ADDRESS")?.to_owned();
        // Its further words are for nobody, but it must be able to say them.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Ok((child, address))
    }

    /// How many processes of the pod have this in their command line.
    fn processes(&self, words: &str) -> Result<usize> {
        Ok(self.ok(&["exec", "p", "--", "ps"])?.lines().filter(|line| line.contains(words)).count())
    }

    fn begin(&self, arguments: &[&str], words: &str) -> Result<Running> {
        let child = Running(self.kubectl().args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?);
        wait_for("the command to run", || Ok((self.processes(words)? == 1).then_some(())))?;
        Ok(child)
    }

    fn check_clients_that_go(&self) -> Result<()> {
        let mut child = self.begin(&["exec", "-i", "p", "--", "sh", "-c", "cat; exit 0", "gone-1"], "gone-1")?;
        child.0.kill()?;
        wait_for("the end of the input to be read", || Ok((self.processes("gone-1")? == 0).then_some(())))?;
        let line = "kubectl exec -it p -- sleep 1357";
        let mut command = Command::new("script");
        self.dress(&mut command);
        let mut child =
            Running(command.args(["-qec", line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?);
        wait_for("the command to run", || Ok((self.processes("sleep 1357")? == 1).then_some(())))?;
        // The terminal goes, and with it the kubectl in it: its input ends a moment before its connection.
        child.0.kill()?;
        wait_for("the terminal to hang up", || Ok((self.processes("sleep 1357")? == 0).then_some(())))
    }
}

impl Drop for Site {
    /// The pod ends with its test, however that ends; a daemon that was stopped is not there to be told.
    fn drop(&mut self) {
        let _ = self.daemon.stop();
    }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str) -> Result<String> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

async fn check(websockets: bool) -> Result<()> {
    let mut bytes = vec![0; MUCH];
    rand::rng().fill_bytes(&mut bytes);
    let mut site = Site::new(websockets).await?;
    site.check_exit_codes()?;
    site.check_input(&bytes)?;
    site.check_copies(&bytes)?;
    site.check_terminal()?;
    site.check_attach().await?;
    site.check_ports()?;
    site.check_clients_that_go()?;
    check_end(&mut site)
}

/// The daemon ends in mid-conversation: the client hears of it, and the pod lives on until it is told otherwise.
fn check_end(site: &mut Site) -> Result<()> {
    let mut command = site.kubectl();
    command
        .args(["exec", "p", "--", "sh", "-c", "echo begun; sleep 2468"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Running(command.spawn()?);
    let mut begun = [0; 6];
    child.0.stdout.as_mut().context("it speaks")?.read_exact(&mut begun)?;
    site.daemon.stop()?;
    let mut told = String::new();
    child.0.stderr.take().context("it complains")?.read_to_string(&mut told)?;
    assert!(told.contains("jobdock is shutting down"), "{told}");
    assert_eq!(child.0.wait()?.code(), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_talks_to_pods_over_websockets() -> Result<()> {
    check(true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_talks_to_pods_over_spdy() -> Result<()> {
    check(false).await
}

/// A killed daemon leaves a process that waits for input at its end, and the next daemon goes on with the pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_in_mid_exec_leaves_nothing_that_waits() -> Result<()> {
    let mut site = Site::new(true).await?;
    let mut child = site.begin(&["exec", "-i", "p", "--", "sh", "-c", "cat; exit 0", "left-1"], "left-1")?;
    site.daemon.crash()?;
    assert!(!child.0.wait()?.success());
    site.daemon.restart()?;
    site.daemon.client().await?;
    std::fs::write(site.dir.path().join("config"), site.daemon.kubeconfig()?)?;
    wait_for("the end of the input to be read", || Ok((site.processes("left-1")? == 0).then_some(())))?;
    site.daemon.stop()
}
