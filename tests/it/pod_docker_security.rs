//! What a security context, a limit and a kernel parameter come to in a real process.

use std::fs;

use jobdock::runtime::Runtime as _;
use jobdock::runtime::session::Streams;
use k8s_openapi::api::core::v1::Pod;
use tokio::io::AsyncWriteExt as _;

use super::pod_docker::{engine_name, with_house};
use super::pod_house::{House, phase_of, tell};
use super::support::image;

/// One container: its name, its shell text, more of its fields.
type Part<'a> = (&'a str, &'a str, &'a str);

/// A pod that runs these at once, with more of its spec.
pub fn several(name: &str, spec: &str, containers: &[Part<'_>]) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 1{spec}, containers: \
         [{}]}}}}",
        parts(containers)
    )
}

/// Containers of the test's image, with commas.
pub fn parts(containers: &[Part<'_>]) -> String {
    let one = |(name, script, more): &Part<'_>| {
        format!(
            "{{name: {name}, image: {}, imagePullPolicy: Never, command: [sh, -c, {}]{more}}}",
            image::NAME,
            serde_json::to_string(script).expect("a text is JSON")
        )
    };
    containers.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Runs the pod to its good end; what each container said, in their order.
pub async fn run(house: &House, name: &str, spec: &str, containers: &[Part<'_>]) -> Vec<String> {
    let object = house.pod(&several(name, spec, containers)).await;
    let pod = house.until_over(name).await;
    let mut said = Vec::new();
    for (container, ..) in containers {
        said.push(house.log(&object, container, 0).await);
    }
    assert_eq!(phase_of(&pod), "Succeeded", "{}\n{}", tell(Some(&pod)), said.join("\n"));
    said
}

/// `KEY: value` of `/proc/self/status`; the last word of the line that begins with the key.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key} in {text}"));
    line.split_whitespace().last().expect("a line has a word")
}

/// Whether the bounding set of a status has the capability of that number.
fn holds(text: &str, capability: u32) -> bool {
    let bits = u64::from_str_radix(value(text, "CapBnd"), 16).expect("a set is hexadecimal");
    bits & (1 << capability) != 0
}

/// Numbers of capabilities.
const CHOWN: u32 = 0;
const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn privileges_are_those_of_the_security_context() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let status = "cat /proc/self/status; touch /x 2>/dev/null && echo written: yes || echo written: no";
        let context = |fields: &str| format!(", securityContext: {{{fields}}}");
        let fields = [
            ("plain", String::new()),
            ("capable", context("capabilities: {add: [NET_ADMIN], drop: [CHOWN]}")),
            (
                "bare",
                context("capabilities: {drop: [ALL]}, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true"),
            ),
            ("open", context("seccompProfile: {type: Unconfined}")),
            ("default", context("seccompProfile: {type: RuntimeDefault}")),
        ];
        let all: Vec<Part<'_>> = fields.iter().map(|(name, more)| (*name, status, more.as_str())).collect();
        let said = run(&house, "privileges", "", &all).await;
        let [plain, capable, bare, open, default] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(facts(plain), "2 0 yes +--");
        assert_eq!(facts(capable), "2 0 yes -+-");
        assert_eq!(facts(bare), "2 1 no ---");
        assert_eq!(facts(open), "0 0 yes +--");
        assert_eq!(facts(default), "2 0 yes +--");
        house.until_empty().await;
    })
    .await;
}

/// Seccomp, NoNewPrivs, whether the root could be written to, and which of three capabilities may be had.
fn facts(text: &str) -> String {
    let told = ["Seccomp:", "NoNewPrivs", "written"].map(|key| value(text, key)).join(" ");
    let set = [CHOWN, NET_ADMIN, SYS_ADMIN].map(|one| if holds(text, one) { "+" } else { "-" }).concat();
    format!("{told} {set}")
}

