//! What `kubectl get` shows: cells by object, ages by span.

use jiff::Timestamp;
use jobdock::api::columns::printer;
use jobdock::api::duration::human;
use jobdock::model::kind::Kind;
use jobdock::model::object::Object;
use serde_json::{Value, json};

const NOW: &str = "2026-01-01T01:00:00Z";

fn row(group: &str, kind: &str, mut object: Value) -> Vec<(String, Value)> {
    let kind = Kind::find(group, kind).unwrap();
    object["metadata"]["name"] = json!("x");
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:55:00Z");
    let object = Object::from_value(kind, object).unwrap();
    let printer = printer(kind);
    let cells = (printer.cells)(&object, NOW.parse::<Timestamp>().unwrap());
    assert_eq!(cells.len(), printer.columns.len(), "one cell for each column");
    printer.columns.iter().map(|column| column.name.to_owned()).zip(cells).collect()
}

#[track_caller]
fn shows(row: &[(String, Value)], column: &str, cell: impl Into<Value>) {
    let found = row.iter().find(|(name, _)| name == column).unwrap_or_else(|| panic!("no column {column}"));
    assert_eq!(found.1, cell.into(), "{column}");
}

#[track_caller]
fn job(status: Value, shown: &str) {
    shows(&row("batch", "Job", json!({"metadata": {}, "status": status})), "Status", shown);
}

/// The word for a pod of one container in this state.
#[track_caller]
fn pod(state: Value, phase: &str, ready: bool, shown: &str) {
    let status = json!({
        "phase": phase,
        "containerStatuses": [{"name": "a", "ready": ready, "restartCount": 0, "image": "", "imageID": "", "state": state}],
    });
    shows(
        &row("", "Pod", json!({"metadata": {}, "spec": {"containers": [{"name": "a"}]}, "status": status})),
        "Status",
        shown,
    );
}

/// The word for a pod whose first of two init containers is in this state.
#[track_caller]
fn init(state: Value, shown: &str) {
    let status = json!({
        "phase": "Pending",
        "initContainerStatuses":
            [{"name": "i", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state}],
        "containerStatuses": [{"name": "a", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": {"waiting": {"reason": "PodInitializing"}}}],
    });
    let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
    shows(&row("", "Pod", json!({"metadata": {}, "spec": spec, "status": status})), "Status", shown);
}

fn holds(condition: &str) -> Value {
    json!({"conditions": [{"type": condition, "status": "True"}]})
}

#[test]
fn ages_are_written_as_upstream_writes_them() {
    let cases = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (10_860, "3h1m"),
        (28_799, "7h59m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (691_199, "7d23h"),
        (691_200, "8d"),
        (63_071_999, "729d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (252_288_000, "8y"),
    ];
    for (seconds, text) in cases {
        assert_eq!(human(seconds), text, "{seconds}");
    }
}

#[test]
fn a_jobs_status_is_its_first_condition_that_counts() {
    job(json!({}), "Running");
    job(holds("Complete"), "Complete");
    job(holds("Failed"), "Failed");
    job(holds("Suspended"), "Suspended");
    job(holds("FailureTarget"), "FailureTarget");
    job(holds("SuccessCriteriaMet"), "SuccessCriteriaMet");
    job(json!({"conditions": [{"type": "Complete", "status": "False"}]}), "Running");
}

#[test]
fn a_jobs_row() {
    let spec = json!({
        "completions": 3,
        "parallelism": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"spec": {"containers": [{"name": "m", "image": "i"}, {"name": "n", "image": "j"}]}},
    });
    let status = json!({"succeeded": 1, "startTime": "2026-01-01T00:56:00Z"});
    let row = row("batch", "Job", json!({"metadata": {}, "spec": spec, "status": status}));
    let cells: Vec<&Value> = row.iter().map(|(_, cell)| cell).collect();
    assert_eq!(json!(cells), json!(["x", "Running", "1/3", "4m", "5m", "m,n", "i,j", "a=b"]));
}

#[test]
fn completions_without_a_number() {
    let completions = |parallelism: i64| {
        let spec = json!({"parallelism": parallelism, "template": {}});
        row("batch", "Job", json!({"metadata": {}, "spec": spec}))
    };
    shows(&completions(1), "Completions", "0/1");
    shows(&completions(4), "Completions", "0/1 of 4");
}

#[test]
fn a_pods_status_is_one_word() {
    pod(json!({"waiting": {"reason": "ContainerCreating"}}), "Pending", false, "ContainerCreating");
    pod(json!({"running": {}}), "Running", true, "Running");
    pod(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}), "Succeeded", false, "Completed");
    pod(json!({"terminated": {"exitCode": 1, "reason": "Error"}}), "Failed", false, "Error");
    pod(json!({"terminated": {"exitCode": 3}}), "Failed", false, "ExitCode:3");
    pod(json!({"terminated": {"exitCode": 137, "signal": 9}}), "Failed", false, "Signal:9");
    pod(json!({"waiting": {"reason": "CrashLoopBackOff"}}), "Running", false, "CrashLoopBackOff");
    pod(json!({}), "Pending", false, "Pending");
}

