//! What the containers of a pod share with each other and with the machine, in which order they come and go, and what they
//! learn of themselves, on the real engine.

use std::fs;

use tokio::net::TcpListener;

use super::pod_checks::serve_health;
use super::pod_docker::{first, with_house};
use super::pod_docker_security::{parts, run, several};
use super::pod_house::{phase_of, tell};

/// A volume that all containers see.
const WORK: &str = ", volumes: [{name: w, emptyDir: {}}]";
const MOUNT: &str = ", volumeMounts: [{name: w, mountPath: /w}]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_are_seen_by_the_pods_other_containers_where_it_says_so() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let heard = "trap 'echo heard; exit 0' USR1; touch /w/ready; while :; do sleep 0.1; done";
        let finds = "until test -e /w/ready; do sleep 0.1; done; set -- $(ps -o pid,args | grep '[U]SR1; touch'); kill -USR1 \
                     $1; cat /proc/1/comm";
        let spec = format!(", shareProcessNamespace: true{WORK}");
        let said = run(&house, "shared", &spec, &[("hears", heard, MOUNT), ("finds", finds, MOUNT)]).await;
        assert_eq!(said, ["heard\n", "pause\n"]);
        let first = "cat /proc/1/comm; true";
        let said = run(&house, "apart", "", &[("one", first, ""), ("two", first, "")]).await;
        assert_eq!(said, ["sh\n", "sh\n"]);
        house.until_empty().await;
    })
    .await;
}

/// Needs the engine on the machine of the test, whose own namespaces are compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machines_namespaces_are_had_where_they_are_asked_for() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let script = "for one in pid ipc net; do readlink /proc/self/ns/$one; done";
        let machine: String = ["pid", "ipc", "net"]
            .map(|one| fs::read_link(format!("/proc/self/ns/{one}")).expect("a namespace has a link"))
            .map(|link| format!("{}\n", link.display()))
            .concat();
        let host = ", hostPID: true, hostIPC: true, hostNetwork: true";
        assert_eq!(run(&house, "alone", host, &[("main", script, "")]).await, [machine.as_str()]);
        let both = [("one", script, ""), ("two", script, "")];
        let two = [machine.as_str(), machine.as_str()];
        assert_eq!(run(&house, "two", host, &both).await, two);
        let own = run(&house, "own", "", &both).await;
        let lines: Vec<Vec<&str>> = own.iter().map(|text| text.lines().collect()).collect();
        // Those of processes may have the same number, one after the other.
        assert_eq!(lines[0][1..], lines[1][1..]);
        assert!(lines.iter().flatten().all(|line| !machine.contains(line)), "{machine} {own:?}");
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stop_signal_is_the_containers_own() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let script = "trap 'echo asked; exit 0' USR1; trap 'exit 1' TERM; echo ready; while :; do sleep 0.1; done";
        let yaml = several("asked", ", os: {name: linux}", &[("main", script, ", lifecycle: {stopSignal: SIGUSR1}")]);
        let object = house.pod(&yaml.replace("{name: asked}", "{name: asked, finalizers: [test/hold]}")).await;
        house.eventually("it listens", || async { house.said(&object, "main", 0).await == "ready\n" }).await;
        house.delete("asked", Some(20)).await;
        let pod = house.until_over("asked").await;
        assert_eq!(house.log(&object, "main", 0).await, "ready\nasked\n");
        assert_eq!(first(&pod), "main #0: Completed 0, last -");
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_containers_rules_say_which_exit_codes_are_tried_again() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let rules =
            ", restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]";
        let rules = format!("{rules}{MOUNT}");
        let again = "test -e /w/been && exit 0; touch /w/been; exit 42";
        house.pod(&several("ruled", WORK, &[("again", again, &rules), ("never", "exit 7", &rules)])).await;
        let pod = house.until_phase("ruled", "Failed").await;
        let told = tell(Some(&pod));
        assert!(told.contains("\nagain #1: Completed 0, last Error 42\nnever #0: Error 7, last -"), "{told}");
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_come_in_order_behind_their_probe_and_go_in_reverse() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let waits = "while :; do sleep 0.1; done";
        let one = format!(
            "echo one begins >> /w/log; trap 'echo one ends >> /w/log; cat /w/log; exit 0' TERM; sleep 1; echo one ready >> \
             /w/log; touch /w/one; {waits}"
        );
        let two = format!(
            "echo two begins >> /w/log; trap 'sleep 1; echo two ends >> /w/log; exit 0' TERM; touch /w/two; {waits}"
        );
        let probe = |file: &str| {
            let command = format!("exec: {{command: [test, -e, /w/{file}]}}");
            format!(", restartPolicy: Always, startupProbe: {{periodSeconds: 1, failureThreshold: 60, {command}}}{MOUNT}")
        };
        let (first, second) = (probe("one"), probe("two"));
        let init = parts(&[
            ("one", one.as_str(), first.as_str()),
            ("two", two.as_str(), second.as_str()),
            ("init", "echo init >> /w/log", MOUNT),
        ]);
        let spec = format!(", initContainers: [{init}]{WORK}");
        let yaml = several("orderly", &spec, &[("main", "echo main >> /w/log", MOUNT)]);
        let object = house.pod(&yaml.replace("PeriodSeconds: 1,", "PeriodSeconds: 30,")).await;
        let pod = house.until_over("orderly").await;
        assert_eq!(phase_of(&pod), "Succeeded", "{}", tell(Some(&pod)));
        let log = house.log(&object, "one", 0).await;
        assert_eq!(log, "one begins\none ready\ntwo begins\ninit\nmain\ntwo ends\none ends\n");
        house.until_empty().await;
    })
    .await;
}

