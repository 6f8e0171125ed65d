//! Which pods the scheduler binds, and what it says to the others: tables on the pure plan, and flows on a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jobdock::model::object::Object;
use jobdock::runtime::fake::Fake;
use jobdock::scheduler::apply;
use jobdock::scheduler::demand::Demand;
use jobdock::scheduler::ledger::{Guest, Ledger};
use jobdock::scheduler::plan::{Plan, Told, plan};
use jobdock::store::{Store, Write};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use super::pod_house::{House, from_yaml, pod};

/// Four cores, 8 GiB, five pods.
const NODE: &str = "{metadata: {name: node, uid: n, labels: {zone: a, cores: '4'}}, status: {allocatable: {cpu: '4', memory: 8Gi, pods: '5'}}}";

/// A pod that has the node and has begun.
pub const RUNS: &str = ", nodeName: node}, status: {startTime: '2025-01-01T00:00:00Z'";

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a test's instant is in range")
}

/// A ledger that is fed from YAML; whatever a plan decides goes back into it.
pub struct Desk {
    pub ledger: Ledger,
    revision: u64,
    pub now: Timestamp,
    pods: BTreeMap<String, Object>,
}

impl Desk {
    pub fn new() -> Self {
        let mut desk = Self { ledger: Ledger::new("node"), revision: 0, now: at(0), pods: BTreeMap::new() };
        desk.learn(&Object::new(from_yaml::<Node>(NODE)));
        desk
    }

    fn learn(&mut self, object: &Object) -> Object {
        self.revision += 1;
        let revision = self.revision.to_string();
        let object = object.with_meta(|meta| meta.resource_version = Some(revision.clone()));
        self.ledger.learn(&object);
        self.pods.insert(object.key().name, object.clone());
        object
    }

    /// The node with this spec.
    pub fn node(&mut self, spec: &str) {
        let mut node: Node = from_yaml(NODE);
        node.spec = Some(from_yaml(spec));
        self.learn(&Object::new(node));
    }

    /// A pod with the label `app`.
    pub fn labelled(&mut self, name: &str, app: &str, extra: &str) -> Object {
        let labels = Some([("app".to_owned(), app.to_owned())].into());
        let object = self.pod(name, "", extra);
        self.learn(&object.with_meta(|meta| meta.labels = labels.clone()))
    }

    /// The pod of that name is gone, as it last was.
    pub fn leave(&mut self, name: &str) {
        let pod = self.pods[name].clone();
        self.gone(&pod);
    }

    /// A pod whose spec is `{containers: [..], EXTRA}` with these requests; names sort as they are given.
    pub fn pod(&mut self, name: &str, requests: &str, extra: &str) -> Object {
        let yaml = format!(
            "{{metadata: {{name: {name}, uid: {name}, creationTimestamp: '2025-01-01T00:00:00Z'}}, \
             spec: {{containers: [{{name: c, resources: {{requests: {{{requests}}}}}}}]{extra}}}}}"
        );
        self.learn(&Object::new(pod(&yaml)))
    }

    /// A pod of the Job `job`.
    pub fn member(&mut self, name: &str, requests: &str) -> Object {
        let owner = "[{apiVersion: batch/v1, kind: Job, name: job, uid: job, controller: true}]";
        let object = self.pod(name, requests, "");
        let owned = object.with_meta(|meta| meta.owner_references = Some(from_yaml(owner)));
        self.learn(&owned)
    }

    /// The Job `job`.
    pub fn job(&mut self, spec: &str, status: &str) {
        let yaml = format!("{{metadata: {{name: job, uid: job, namespace: default}}, spec: {spec}, status: {status}}}");
        self.learn(&Object::new(from_yaml::<Job>(&yaml)));
    }

    pub fn gone(&mut self, pod: &Object) {
        self.ledger.forget(pod);
    }

    /// Plans and takes the plan in; `bound`, or `name: message`, by line.
    pub fn pass(&mut self) -> String {
        let plan = plan(&self.ledger, self.now);
        for write in apply::writes(&self.ledger, &plan, self.now) {
            if let Write::Update { object, .. } = write {
                self.learn(&object);
            }
        }
        if plan.reworded {
            self.ledger.reworded_at = Some(self.now);
        }
        tell(&plan)
    }
}

fn tell(plan: &Plan) -> String {
    let name = |guest: &Guest| guest.object.meta().name.clone().unwrap_or_default();
    let mut lines: Vec<String> = plan.bind.iter().map(|guest| name(guest)).collect();
    lines.extend(plan.admit.iter().map(|guest| format!("{} may run", name(guest))));
    lines.extend(plan.refuse.iter().map(|(guest, why)| format!("{} {}: {}", name(guest), why.reason, why.message)));
    lines.extend(plan.evict.iter().map(|eviction| format!("{} goes: {:?}", name(&eviction.guest), eviction.why)));
    let nominated = |told: &Told| if told.nominated { " (nominated)" } else { "" };
    lines.extend(plan.tell.iter().map(|told| format!("{}{}: {}", name(&told.guest), nominated(told), told.message)));
    lines.extend(plan.date_taints.then(|| "taints are dated".to_owned()));
    lines.join("\n")
}

