//! A node that is short of something: what counts as short, which pod goes, what the node and the pod say of it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jobdock::model::object::Key;
use jobdock::pod::pressure::{
    Candidate, Pressure, Reading, Readings, Shortage, Signal, Use, short, thresholds, victim,
};
use jobdock::runtime::fake::{Call, Fake, Fault};
use jobdock::store::Store;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::pod_house::{House, NODE, phase_of, tell};

const MEBI: u64 = 1 << 20;

fn reading(signal: Signal, available: u64, capacity: u64) -> Readings {
    Readings::from([(signal, Reading { available, capacity })])
}

#[test]
fn thresholds_are_read_as_the_kubelet_writes_them_or_refused_by_name() {
    for (text, said) in [
        ("memory.available", "give SIGNAL<QUANTITY"),
        ("swap.available<1Gi", "unknown signal \"swap.available\""),
        ("memory.available<much", "\"much\": give a quantity"),
        ("memory.available<-1", "\"-1\": give a quantity"),
        ("nodefs.available<101%", "\"101%\": give a quantity"),
        ("nodefs.available<1%,nodefs.available<2%", "nodefs.available is given twice"),
    ] {
        let refused = thresholds(text).expect_err(text);
        assert!(refused.contains(said), "{text}: {refused}");
    }
    assert_eq!(thresholds("").unwrap(), []);
    assert_eq!(thresholds(jobdock::pod::pressure::DEFAULT).unwrap().len(), 4);
}

#[test]
fn a_signal_is_short_below_its_threshold_and_not_at_it() {
    for (text, signal, available, capacity, is_short) in [
        ("memory.available<100Mi", Signal::Memory, 100 * MEBI, 1000 * MEBI, false),
        ("memory.available<100Mi", Signal::Memory, 100 * MEBI - 1, 1000 * MEBI, true),
        ("nodefs.available<10%", Signal::Nodefs, 100, 1000, false),
        ("nodefs.available<10%", Signal::Nodefs, 99, 1000, true),
        ("nodefs.available<10%", Signal::Imagefs, 0, 1000, false),
        ("pid.available<5", Signal::Pid, 4, 1000, true),
        ("", Signal::Memory, 0, 1000, false),
    ] {
        let shorts = short(&thresholds(text).unwrap(), &reading(signal, available, capacity));
        assert_eq!(!shorts.is_empty(), is_short, "{text} {signal:?} {available}");
    }
}

#[test]
fn a_condition_outlasts_its_shortage_by_five_minutes() {
    let begin = Timestamp::from_second(1_700_000_000).unwrap();
    let at = |seconds| begin + SignedDuration::from_secs(seconds);
    let thresholds = thresholds("nodefs.inodesFree<5").unwrap();
    let (scarce, enough) = (reading(Signal::NodefsInodes, 4, 100), reading(Signal::NodefsInodes, 5, 100));
    let pressure = Pressure::default().after(&thresholds, &scarce, at(0));
    assert_eq!(Shortage::ALL.map(|shortage| pressure.holds(shortage)), [false, true, false]);
    let pressure = pressure.after(&thresholds, &enough, at(299));
    assert!(pressure.holds(Shortage::Disk));
    assert!(!pressure.after(&thresholds, &enough, at(300)).holds(Shortage::Disk));
}

/// `name priority request usage`, in MiB; `?` where the usage is not known, `!` before the name of one that is ending.
fn candidate(text: &str) -> Candidate {
    let fields: Vec<&str> = text.split(' ').collect();
    Candidate {
        uid: fields[0].trim_start_matches('!').to_owned(),
        priority: fields[1].parse().unwrap(),
        ending: fields[0].starts_with('!'),
        containers: vec![Use {
            name: "main".to_owned(),
            request: fields[2].parse::<u64>().unwrap() * MEBI,
            usage: fields[3].parse::<u64>().ok().map(|usage| usage * MEBI),
        }],
        volumes: 0,
    }
}

