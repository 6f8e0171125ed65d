//! Networks, ports and names on the real engine: what only real sockets and real C libraries can show.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jobdock::runtime::Runtime as _;
use k8s_openapi::api::core::v1::Service;
use tokio_util::sync::CancellationToken;

use super::pod_docker::with_house;
use super::pod_house::{House, from_yaml};
use super::support::image;

/// A pod with one container that runs a shell text, with more of its metadata, spec and container.
fn shell(name: &str, script: &str, meta: &str, spec: &str, container: &str) -> String {
    format!(
        "{{metadata: {{name: {name}{meta}}}, spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 0{spec}, \
         containers: [{{name: main, image: {}, imagePullPolicy: Never, command: [sh, -c, {}]{container}}}]}}}}",
        image::NAME,
        serde_json::to_string(script).expect("a text is JSON")
    )
}

/// A port of the machine that nobody has at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_port_leads_into_the_pod() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let port = free_port();
        let ports = format!(", ports: [{{containerPort: 8000, hostPort: {port}, hostIP: 127.0.0.1}}]");
        house.pod(&shell("serves", "echo hello | nc -l -p 8000; sleep 1000", "", "", &ports)).await;
        house.until_phase("serves", "Running").await;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        house
            .eventually("the port answers", || async move {
                let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
                let mut text = String::new();
                let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                let _ = stream.write_all(b"\n");
                let _ = stream.read_to_string(&mut text);
                text == "hello\n"
            })
            .await;
        house.delete("serves", Some(0)).await;
        house.until_gone("serves").await;
        // A port that another program has is waited for, and that is told.
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("it has an address").port();
        let ports = format!(", ports: [{{containerPort: 8000, hostPort: {port}, hostIP: 127.0.0.1}}]");
        house.pod(&shell("waits", "true", "", "", &ports)).await;
        let told = || house.events("waits").iter().any(|line| line.contains("Warning FailedCreatePodSandBox"));
        house.eventually("it is told", || async { told() }).await;
        assert_eq!(house.get("waits").and_then(|pod| pod.status?.phase).as_deref(), Some("Pending"));
        drop(taken);
        house.until_phase("waits", "Succeeded").await;
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resolver_settings_and_host_aliases_are_seen_inside() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let spec = ", dnsPolicy: None, dnsConfig: {nameservers: [192.0.2.53], searches: [one.test, two.test], \
                    options: [{name: ndots, value: '3'}]}, hostAliases: [{ip: 192.0.2.1, hostnames: [alias.test]}]";
        let script = "cat /etc/resolv.conf; grep alias.test /etc/hosts";
        let object = house.pod(&shell("dns", script, "", spec, "")).await;
        house.until_phase("dns", "Succeeded").await;
        let log = house.log(&object, "main", 0).await;
        for line in ["nameserver 192.0.2.53", "search one.test two.test", "options ndots:3", "192.0.2.1\talias.test"] {
            assert!(log.contains(line), "{line} in {log}");
        }
        house.until_empty().await;
    })
    .await;
}

/// Stores a headless Service whose selector is `app: NAME`, and keeps its endpoints until the token ends.
async fn service(house: &House, name: &str) -> CancellationToken {
    let stop = CancellationToken::new();
    tokio::spawn(jobdock::service::run(house.store.clone(), stop.clone()));
    let text = format!(
        "{{metadata: {{name: {name}, namespace: default}}, spec: {{clusterIP: None, selector: {{app: {name}}}}}}}"
    );
    house.create::<Service>(from_yaml(&text)).await;
    stop
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_comes_later_is_found_by_a_container_that_runs() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let stop = service(&house, "late").await;
        // `ping` asks the C library; the sidecar shows that every container of the pod has the names.
        let script = "until ping -c 1 -W 1 one.late > /dev/null 2>&1; do sleep 0.1; done; \
                      ping -c 1 late.default.svc.cluster.local > /dev/null && ping -c 1 one.late.default > /dev/null && \
                      ping -c 1 host.docker.internal > /dev/null && echo found";
        // Docker gives it to every container, podman does not.
        let raw = ", securityContext: {capabilities: {add: [NET_RAW]}}";
        let beside = format!(
            ", initContainers: [{{name: beside, restartPolicy: Always, image: {}, imagePullPolicy: Never, \
             command: [sh, -c, 'until ping -c 1 -W 1 one.late > /dev/null 2>&1; do sleep 0.1; done; echo beside found; \
             sleep 1000']{raw}}}]",
            image::NAME
        );
        let asks = house.pod(&shell("asks", script, "", &beside, raw)).await;
        house.until_phase("asks", "Running").await;
        let spec = ", hostname: one, subdomain: late, setHostnameAsFQDN: true";
        let answers = house.pod(&shell("answers", "hostname; sleep 1000", ", labels: {app: late}", spec, "")).await;
        house.until_phase("asks", "Succeeded").await;
        assert_eq!(house.log(&asks, "main", 0).await, "found\n");
        assert_eq!(house.log(&asks, "beside", 0).await, "beside found\n");
        house.delete("answers", Some(0)).await;
        house.until_gone("answers").await;
        let _ = answers;
        house.until_empty().await;
        stop.cancel();
    })
    .await;
}

/// A network of the engine that somebody else made; it goes with the test.
struct Network(String);

impl Network {
    fn make() -> Self {
        let name = format!("jobdock-test-{}", std::process::id());
        let made = Command::new("docker").args(["network", "create", &name]).output().expect("docker runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(name)
    }

    fn has(&self, container: &str) -> bool {
        let shown = Command::new("docker").args(["network", "inspect", &self.0]).output().expect("docker runs");
        String::from_utf8_lossy(&shown.stdout).contains(container)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["network", "rm", &self.0]).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_joins_the_network_that_its_annotation_names() {
    let network = Arc::new(Network::make());
    with_house(|house, engine| async move {
        let house = house.lock().await;
        let meta = format!(", annotations: {{jobdock.io/networks: {}}}", network.0);
        let object = house.pod(&shell("joins", "sleep 1000", &meta, "", "")).await;
        let pod = house.until_phase("joins", "Running").await;
        assert!(network.has(&format!("jobdock-{}-main-0", object.uid())));
        assert!(pod.status.and_then(|status| status.pod_ip).is_some());
        house.delete("joins", Some(0)).await;
        house.until_gone("joins").await;
        house.until_empty().await;
        assert!(engine.containers().await.expect("it lists").is_empty());
    })
    .await;
}