/// What a lone pod is told that stays resolvable by the end of others, or not.
pub fn refusal(reasons: &str, resolvable: bool) -> String {
    let end = if resolvable {
        "No preemption victims found for incoming pod"
    } else {
        "Preemption is not helpful for scheduling"
    };
    format!("0/1 nodes are available: {reasons}. preemption: 0/1 nodes are available: 1 {end}.")
}

#[test]
fn a_pod_is_bound_where_its_requests_fit() {
    for (requests, expected) in [
        ("", Ok(())),
        ("cpu: '4', memory: 8Gi", Ok(())),
        ("cpu: 4001m", Err(("1 Insufficient cpu", false))),
        ("cpu: '5', memory: 9Gi", Err(("1 Insufficient cpu, 1 Insufficient memory", false))),
        ("memory: 8193Mi", Err(("1 Insufficient memory", false))),
        ("nvidia.com/gpu: '1'", Err(("1 Insufficient nvidia.com/gpu", false))),
        ("nvidia.com/gpu: '0'", Ok(())),
        ("ephemeral-storage: 1Ti", Ok(())),
    ] {
        let mut desk = Desk::new();
        desk.pod("p", requests, "");
        let expected = match expected {
            Ok(()) => "p".to_owned(),
            Err((reasons, resolvable)) => format!("p: {}", refusal(reasons, resolvable)),
        };
        assert_eq!(desk.pass(), expected, "{requests}");
    }
}

#[test]
fn what_runs_leaves_less_room_until_it_ends() {
    let mut desk = Desk::new();
    let first = desk.pod("a", "cpu: '3'", "");
    desk.pod("b", "cpu: '2'", "");
    desk.pod("c", "cpu: '1'", "");
    // One that does not fit does not stand in the way of those behind it.
    assert_eq!(desk.pass(), format!("a\nc\nb: {}", refusal("1 Insufficient cpu", true)));
    assert_eq!(desk.pass(), "", "it is said once");
    desk.gone(&first);
    assert_eq!(desk.pass(), "b");
}

#[test]
fn a_finished_pod_takes_no_room() {
    let mut desk = Desk::new();
    let first = desk.pod("a", "cpu: '4'", RUNS);
    desk.pod("b", "cpu: '4'", "");
    assert_eq!(desk.pass(), format!("b: {}", refusal("1 Insufficient cpu", true)));
    let mut ended = first.typed::<Pod>().expect("a pod").clone();
    ended.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
    desk.learn(&Object::new(ended));
    assert_eq!(desk.pass(), "b");
}

#[test]
fn a_node_takes_so_many_pods() {
    let mut desk = Desk::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        desk.pod(name, "", "");
    }
    assert_eq!(desk.pass(), format!("a\nb\nc\nd\ne\nf: {}", refusal("1 Too many pods", true)));
}

#[test]
fn priority_comes_before_age_and_age_before_name() {
    let mut desk = Desk::new();
    desk.pod("a", "cpu: '4'", "");
    let old = desk.pod("z", "cpu: '4'", "");
    desk.learn(&old.with_meta(|meta| {
        meta.creation_timestamp = Some(from_yaml("'2024-01-01T00:00:00Z'"));
    }));
    let high = desk.pod("m", "cpu: '4'", ", priority: 7");
    assert_eq!(desk.pass().lines().next(), Some("m"));
    desk.gone(&high);
    assert_eq!(desk.pass().lines().next(), Some("z"));
}

#[test]
fn pods_of_others_and_pods_that_are_held_back_are_left_alone() {
    for extra in [", schedulerName: other", ", schedulingGates: [{name: g}]", ", nodeName: elsewhere", RUNS] {
        let mut desk = Desk::new();
        desk.pod("p", "", extra);
        assert_eq!(desk.pass(), "", "{extra}");
    }
}

#[test]
fn new_reasons_are_told_after_a_while_and_not_each_time() {
    let mut desk = Desk::new();
    let (cpu, memory) = (refusal("1 Insufficient cpu", true), refusal("1 Insufficient memory", true));
    let mut takes = desk.pod("a", "cpu: '4'", RUNS);
    desk.pod("p", "cpu: '1', memory: 1Gi", "");
    assert_eq!(desk.pass(), format!("p: {cpu}"));
    for (seconds, requests, expected) in [
        (1, "memory: 8Gi", format!("p: {memory}")),
        (2, "cpu: '4'", String::new()),
        (12, "cpu: '4'", format!("p: {cpu}")),
    ] {
        desk.gone(&takes);
        takes = desk.pod("a", requests, RUNS);
        desk.now = at(seconds);
        assert_eq!(desk.pass(), expected, "{seconds}");
    }
}

