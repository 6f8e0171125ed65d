//! Where a pod may stand and who makes room for it: taints, labels, ports, neighbours, priority, pods that come with a
//! node. Tables on the pure plan.

use jobdock::scheduler::apply;
use jobdock::scheduler::plan::plan;
use jobdock::store::Write;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::scheduler::{Desk, RUNS, at, refusal};

/// One pod with this in its spec, on the node with this in its own; what it is told, or `p`.
fn alone(node: &str, extra: &str) -> String {
    let mut desk = Desk::new();
    desk.node(node);
    desk.pod("p", "", extra);
    desk.pass()
}

#[test]
fn taints_keep_away_who_does_not_tolerate_them() {
    let tainted = |effect: &str| format!("{{taints: [{{key: k, value: v, effect: {effect}}}]}}");
    let (no, yes) = (format!("p: {}", refusal("1 node(s) had untolerated taint(s)", false)), "p".to_owned());
    for (effect, tolerations, expected) in [
        ("NoSchedule", "", &no),
        ("NoExecute", "", &no),
        ("PreferNoSchedule", "", &yes),
        ("NoSchedule", "{key: k, value: v}", &yes),
        ("NoSchedule", "{key: k, operator: Equal, value: v, effect: NoSchedule}", &yes),
        ("NoSchedule", "{key: k, operator: Exists}", &yes),
        ("NoSchedule", "{operator: Exists}", &yes),
        ("NoSchedule", "{key: k, value: other}", &no),
        ("NoSchedule", "{key: other, operator: Exists}", &no),
        ("NoExecute", "{key: k, value: v, effect: NoSchedule}", &no),
    ] {
        let told = alone(&tainted(effect), &format!(", tolerations: [{tolerations}]"));
        assert_eq!(&told, expected, "{effect} {tolerations}");
    }
}

#[test]
fn a_cordoned_node_takes_only_who_tolerates_that() {
    let cordoned = "{unschedulable: true}";
    assert_eq!(alone(cordoned, ""), format!("p: {}", refusal("1 node(s) were unschedulable", false)));
    let tolerant = ", tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists, effect: NoSchedule}]";
    assert_eq!(alone(cordoned, tolerant), "p");
}

#[test]
fn a_pod_goes_only_to_a_node_that_it_asks_for() {
    let no = format!("p: {}", refusal("1 node(s) didn't match Pod's node affinity/selector", false));
    let required = |terms: &str| {
        format!(
            ", affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: \
             {{nodeSelectorTerms: [{terms}]}}}}}}"
        )
    };
    let term = |expression: &str| required(&format!("{{matchExpressions: [{expression}]}}"));
    for (extra, fits) in [
        (", nodeSelector: {zone: a}".to_owned(), true),
        (", nodeSelector: {zone: b}".to_owned(), false),
        (", nodeSelector: {zone: a, disk: ssd}".to_owned(), false),
        (term("{key: zone, operator: In, values: [b, a]}"), true),
        (term("{key: zone, operator: NotIn, values: [a]}"), false),
        (term("{key: disk, operator: NotIn, values: [a]}"), true),
        (term("{key: zone, operator: Exists}"), true),
        (term("{key: zone, operator: DoesNotExist}"), false),
        (term("{key: cores, operator: Gt, values: ['3']}"), true),
        (term("{key: cores, operator: Lt, values: ['4']}"), false),
        (required("{}"), false),
        (
            required(
                "{matchExpressions: [{key: zone, operator: In, values: [b]}]}, {matchFields: [{key: metadata.name, operator: In, values: [node]}]}",
            ),
            true,
        ),
        (required("{matchFields: [{key: metadata.name, operator: NotIn, values: [node]}]}"), false),
        (
            ", affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: \
             [{weight: 1, preference: {matchExpressions: [{key: zone, operator: In, values: [b]}]}}]}}"
                .to_owned(),
            true,
        ),
    ] {
        let expected = if fits { "p" } else { no.as_str() };
        assert_eq!(alone("{}", &extra), expected, "{extra}");
    }
}