#[test]
fn init_containers_come_first() {
    init(json!({"running": {}}), "Init:0/2");
    init(json!({"waiting": {"reason": "PodInitializing"}}), "Init:0/2");
    init(json!({"waiting": {"reason": "ErrImagePull"}}), "Init:ErrImagePull");
    init(json!({"terminated": {"exitCode": 1, "reason": "Error"}}), "Init:Error");
    init(json!({"terminated": {"exitCode": 2}}), "Init:ExitCode:2");
    init(json!({"terminated": {"exitCode": 0}}), "PodInitializing");
}

#[test]
fn a_pod_that_is_going_says_so_until_it_has_ended() {
    let deleted = |phase: &str| {
        let metadata = json!({"deletionTimestamp": "2026-01-01T00:59:00Z"});
        row("", "Pod", json!({"metadata": metadata, "spec": {"containers": []}, "status": {"phase": phase}}))
    };
    shows(&deleted("Running"), "Status", "Terminating");
    shows(&deleted("Failed"), "Status", "Failed");
}

#[test]
fn restarts_tell_when_the_last_was() {
    let status = json!({"phase": "Running", "podIPs": [{"ip": "10.1.1.1"}], "containerStatuses": [{
        "name": "a", "ready": true, "restartCount": 2, "image": "", "imageID": "", "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:58:00Z"}},
    }]});
    let pod = json!({"metadata": {}, "spec": {"nodeName": "n", "containers": [{"name": "a"}]}, "status": status});
    let row = row("", "Pod", pod);
    shows(&row, "Restarts", "2 (2m ago)");
    shows(&row, "Ready", "1/1");
    shows(&row, "IP", "10.1.1.1");
    shows(&row, "Node", "n");
    shows(&row, "Nominated Node", "<none>");
}

#[test]
fn events_show_what_they_are_about() {
    let row = row(
        "",
        "Event",
        json!({
            "metadata": {}, "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
            "type": "Normal", "reason": "Pulled", "message": " Pulled it \n", "count": 3,
            "firstTimestamp": "2026-01-01T00:50:00Z", "lastTimestamp": "2026-01-01T00:59:30Z",
            "source": {"component": "kubelet", "host": "n"},
        }),
    );
    let cells: Vec<&Value> = row.iter().map(|(_, cell)| cell).collect();
    assert_eq!(
        json!(cells),
        json!(["30s", "Normal", "Pulled", "pod/p", "spec.containers{a}", "kubelet, n", "Pulled it", "10m", 3, "x"])
    );
}

#[test]
fn the_small_kinds() {
    shows(&row("", "ConfigMap", json!({"metadata": {}, "data": {"a": "1", "b": "2"}})), "Data", 2);
    shows(&row("", "Secret", json!({"metadata": {}, "type": "Opaque", "data": {"a": ""}})), "Type", "Opaque");
    shows(&row("", "Namespace", json!({"metadata": {}, "status": {"phase": "Active"}})), "Status", "Active");
    shows(
        &row("coordination.k8s.io", "Lease", json!({"metadata": {}, "spec": {"holderIdentity": "h"}})),
        "Holder",
        "h",
    );
    let cron = json!({"metadata": {}, "spec": {"schedule": "* * * * *", "suspend": false, "jobTemplate": {}}});
    let cron = row("batch", "CronJob", cron);
    shows(&cron, "Suspend", "False");
    shows(&cron, "Last Schedule", "<none>");
    shows(&cron, "Timezone", "<none>");
    let node = json!({
        "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
    });
    let node = row("", "Node", node);
    shows(&node, "Status", "Ready,SchedulingDisabled");
    shows(&node, "Roles", "control-plane");
    shows(&node, "Internal-IP", "10.0.0.1");
    shows(&node, "OS-Image", "<unknown>");
}