#[test]
fn a_pods_demand_is_its_containers_or_its_largest_init_step() {
    let c = |cpu: &str| format!("{{name: c, resources: {{requests: {{cpu: {cpu}}}}}}}");
    let sidecar = |cpu: &str| format!("{{name: s, restartPolicy: Always, resources: {{requests: {{cpu: {cpu}}}}}}}");
    for (spec, milli) in [
        (format!("{{containers: [{}, {}]}}", c("1"), c("500m")), 1500),
        (format!("{{containers: [{}], initContainers: [{}, {}]}}", c("1"), c("3"), c("2")), 3000),
        (format!("{{containers: [{}], initContainers: [{}, {}]}}", c("1"), sidecar("1"), c("2")), 3000),
        (format!("{{containers: [{}], initContainers: [{}, {}]}}", c("1"), c("2"), sidecar("2")), 3000),
        (format!("{{containers: [{}], overhead: {{cpu: 250m}}}}", c("1")), 1250),
        (format!("{{containers: [{}], resources: {{requests: {{cpu: '2'}}}}}}", c("1")), 2000),
    ] {
        let demand = Demand::of_pod(&from_yaml::<PodSpec>(&spec));
        assert_eq!(demand.get("cpu"), milli, "{spec}");
    }
}

const GANG_OF_THREE: &str = "{parallelism: 3, completions: 3, scheduling: {schedulingPolicy: {gang: {}}}}";

#[test]
fn a_gang_starts_as_soon_as_all_of_it_fits_and_not_before() {
    let mut desk = Desk::new();
    desk.job(GANG_OF_THREE, "{}");
    let blocker = desk.pod("0", "cpu: '2'", RUNS);
    for name in ["a", "b", "c"] {
        desk.member(name, "cpu: '1'");
    }
    let few = "minCount (3) cannot be satisfied: 2 scheduled, 0 remaining";
    assert_eq!(desk.pass(), format!("a: {few}\nb: {few}\nc: {}", refusal("1 Insufficient cpu", true)));
    desk.gone(&blocker);
    assert_eq!(desk.pass(), "a\nb\nc");
}

#[test]
fn a_gang_that_does_not_fit_takes_no_room_from_others() {
    let mut desk = Desk::new();
    desk.job(GANG_OF_THREE, "{}");
    for name in ["a", "b", "c"] {
        desk.member(name, "cpu: '2'");
    }
    desk.pod("z", "cpu: '4'", "");
    assert_eq!(desk.pass().lines().next(), Some("z"));
}

#[test]
fn a_gang_waits_for_its_pods_to_be_there() {
    let mut desk = Desk::new();
    desk.job(GANG_OF_THREE, "{}");
    desk.member("a", "");
    desk.member("b", "");
    let words = "waiting for minCount pods from a gang to appear in scheduling queue";
    assert_eq!(desk.pass(), format!("a: {words}\nb: {words}"));
    desk.member("c", "");
    assert_eq!(desk.pass(), "a\nb\nc");
}

#[test]
fn the_size_of_a_gang_counts_as_it_stands_now() {
    let spec = |policy: &str| format!("{{parallelism: 3, completions: 9, scheduling: {{schedulingPolicy: {policy}}}}}");
    for (policy, status, bound) in [
        ("{gang: {}}", "{}", ""),
        ("{gang: {minCount: 3}}", "{}", ""),
        ("{gang: {minCount: 2}}", "{}", "a b"),
        ("{gang: {minCount: 1}}", "{}", "a b"),
        ("{basic: {}}", "{}", "a b"),
        // Two completions are left to do: waiting for three pods would be waiting for ever.
        ("{gang: {}}", "{succeeded: 7}", "a b"),
        ("{gang: {}}", "{succeeded: 6}", ""),
    ] {
        let mut desk = Desk::new();
        desk.job(GANG_OF_THREE, "{}");
        for name in ["a", "b", "c"] {
            desk.member(name, "cpu: '2'");
        }
        desk.pass();
        desk.job(&spec(policy), status);
        let plan = plan(&desk.ledger, desk.now);
        let names: Vec<_> = plan.bind.iter().filter_map(|guest| guest.object.meta().name.clone()).collect();
        assert_eq!(names.join(" "), bound, "{policy} {status}");
    }
}