#[test]
fn a_port_of_the_host_is_had_by_one() {
    let sidecar = |port: &str| format!(", initContainers: [{{name: i, restartPolicy: Always, ports: [{port}]}}]");
    let no = format!("second: {}", refusal("1 node(s) didn't have free ports for the requested pod ports", true));
    for (wanted, fits) in [
        ("{containerPort: 1, hostPort: 80}", false),
        ("{containerPort: 1, hostPort: 80, hostIP: 127.0.0.1}", false),
        ("{containerPort: 1, hostPort: 80, protocol: UDP}", true),
        ("{containerPort: 1, hostPort: 81}", true),
        ("{containerPort: 1}", true),
    ] {
        let mut desk = Desk::new();
        desk.pod("first", "", &format!("{}{RUNS}", sidecar("{containerPort: 1, hostPort: 80}")));
        desk.pod("second", "", &sidecar(wanted));
        assert_eq!(desk.pass(), if fits { "second" } else { no.as_str() }, "{wanted}");
    }
}

/// Affinity of a kind to pods `app: x` in the node's zone.
fn affinity(kind: &str, more: &str) -> String {
    format!(
        ", affinity: {{{kind}: {{requiredDuringSchedulingIgnoredDuringExecution: \
         [{{topologyKey: zone, labelSelector: {{matchLabels: {{app: x}}}}{more}}}]}}}}"
    )
}

#[test]
fn pods_stand_beside_those_that_they_want_and_not_beside_others() {
    let words = |what: &str, resolvable: bool| format!("second: {}", refusal(&format!("1 node(s) {what}"), resolvable));
    let wants = words("didn't match pod affinity rules", false);
    let avoids = words("didn't match pod anti-affinity rules", true);
    let avoided = words("didn't satisfy existing pods anti-affinity rules", true);
    let yes = "second".to_owned();
    let (with, without) = (affinity("podAffinity", ""), affinity("podAntiAffinity", ""));
    let elsewhere = |kind: &str| affinity(kind, ", namespaces: [other]");
    let everywhere = |kind: &str| affinity(kind, ", namespaceSelector: {}");
    for (first, first_extra, second, second_extra, expected) in [
        ("x", "", "y", with.as_str(), &yes),
        ("y", "", "y", with.as_str(), &wants),
        // The first of a group that wants its own company may begin.
        ("y", "", "x", with.as_str(), &yes),
        ("x", "", "y", without.as_str(), &avoids),
        ("y", "", "x", without.as_str(), &yes),
        ("y", without.as_str(), "x", "", &avoided),
        ("x", "", "y", elsewhere("podAntiAffinity").as_str(), &yes),
        ("x", "", "y", everywhere("podAntiAffinity").as_str(), &avoids),
        ("x", "", "y", elsewhere("podAffinity").as_str(), &wants),
    ] {
        let mut desk = Desk::new();
        desk.labelled("first", first, &format!("{first_extra}{RUNS}"));
        desk.labelled("second", second, second_extra);
        assert_eq!(&desk.pass(), expected, "{first} {first_extra} {second} {second_extra}");
    }
}

#[test]
fn one_node_is_spread_over_unless_there_should_be_more() {
    let spread = |more: &str| {
        format!(
            ", topologySpreadConstraints: [{{maxSkew: 1, whenUnsatisfiable: DoNotSchedule, \
             labelSelector: {{matchLabels: {{app: x}}}}, {more}}}]"
        )
    };
    let words = |what: &str, resolvable: bool| format!("second: {}", refusal(&format!("1 node(s) {what}"), resolvable));
    for (more, expected) in [
        ("topologyKey: zone", "second".to_owned()),
        ("topologyKey: zone, minDomains: 2", words("didn't match pod topology spread constraints", true)),
        ("topologyKey: rack", words("didn't match pod topology spread constraints (missing required label)", false)),
    ] {
        let mut desk = Desk::new();
        desk.labelled("first", "x", RUNS);
        desk.labelled("second", "x", &spread(more));
        assert_eq!(desk.pass(), expected, "{more}");
    }
}