/// Paths that a variable may name, and what they give; an empty value is compared by the test itself.
const FIELDS: [(&str, &str); 7] = [
    ("metadata.name", "told"),
    ("metadata.namespace", "default"),
    ("metadata.labels['app']", "web"),
    ("metadata.annotations['note']", "a b"),
    ("spec.nodeName", "node"),
    ("spec.serviceAccountName", "robot"),
    ("metadata.uid", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_learns_of_itself_what_it_asks_for() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let variable = |name: String, source: String| format!("{{name: {name}, valueFrom: {{{source}}}}}");
        let field = |path: &str| format!("fieldRef: {{fieldPath: '{}'}}", path.replace('\'', "''"));
        let amount = |resource: &str, divisor: &str| {
            format!("resourceFieldRef: {{containerName: main, resource: {resource}, divisor: {divisor}}}")
        };
        let mut env: Vec<String> =
            FIELDS.iter().enumerate().map(|(at, (path, _))| variable(format!("F{at}"), field(path))).collect();
        let amounts = [
            ("limits.cpu", "1m", "1500"),
            ("requests.cpu", "1m", "250"),
            ("limits.memory", "1Mi", "64"),
            ("requests.memory", "1Ki", "32768"),
            ("limits.ephemeral-storage", "1Mi", "512"),
            ("requests.ephemeral-storage", "1Mi", "256"),
        ];
        env.extend(amounts.iter().enumerate().map(|(at, (path, unit, _))| variable(format!("A{at}"), amount(path, unit))));
        let addresses = ["status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"];
        env.extend(addresses.iter().enumerate().map(|(at, path)| variable(format!("I{at}"), field(path))));
        let files = [("labels", "metadata.labels"), ("notes", "metadata.annotations"), ("name", "metadata.name")];
        let mut items: Vec<String> =
            files.iter().map(|(file, path)| format!("{{path: {file}, {}}}", field(path))).collect();
        items.push(format!("{{path: cpu, {}}}", amount("requests.cpu", "1m")));
        let spec =
            format!(", serviceAccountName: robot, volumes: [{{name: i, downwardAPI: {{items: [{}]}}}}]", items.join(", "));
        let more = format!(
            ", resources: {{limits: {{cpu: 1500m, memory: 64Mi, ephemeral-storage: 512Mi}}, requests: {{cpu: 250m, memory: \
             32Mi, ephemeral-storage: 256Mi}}}}, volumeMounts: [{{name: i, mountPath: /i}}], env: [{}]",
            env.join(", ")
        );
        let script = "for one in 0 1 2 3 4 5 6; do eval echo \\$F$one; done; echo $A0 $A1 $A2 $A3 $A4 $A5; \
                      hostname -i | grep -qw $I0 && echo own; echo $I1 $I2 $I3; cat /i/labels; echo; grep note /i/notes; \
                      echo; cat /i/name; echo; cat /i/cpu";
        let yaml = several("told", &spec, &[("main", script, &more)]);
        let meta = "{name: told, labels: {app: web}, annotations: {note: 'a b'}}";
        let object = house.pod(&yaml.replace("{name: told}", meta)).await;
        let pod = house.until_over("told").await;
        let status = pod.status.clone().unwrap_or_default();
        let (ip, host) = (status.pod_ip.unwrap_or_default(), status.host_ip.unwrap_or_default());
        let mut expected: Vec<&str> = FIELDS.iter().map(|(_, value)| *value).collect();
        expected[6] = object.uid();
        let amounts = amounts.map(|(_, _, value)| value).join(" ");
        let addresses = format!("{ip} {host} {host}");
        expected.extend([&amounts, "own", &addresses, "app=\"web\"", "note=\"a b\"", "", "told", "250"]);
        let log = house.log(&object, "main", 0).await;
        assert_eq!(log.lines().collect::<Vec<_>>(), expected, "{}", tell(Some(&pod)));
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_come_from_files_that_earlier_containers_wrote() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let volumes = ", volumes: [{name: d, emptyDir: {}}, {name: m, emptyDir: {medium: Memory}}]";
        let writes = "echo \"A='from a $(date +%Y | wc -c)' # note\" > /d/e; mkdir /m/sub; printf \"B='two\\nlines'\\n\" > \
                      /m/sub/e; ln -s /etc/passwd /d/link";
        let mounts = ", volumeMounts: [{name: d, mountPath: /d}, {name: m, mountPath: /m}]";
        let spec = format!("{volumes}, initContainers: [{}]", parts(&[("writes", writes, mounts)]));
        let from = |name: &str, volume: &str, path: &str, key: &str, more: &str| {
            format!(
                "{{name: {name}, valueFrom: {{fileKeyRef: {{volumeName: {volume}, path: {path}, key: {key}{more}}}}}}}"
            )
        };
        let all = [
            from("ONE", "d", "e", "A", ""),
            from("TWO", "m", "sub/e", "B", ""),
            from("NONE", "d", "e", "X", ", optional: true"),
            "{name: LAST, value: '$(ONE)!'}".to_owned(),
        ];
        let env = format!(", env: [{}]", all.join(", "));
        let said = run(&house, "told", &spec, &[("main", "echo \"$ONE|$TWO|${NONE-unset}|$LAST\"; ls /", &env)]).await;
        assert!(said[0].starts_with("from a 5|two\nlines|unset|from a 5!\n"), "{said:?}");
        assert!(!said[0].contains("\nd\n"), "the volume is not mounted: {said:?}");
        for (name, reference, words) in [
            ("missing", from("A", "d", "e", "X", ""), "environment variable key \"X\" not found in file \"e\")"),
            ("nofile", from("A", "d", "no", "X", ", optional: true"), "couldn't parse env file: there is no file \"no\""),
            ("linked", from("A", "d", "link", "root", ""), "couldn't parse env file: there is no file \"link\""),
        ] {
            house.pod(&several(name, &spec, &[("main", "true", &format!(", env: [{reference}]"))])).await;
            let told = format!("main #0: waiting CreateContainerConfigError ({words}");
            house.until(name, "refused", |pod| tell(Some(pod)).contains(&told)).await;
            house.delete(name, Some(0)).await;
            house.until_gone(name).await;
        }
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_host_name_is_the_one_that_it_asks_for() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        for (name, spec, expected) in [
            ("plain", "", "plain"),
            ("named", ", hostname: web, subdomain: sub", "web"),
            ("whole", ", hostname: web, subdomain: sub, setHostnameAsFQDN: true", "web.sub.default.svc.cluster.local"),
            ("other", ", hostnameOverride: other.example", "other.example"),
        ] {
            assert_eq!(run(&house, name, spec, &[("main", "hostname", "")]).await, [format!("{expected}\n")], "{name}");
        }
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_probe_asks_the_service_that_it_names() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        // The pod is in the machine's network, and so the test can answer for it.
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let server = serve_health(listener);
        let probe = |service: &str| format!(", readinessProbe: {{periodSeconds: 1, grpc: {{port: {port}{service}}}}}");
        let (well, ill) = (probe(""), probe(", service: down"));
        let waits = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
        house.pod(&several("asked", ", hostNetwork: true", &[("well", waits, &well), ("ill", waits, &ill)])).await;
        let told = "Warning Unhealthy Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")";
        house.eventually("it is told", || async { house.events("asked").iter().any(|line| line == told) }).await;
        let ready =
            |pod: &k8s_openapi::api::core::v1::Pod| tell(Some(pod)).contains("\nwell #0 ready started: running");
        let pod = house.until("asked", "half ready", ready).await;
        assert!(tell(Some(&pod)).contains("\nill #0 started: running"), "{}", tell(Some(&pod)));
        house.delete("asked", Some(0)).await;
        house.until_gone("asked").await;
        house.until_empty().await;
        server.abort();
    })
    .await;
}