#[test]
fn services_show_their_addresses_and_ports() {
    let service = |spec: Value| row("", "Service", json!({"metadata": {}, "spec": spec}));
    let headless = service(json!({"type": "ClusterIP", "clusterIPs": ["None"], "selector": {"a": "b", "c": "d"}}));
    for (column, cell) in [
        ("Type", "ClusterIP"),
        ("Cluster-IP", "None"),
        ("External-IP", "<none>"),
        ("Port(s)", "<none>"),
        ("Selector", "a=b,c=d"),
    ] {
        shows(&headless, column, cell);
    }
    let ports = json!([{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]);
    let open = service(json!({"type": "LoadBalancer", "ports": ports}));
    for (column, cell) in [("Cluster-IP", "<none>"), ("External-IP", "<pending>"), ("Port(s)", "80:30080/TCP,53/UDP")] {
        shows(&open, column, cell);
    }
    shows(&service(json!({"type": "ExternalName", "externalName": "a.example"})), "External-IP", "a.example");
}

#[test]
fn endpoints_show_the_first_three() {
    let endpoints = |subsets: Value| row("", "Endpoints", json!({"metadata": {}, "subsets": subsets}));
    let address = |last: u8| json!({"ip": format!("10.0.0.{last}")});
    shows(&endpoints(json!(null)), "Endpoints", "<none>");
    shows(&endpoints(json!([{"addresses": [address(1)]}])), "Endpoints", "10.0.0.1");
    let four: Vec<Value> = (1..=4).map(address).collect();
    let many = json!([{"addresses": four, "ports": [{"port": 80}]}]);
    shows(&endpoints(many), "Endpoints", "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...");
    let slice = |more: Value| {
        let mut slice = json!({"metadata": {}, "addressType": "IPv4", "endpoints": []});
        slice.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row("discovery.k8s.io", "EndpointSlice", slice)
    };
    shows(&slice(json!({})), "Ports", "<unset>");
    let full = slice(
        json!({"ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]}),
    );
    shows(&full, "Ports", "80");
    shows(&full, "Endpoints", "10.0.0.1,10.0.0.2");
}

/// Every cell but the name and the age.
fn cells(group: &str, kind: &str, object: Value) -> String {
    let row = row(group, kind, object);
    let shown = row.iter().filter(|(column, _)| !["Name", "Age", "Created At"].contains(&column.as_str()));
    let text = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    shown.map(|(column, cell)| format!("{column}={}", text(cell))).collect::<Vec<_>>().join(" ")
}

#[test]
fn volumes_claims_and_classes() {
    let spec = json!({"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                      "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "s", "volumeMode": "Filesystem",
                      "claimRef": {"namespace": "n", "name": "c"}});
    assert_eq!(
        cells("", "PersistentVolume", json!({"metadata": {}, "spec": spec, "status": {"phase": "Bound"}})),
        "Capacity=5Gi Access Modes=RWO,RWX Reclaim Policy=Retain Status=Bound Claim=n/c StorageClass=s \
         VolumeAttributesClass=<unset> Reason= VolumeMode=Filesystem"
    );
    let going =
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}, "status": {"phase": "Released"}});
    shows(&row("", "PersistentVolume", going), "Status", "Terminating");
    let spec = json!({"volumeName": "v", "storageClassName": "s", "volumeMode": "Block"});
    let status = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOncePod"]});
    assert_eq!(
        cells("", "PersistentVolumeClaim", json!({"metadata": {}, "spec": spec, "status": status})),
        "Status=Bound Volume=v Capacity=1Gi Access Modes=RWOP StorageClass=s VolumeAttributesClass=<unset> VolumeMode=Block"
    );
    assert_eq!(
        cells("", "PersistentVolumeClaim", json!({"metadata": {}, "spec": {}, "status": {"phase": "Pending"}})),
        "Status=Pending Volume= Capacity= Access Modes= StorageClass= VolumeAttributesClass=<unset> VolumeMode=<unset>"
    );
    let default = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    let class = json!({"metadata": {"annotations": default}, "provisioner": "p", "reclaimPolicy": "Retain"});
    let class = row("storage.k8s.io", "StorageClass", class);
    shows(&class, "Name", "x (default)");
    shows(&class, "VolumeBindingMode", "Immediate");
    shows(&class, "AllowVolumeExpansion", false);
    shows(&class, "ReclaimPolicy", "Retain");
}

#[test]
fn what_a_namespace_is_measured_by() {
    let status =
        json!({"hard": {"pods": "4", "cpu": "2", "limits.cpu": "3"}, "used": {"pods": "1", "limits.cpu": "500m"}});
    assert_eq!(
        cells("", "ResourceQuota", json!({"metadata": {}, "status": status})),
        "Request=cpu: 0/2, pods: 1/4 Limit=limits.cpu: 500m/3"
    );
    let range = json!({"metadata": {}, "spec": {"limits": [{"type": "Pod"}]}});
    shows(&row("", "LimitRange", range), "Created At", "2026-01-01T00:55:00Z");
    let class = json!({"metadata": {}, "value": 7, "globalDefault": true, "preemptionPolicy": "Never"});
    assert_eq!(
        cells("scheduling.k8s.io", "PriorityClass", class),
        "Value=7 Global-Default=true PreemptionPolicy=Never"
    );
    let class = json!({"metadata": {}, "handler": "runsc"});
    assert_eq!(cells("node.k8s.io", "RuntimeClass", class), "Handler=runsc");
    let spec = json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]});
    let template = |labels: Value| json!({"metadata": {}, "template": {"metadata": {"labels": labels}, "spec": spec}});
    let shown = "Containers=a,b Images=i,j Pod Labels=";
    assert_eq!(cells("", "PodTemplate", template(json!({"k": "v", "l": "w"}))), format!("{shown}k=v,l=w"));
    assert_eq!(cells("", "PodTemplate", template(json!({}))), format!("{shown}<none>"));
}