#[test]
fn who_does_not_tolerate_a_hard_taint_leaves_when_its_time_is_over() {
    let hard = |dated: &str| format!("{{taints: [{{key: k, effect: NoExecute{dated}}}]}}");
    let dated = hard(", timeAdded: '2023-11-14T22:13:20Z'");
    let patient = ", tolerations: [{key: k, operator: Exists, tolerationSeconds: 60}]";
    for (node, extra, seconds, expected) in [
        (hard(""), "", 0, "p goes: Taint"),
        (hard(""), ", tolerations: [{key: k, operator: Exists}]", 0, ""),
        (hard(""), patient, 0, "taints are dated"),
        (dated.clone(), patient, 59, ""),
        (dated, patient, 60, "p goes: Taint"),
    ] {
        let mut desk = Desk::new();
        desk.node(&node);
        desk.pod("p", "", &format!("{extra}{RUNS}"));
        desk.now = at(seconds);
        assert_eq!(desk.pass(), expected, "{node} {extra}");
    }
}

#[test]
fn an_evicted_pod_says_why_and_is_deleted_gracefully() {
    let mut desk = Desk::new();
    desk.node("{taints: [{key: k, effect: NoExecute}]}");
    desk.pod("p", "", &format!(", terminationGracePeriodSeconds: 7{RUNS}"));
    let writes = apply::writes(&desk.ledger, &plan(&desk.ledger, desk.now), desk.now);
    let Some(Write::Update { object, .. }) = writes.first() else { panic!("{writes:?}") };
    assert_eq!(object.meta().deletion_grace_period_seconds, Some(7));
    let pod = object.typed::<Pod>().expect("a pod");
    let told = super::pod_house::tell(Some(pod));
    let words = "DisruptionTarget=True DeletionByTaintManager (Taint manager: deleting due to NoExecute taint)";
    assert!(told.contains(words), "{told}");
}

#[test]
fn a_more_important_pod_gets_room_from_as_few_of_the_least_important_as_will_do() {
    let mut desk = Desk::new();
    desk.pod("low", "cpu: '1'", &format!(", priority: 1{RUNS}"));
    desk.pod("lower", "cpu: '1'", &format!(", priority: 0{RUNS}"));
    let high = desk.pod("high", "cpu: '2'", &format!(", priority: 9{RUNS}"));
    desk.pod("wants", "cpu: '1'", ", priority: 5");
    desk.pod("behind", "cpu: '1'", "");
    let short = "0/1 nodes are available: 1 Insufficient cpu.";
    assert_eq!(
        desk.pass(),
        format!(
            "lower goes: Preempted {{ by: \"wants\" }}\nwants (nominated): {short}\nbehind: {}",
            refusal("1 Insufficient cpu", true)
        )
    );
    // The victim is still ending: nobody else has to go, and the room is kept.
    desk.now = at(60);
    let under_way = "not eligible due to a terminating pod on the nominated node.";
    assert_eq!(desk.pass(), format!("wants (nominated): {short} preemption: {under_way}"));
    desk.leave("lower");
    assert_eq!(desk.pass(), "wants");
    desk.gone(&high);
    assert_eq!(desk.pass(), "behind");
}

#[test]
fn pods_that_are_only_disrupted_together_go_together() {
    for (mode, expected) in [("all", "a goes, b goes"), ("single", "b goes")] {
        let mut desk = Desk::new();
        desk.job(&format!("{{parallelism: 2, scheduling: {{disruptionMode: {{{mode}: {{}}}}}}}}"), "{}");
        desk.member("a", "cpu: '1'");
        desk.member("b", "cpu: '1'");
        assert_eq!(desk.pass(), "a\nb");
        desk.pod("alone", "cpu: '2'", &format!(", priority: 1{RUNS}"));
        desk.pod("wants", "cpu: '1'", ", priority: 5");
        let told = desk.pass();
        let goes: Vec<&str> = told.lines().filter_map(|line| line.split_once(':').map(|(who, _)| who)).collect();
        assert_eq!(goes.join(", "), format!("{expected}, wants (nominated)"), "{mode}: {told}");
    }
}