#[test]
fn the_pod_that_goes_is_the_one_a_kubelet_would_take() {
    let shorts = short(&thresholds("memory.available<100Mi").unwrap(), &reading(Signal::Memory, 50 * MEBI, 1 << 34));
    for (pods, goes) in [
        (&["modest 0 100 50", "greedy 0 100 150"][..], Some("greedy")),
        (&["greedy 5 100 500", "lesser 1 100 101"], Some("lesser")),
        (&["modest 0 100 99", "greedy 9 100 101"], Some("greedy")),
        (&["more 0 10 60", "most 0 10 70"], Some("most")),
        (&["known 0 10 600", "unknown 0 10 ?"], Some("unknown")),
        (&["critical 2000000000 0 900", "other 0 900 1"], Some("other")),
        (&["critical 2000000000 0 900"], None),
        (&["!ending 0 0 900", "other 0 0 900"], None),
        (&[], None),
    ] {
        let candidates: Vec<Candidate> = pods.iter().map(|text| candidate(text)).collect();
        assert_eq!(victim(&shorts, &candidates).map(|(victim, _)| victim.uid.as_str()), goes, "{pods:?}");
    }
    let full = short(&thresholds("nodefs.available<1Gi").unwrap(), &reading(Signal::Nodefs, 0, 1 << 34));
    let pods = ["small 0 0 9", "large 0 0 90", "asked 0 100 95", "empty 0 0 0"].map(candidate);
    assert_eq!(victim(&full, &pods).map(|(victim, _)| victim.uid.as_str()), Some("large"));
    let filled = Candidate { volumes: 200 * MEBI, ..candidate("volumes 0 0 1") };
    assert_eq!(victim(&full, &[candidate("large 0 0 90"), filled]).unwrap().0.uid, "volumes");
    assert_eq!(victim(&full, &[candidate("empty 0 0 0")]), None, "a pod that holds nothing would give nothing back");
    let pids = short(&thresholds("pid.available<100").unwrap(), &reading(Signal::Pid, 50, 1000));
    assert_eq!(victim(&pids, &[candidate("few 0 0 1"), candidate("many 0 0 2")]).unwrap().0.uid, "many");
}

#[test]
fn a_full_disk_and_too_many_processes_are_told_in_the_kubelets_words() {
    for (threshold, signal, available, expected) in [
        (
            "nodefs.available<1Gi",
            Signal::Nodefs,
            MEBI,
            "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 1024Ki. Container main \
             was using 131072Ki, request is 64Mi, has larger consumption of ephemeral-storage. ",
        ),
        (
            "nodefs.inodesFree<5",
            Signal::NodefsInodes,
            4,
            "The node was low on resource: inodes. Threshold quantity: 5, available: 4. ",
        ),
        (
            "pid.available<5",
            Signal::Pid,
            4,
            "The node was low on resource: pids. Threshold quantity: 5, available: 4. ",
        ),
    ] {
        let shorts = short(&thresholds(threshold).unwrap(), &reading(signal, available, 1 << 34));
        assert_eq!(victim(&shorts, &[candidate("greedy 0 64 128")]).unwrap().1, expected);
    }
}

#[test]
fn an_eviction_is_told_in_the_kubelets_words() {
    let shorts = short(&thresholds("memory.available<100Mi").unwrap(), &reading(Signal::Memory, 50 * MEBI, 1 << 34));
    let candidates = [candidate("greedy 0 64 128")];
    assert_eq!(
        victim(&shorts, &candidates).unwrap().1,
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51200Ki. Container main was \
         using 131072Ki, request is 64Mi, has larger consumption of memory. "
    );
}

fn node(house: &House) -> Node {
    let object = house.store.get(&Key::of::<Node>("", NODE)).unwrap().expect("the node is registered");
    object.typed::<Node>().unwrap().clone()
}

fn taints(node: &Node) -> Vec<String> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.map(|taint| format!("{}:{}", taint.key, taint.effect)).collect()
}

fn condition(node: &Node, kind: &str) -> String {
    let all = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let found = all.into_iter().find(|condition| condition.type_ == kind).expect("it is told");
    format!("{} {}", found.status, found.reason.as_deref().unwrap_or_default())
}

#[tokio::test]
async fn short_of_memory_a_pod_is_evicted_as_a_disruption_and_the_node_keeps_new_ones_out() {
    let mut house = House::open(Store::in_memory().unwrap(), Arc::new(Fake::new()));
    house
        .pod(
            "{metadata: {name: big}, spec: {restartPolicy: Never, containers: [{name: main, image: 'busybox:1', \
             env: [{name: FAKE_RUN_MS, value: forever}]}]}}",
        )
        .await;
    house.until_phase("big", "Running").await;
    house.squeeze("memory.available<1Pi").await;
    let pod = house.until_phase("big", "Failed").await;
    let status = pod.status.clone().unwrap();
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    let message = status.message.unwrap();
    let begin = "The node was low on resource: memory. Threshold quantity: 1Pi, available: ";
    assert!(message.starts_with(begin), "{message}");
    assert!(tell(Some(&pod)).contains("DisruptionTarget=True TerminationByKubelet"), "{}", tell(Some(&pod)));
    let events = house.events("big");
    assert_eq!(events.iter().filter(|event| event.starts_with("Warning Evicted")).count(), 1, "{events:?}");
    let short = node(&house);
    assert_eq!(condition(&short, "MemoryPressure"), "True KubeletHasInsufficientMemory");
    assert_eq!(condition(&short, "DiskPressure"), "False KubeletHasNoDiskPressure");
    assert_eq!(taints(&short), ["node.kubernetes.io/memory-pressure:NoSchedule"]);

    let late = "{metadata: {name: late}, spec: {containers: [{name: main, image: 'busybox:1'}]}}";
    house.pod(late).await;
    let untolerated = |pod: &Pod| format!("{:?}", pod.status).contains("untolerated taint");
    house.until("late", "being kept out", untolerated).await;
    house.squeeze("").await;
    house.until("late", "being let in", |pod| pod.spec.as_ref().unwrap().node_name.is_some()).await;
    assert!(taints(&node(&house)).is_empty());
}