/// An engine that lacks a capability itself cannot give it: then the container has the others (runc 1.3), or says so (1.1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_privileged_container_may_do_everything_or_says_why_not() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let script = "cat /proc/self/status; touch /x; echo written: yes";
        let object =
            house.pod(&several("mighty", "", &[("main", script, ", securityContext: {privileged: true}")])).await;
        let pod = house.until_over("mighty").await;
        let own = fs::read_to_string("/proc/self/status").expect("it is readable");
        let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("it is readable");
        let last: u32 = last.trim().parse().expect("a number");
        if (0..=last).all(|one| holds(&own, one)) {
            assert_eq!(facts(&house.log(&object, "main", 0).await), "0 0 yes +++");
        } else if tell(Some(&pod)).starts_with("Succeeded") {
            let given = house.log(&object, "main", 0).await;
            assert!((0..=last).all(|one| holds(&given, one) == holds(&own, one)), "{given}");
        } else {
            assert!(tell(Some(&pod)).contains("main #0: StartError 128 ("), "{}", tell(Some(&pod)));
        }
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_runs_is_who_the_pod_says_and_its_files_are_its_groups() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let spec = ", securityContext: {runAsUser: 1000, runAsGroup: 1001, runAsNonRoot: true, fsGroup: 1002, \
                    supplementalGroups: [1003], supplementalGroupsPolicy: Strict}, volumes: [{name: d, emptyDir: {}}, {name: \
                    i, downwardAPI: {defaultMode: 256, items: [{path: n, fieldRef: {fieldPath: metadata.name}}]}}]";
        let mounts = ", volumeMounts: [{name: d, mountPath: /d}, {name: i, mountPath: /i}]";
        let own = format!("{mounts}, securityContext: {{runAsUser: 2000, runAsGroup: 2001}}");
        let ids = "id -u; id -g; id -G | tr ' ' '\\n' | sort -n | xargs";
        let files = format!("{ids}; stat -c '%g %a' /d; echo x > /d/$(id -u) && stat -c '%u %g' /d/$(id -u); cat /i/n; echo");
        let said = run(&house, "ids", spec, &[("pods", &files, mounts), ("own", &files, &own)]).await;
        assert_eq!(said[0], "1000\n1001\n1001 1002 1003\n1002 2777\n1000 1002\nids\n");
        assert_eq!(said[1], "2000\n2001\n1002 1003 2001\n1002 2777\n2000 1002\nids\n");
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kernel_parameters_are_the_pods_own() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let spec = ", securityContext: {sysctls: [{name: net.ipv4.ip_local_port_range, value: '2000 3000'}, {name: \
                    kernel.shm_rmid_forced, value: '1'}]}";
        let script = "xargs < /proc/sys/net/ipv4/ip_local_port_range; cat /proc/sys/kernel/shm_rmid_forced";
        let alone = run(&house, "alone", spec, &[("main", script, "")]).await;
        let shared = run(&house, "shared", spec, &[("one", script, ""), ("two", script, "")]).await;
        assert_eq!([alone, shared].concat(), ["2000 3000\n1\n"; 3]);
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn isolation_that_this_engine_lacks_is_told_and_what_it_has_is_given() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        let spec = ", hostUsers: false, securityContext: {seLinuxOptions: {level: 's0:c1,c2'}}";
        let script = "grep -c ' /proc/' /proc/self/mounts; true";
        let open = ", securityContext: {procMount: Unmasked}";
        let said = run(&house, "unmasked", spec, &[("closed", script, ""), ("open", script, open)]).await;
        let covered: Vec<u32> = said.iter().map(|text| text.trim().parse().expect("a number")).collect();
        assert!(covered[0] > 0 && covered[1] == 0, "{covered:?}");
        let events = house.events("unmasked").join("\n");
        let seen = engine.engine().await.expect("the engine answers");
        for (has, field) in [(seen.own_users, "spec.hostUsers"), (seen.selinux, "spec.securityContext.seLinuxOptions")]
        {
            let told = format!("Warning FieldNotHonoured {field} is not fully honoured: the engine");
            assert_eq!(events.contains(&told), !has, "{field}\n{events}");
        }
        // What would not hold is not started.
        house
            .pod(&several("loose", ", securityContext: {supplementalGroupsPolicy: Strict}", &[("main", "true", "")]))
            .await;
        let refused = |pod: &Pod| {
            let told = tell(Some(pod));
            told.contains("CreateContainerConfigError (supplementalGroupsPolicy Strict needs a runAsGroup here")
        };
        house.until("loose", "refused", refused).await;
        house.delete("loose", Some(0)).await;
        house.until_gone("loose").await;
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_stand_in_the_control_group_of_the_container() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        let resources = ", resources: {limits: {cpu: 250m, memory: 48Mi}, requests: {cpu: 125m, memory: 32Mi}}";
        // The first of each pair is that of version 1. A machine that does not count swap has no file for it.
        let script = "cd /sys/fs/cgroup; if test -d memory; then echo $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us \
                      memory/memory.limit_in_bytes) $(cat memory/memory.memsw.limit_in_bytes 2>/dev/null); else echo $(cat \
                      cpu.max memory.max) $(cat memory.swap.max 2>/dev/null); fi";
        let said = run(&house, "held", "", &[("main", script, resources)]).await;
        let limit = 48 << 20;
        let version = engine.engine().await.expect("the engine answers").cgroup_version;
        let swap = if version == 1 { limit } else { 0 };
        let plain = format!("25000 100000 {limit}");
        assert!([plain.clone(), format!("{plain} {swap}")].contains(&said[0].trim().to_owned()), "{said:?}");
        // Only what is requested has to fit the machine: a limit may be above it.
        let above = ", resources: {limits: {cpu: 4096}, requests: {cpu: 10m}}";
        assert_eq!(run(&house, "above", "", &[("main", "echo runs", above)]).await, ["runs\n"]);
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_and_an_input_are_had_where_they_are_asked_for() {
    with_house(|house, engine| async move {
        let house = house.lock().await;
        let terminal = "test -t 1 && echo terminal || echo none; test -t 0 && echo keyboard || echo none";
        // Without an input the end of it is read at once; with one that is closed after its first user, then.
        let reads = "while read line; do echo got $line; done; echo end";
        let containers = [
            ("plain", terminal, ""),
            ("typed", terminal, ", tty: true, stdin: true"),
            ("empty", reads, ""),
            ("once", reads, ", stdin: true, stdinOnce: true"),
        ];
        let object = house.pod(&several("streams", "", &containers)).await;
        house.until("streams", "half over", |pod| tell(Some(pod)).contains("empty #0: Completed")).await;
        let pod =
            house.until("streams", "running", |pod| tell(Some(pod)).contains("once #0 ready started: running")).await;
        assert_eq!(phase_of(&pod), "Running");
        let name = engine_name(&object, "once", 0);
        let streams = Streams { stdin: true, ..Streams::default() };
        let mut session = engine.attach(&name, streams).await.expect("it can be joined");
        session.input.write_all(b"a line\n").await.expect("it takes input");
        session.input.shutdown().await.expect("its end is told");
        house.until_phase("streams", "Succeeded").await;
        for (container, said) in [
            ("plain", "none\nnone\n"),
            ("typed", "terminal\nkeyboard\n"),
            ("empty", "end\n"),
            ("once", "got a line\nend\n"),
        ] {
            assert_eq!(house.log(&object, container, 0).await.replace('\r', ""), said, "{container}");
        }
        house.until_empty().await;
    })
    .await;
}