#[test]
fn a_replacement_joins_the_members_that_run() {
    let mut desk = Desk::new();
    desk.job(GANG_OF_THREE, "{}");
    let first = desk.member("a", "cpu: '1'");
    desk.member("b", "cpu: '1'");
    desk.member("c", "cpu: '1'");
    assert_eq!(desk.pass(), "a\nb\nc");
    desk.gone(&first);
    desk.member("d", "cpu: '1'");
    assert_eq!(desk.pass(), "d");
}

#[test]
fn a_topology_that_the_node_has_is_satisfied_and_another_is_not() {
    for (key, starts) in [("zone", true), ("rack", false)] {
        let mut desk = Desk::new();
        desk.job(
            &format!(
                "{{parallelism: 1, scheduling: {{schedulingPolicy: {{gang: {{}}}}, \
                 schedulingConstraints: {{topology: [{{key: {key}}}]}}}}}}"
            ),
            "{}",
        );
        desk.member("a", "");
        let told = desk.pass();
        assert_eq!(told == "a", starts, "{told}");
    }
}

#[test]
fn a_large_crowd_is_bound_in_several_commits_and_a_gang_in_one() {
    let big = "{metadata: {name: node, uid: n}, status: {allocatable: {cpu: '4', pods: '5000'}}}";
    let mut desk = Desk::new();
    desk.learn(&Object::new(from_yaml::<Node>(big)));
    for number in 0..600 {
        desk.pod(&format!("p{number:04}"), "", "");
    }
    let first = plan(&desk.ledger, desk.now);
    assert!(first.more && first.bind.len() < 600);
    let mut desk = Desk::new();
    desk.learn(&Object::new(from_yaml::<Node>(big)));
    desk.job("{parallelism: 600, scheduling: {schedulingPolicy: {gang: {}}}}", "{}");
    for number in 0..600 {
        desk.member(&format!("p{number:04}"), "");
    }
    assert_eq!(plan(&desk.ledger, desk.now).bind.len(), 600);
}

#[tokio::test]
async fn a_pod_waits_for_room_is_told_why_once_and_runs_when_there_is_some() {
    let house = House::open(Store::in_memory().expect("a store opens"), Arc::new(Fake::new()));
    let wants = |name: &str, cpu: &str, runs: &str| {
        pod(&format!(
            "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never, containers: [{{name: main, image: 'busybox:1', \
             env: [{{name: FAKE_RUN_MS, value: '{runs}'}}], resources: {{requests: {{cpu: '{cpu}'}}}}}}]}}}}"
        ))
    };
    house.create(wants("first", "60", "60000")).await;
    house.until_phase("first", "Running").await;
    house.create(wants("second", "10", "1")).await;
    let waits = |pod: &Pod| super::pod_house::tell(Some(pod)).contains("PodScheduled=False Unschedulable");
    let second = house.until("second", "told why it waits", waits).await;
    assert_eq!(second.spec.and_then(|spec| spec.node_name), None);
    house.delete("first", Some(0)).await;
    house.until_phase("second", "Succeeded").await;
    let told: Vec<_> = house.events("second").into_iter().filter(|line| line.contains("Schedul")).collect();
    let expected = [
        "Normal Scheduled Successfully assigned default/second to node".to_owned(),
        format!("Warning FailedScheduling {}", refusal("1 Insufficient cpu", true)),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_restarted_scheduler_knows_from_the_store_what_is_taken() {
    let mut house = House::open(Store::in_memory().expect("a store opens"), Arc::new(Fake::new()));
    let wants = |name: &str| {
        pod(&format!(
            "{{metadata: {{name: {name}}}, spec: {{containers: [{{name: main, image: 'busybox:1', \
             env: [{{name: FAKE_RUN_MS, value: '60000'}}], resources: {{requests: {{cpu: '40'}}}}}}]}}}}"
        ))
    };
    house.create(wants("first")).await;
    house.until_phase("first", "Running").await;
    house.kill().await;
    house.create(wants("second")).await;
    house.begin();
    let waits = |pod: &Pod| super::pod_house::tell(Some(pod)).contains("Insufficient cpu");
    house.until("second", "told why it waits", waits).await;
    house.delete("first", Some(0)).await;
    house.until_phase("second", "Running").await;
}

#[test]
fn pods_of_one_job_are_told_the_same_where_they_ask_for_the_same() {
    let mut desk = Desk::new();
    for (name, cpu) in [("a", "5"), ("b", "5"), ("c", "1"), ("d", "4"), ("e", "4"), ("f", "5")] {
        desk.member(name, &format!("cpu: '{cpu}'"));
    }
    let (never, full) = (refusal("1 Insufficient cpu", false), refusal("1 Insufficient cpu", true));
    assert_eq!(desk.pass(), format!("c\na: {never}\nb: {never}\nd: {full}\ne: {full}\nf: {never}"));
}