#[test]
fn nobody_makes_room_where_it_does_not_help_or_is_not_wanted() {
    let never = "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.";
    let still = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Insufficient cpu.";
    for (runs, wants, extra, expected) in [
        ("priority: 5", "cpu: '4'", ", priority: 5", refusal("1 Insufficient cpu", true)),
        ("priority: 1", "cpu: '5'", ", priority: 5", refusal("1 Insufficient cpu", false)),
        ("priority: 1", "cpu: '4'", ", priority: 5, preemptionPolicy: Never", never.to_owned()),
        ("priority: 1", "cpu: '4'", ", priority: 5", still.to_owned()),
    ] {
        let mut desk = Desk::new();
        desk.pod("high", "cpu: '1'", &format!(", priority: 100{RUNS}"));
        desk.pod("runs", "cpu: '3'", &format!(", {runs}{RUNS}"));
        desk.pod("p", wants, extra);
        assert_eq!(desk.pass(), format!("p: {expected}"), "{runs} {wants} {extra}");
    }
}

#[test]
fn a_pod_that_comes_with_the_node_runs_where_it_fits_and_fails_where_not() {
    let cpu = "p OutOfcpu: Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000";
    for (requests, extra, expected) in [
        ("cpu: '2'", "", "p may run"),
        ("cpu: '3'", "", cpu),
        (
            "memory: 9Gi",
            "",
            "p OutOfmemory: Node didn't have enough resource: memory, requested: 9663676416, used: 0, capacity: 8589934592",
        ),
        ("example.com/thing: '1'", "", "p may run"),
        (
            "",
            ", nodeSelector: {zone: b}",
            "p NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        ),
        (
            "cpu: '3'",
            ", os: {name: windows}",
            "p PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS",
        ),
        ("", ", os: {name: linux}", "p may run"),
    ] {
        let mut desk = Desk::new();
        desk.pod("runs", "cpu: '2'", RUNS);
        desk.pod("p", requests, &format!("{extra}, nodeName: node"));
        assert_eq!(desk.pass(), expected, "{requests} {extra}");
        assert_eq!(desk.pass(), "", "it is decided once");
    }
}

#[test]
fn a_pod_of_another_system_is_refused_before_it_has_a_node() {
    let mut desk = Desk::new();
    desk.pod("w", "", ", os: {name: windows}");
    desk.pod("l", "", ", os: {name: linux}");
    assert_eq!(desk.pass(), "l\nw PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS");
}

#[test]
fn a_refused_pod_has_failed_and_says_why() {
    let mut desk = Desk::new();
    desk.pod("p", "cpu: '5'", ", nodeName: node");
    let writes = apply::writes(&desk.ledger, &plan(&desk.ledger, desk.now), desk.now);
    let Some(Write::Update { object, .. }) = writes.first() else { panic!("{writes:?}") };
    let told = super::pod_house::tell(object.typed::<Pod>());
    let words = "Failed OutOfcpu Pod was rejected: Node didn't have enough resource: cpu, requested: 5000, used: 0, \
                 capacity: 4000";
    assert_eq!(told, words);
}

#[test]
fn a_taint_without_a_time_is_given_one_and_keeps_one_that_it_has() {
    let mut desk = Desk::new();
    desk.node("{taints: [{key: k, effect: NoExecute}, {key: l, effect: NoSchedule}]}");
    desk.pod("p", "", &format!(", tolerations: [{{operator: Exists, tolerationSeconds: 60}}]{RUNS}"));
    let writes = apply::writes(&desk.ledger, &plan(&desk.ledger, desk.now), desk.now);
    let Some(Write::Update { object, .. }) = writes.first() else { panic!("{writes:?}") };
    let node: &Node = object.typed().expect("a node");
    let times: Vec<_> = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten())
        .map(|taint| taint.time_added.as_ref().map(|time| time.0))
        .collect();
    assert_eq!(times, [Some(at(0)), None]);
}