#[tokio::test]
async fn a_full_disk_takes_the_pod_that_holds_most_of_it() {
    let fake = Arc::new(Fake::new());
    let mut house = House::open(Store::in_memory().unwrap(), fake.clone());
    for name in ["light", "heavy"] {
        let object = house
            .pod(&format!(
                "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never, containers: [{{name: main, image: \
                 'busybox:1', env: [{{name: FAKE_RUN_MS, value: forever}}]}}]}}}}"
            ))
            .await;
        house.until_phase(name, "Running").await;
        let bytes = if name == "heavy" { 64 * MEBI } else { 2 * MEBI };
        fake.set_size(&jobdock::pod::names::container(object.uid(), "main", 0), bytes);
    }
    house.squeeze("nodefs.available<1Pi").await;
    let pod = house.until_phase("heavy", "Failed").await;
    let message = pod.status.unwrap().message.unwrap();
    let words = "has larger consumption of ephemeral-storage";
    assert!(message.contains(words) && message.contains("was using 65536Ki"), "{message}");
    assert_eq!(taints(&node(&house)), ["node.kubernetes.io/disk-pressure:NoSchedule"]);
}

#[tokio::test]
async fn a_node_whose_engine_is_away_takes_no_new_pods_and_keeps_those_it_has() {
    let fake = Arc::new(Fake::new());
    let house = House::open(Store::in_memory().unwrap(), fake.clone());
    let forever = "env: [{name: FAKE_RUN_MS, value: forever}]";
    let pod = |name: &str| {
        format!("{{metadata: {{name: {name}}}, spec: {{containers: [{{name: main, image: 'busybox:1', {forever}}}]}}}}")
    };
    house.pod(&pod("old")).await;
    house.until_phase("old", "Running").await;
    for _ in 0..1000 {
        fake.fail_next(Call::Engine, Fault::Unreachable);
    }
    fake.resync();
    house
        .eventually("the node is not ready", || async { condition(&node(&house), "Ready").starts_with("False") })
        .await;
    assert_eq!(taints(&node(&house)), ["node.kubernetes.io/not-ready:NoSchedule"]);
    house.pod(&pod("new")).await;
    house.until("new", "kept out", |pod| format!("{:?}", pod.status).contains("untolerated taint")).await;
    let old = house.get("old").expect("it is there");
    assert!(old.metadata.deletion_timestamp.is_none() && phase_of(&old) == "Running", "{}", tell(Some(&old)));
    let told = house.events(NODE);
    for reason in ["NodeReady", "NodeNotReady"] {
        let line = format!("Normal {reason} Node {NODE} status is now: {reason}");
        assert!(told.contains(&line), "{told:?}");
    }
}

#[tokio::test]
async fn the_node_offers_what_its_thresholds_leave() {
    let mut house = House::open(Store::in_memory().unwrap(), Arc::new(Fake::new()));
    house.squeeze("memory.available<100Mi,nodefs.available<10%").await;
    house
        .eventually("the node offers less than it has", || async {
            let object = house.store.get(&Key::of::<Node>("", NODE)).unwrap();
            let Some(node) = object.as_ref().and_then(|object| object.typed::<Node>()) else { return false };
            let status = node.status.clone().unwrap_or_default();
            let (Some(has), Some(offers)) = (status.capacity, status.allocatable) else { return false };
            let kibibytes = |text: &str| text.strip_suffix("Ki").and_then(|number| number.parse::<u64>().ok());
            let disk = has.get("ephemeral-storage").and_then(|size| kibibytes(&size.0)).unwrap_or(0) * 1024;
            let room = offers.get("ephemeral-storage").and_then(|size| size.0.parse::<u64>().ok()).unwrap_or(0);
            let memory = kibibytes(&has["memory"].0).zip(kibibytes(&offers["memory"].0));
            memory.is_some_and(|(has, offers)| has - offers == 100 * 1024) && disk > 0 && room == disk - disk / 10
        })
        .await;
}
