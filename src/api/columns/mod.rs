//! Owns what a table shows of each kind: its columns here, their cells in the files below. PURE.
//! Never decides who is shown.
//!
//! Parity: upstream's `printers/internalversion`. Another kind is a row in `PRINTERS`; a kind without one shows its name
//! and its age.

mod accounts;
mod batch;
mod core;
mod network;
mod node;
mod pod;
mod storage;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::duration;
use crate::model::events;
use crate::model::kind::Kind;
use crate::model::object::{Object, Resource};

/// One column.
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// OpenAPI type of the cells.
    pub kind: &'static str,
    /// `name` for the column that names the object, else empty.
    pub format: &'static str,
    /// What it shows.
    pub description: Text,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// Where a description comes from.
#[derive(Clone, Copy)]
pub enum Text {
    /// The text itself.
    Own(&'static str),
    /// The documentation of a field: type, field.
    Field(&'static str, &'static str),
}

/// How a kind is shown.
pub struct Printer {
    group: &'static str,
    kind: &'static str,
    /// The columns.
    pub columns: &'static [Column],
    /// The cells of a row, one for each column.
    pub cells: fn(&Object, Timestamp) -> Vec<Value>,
}

/// A column of text that is always shown.
const fn text(name: &'static str, description: Text) -> Column {
    Column { name, kind: "string", format: "", description, priority: 0 }
}

/// A column of text that only `-o wide` shows.
const fn wide(name: &'static str, description: Text) -> Column {
    Column { priority: 1, ..text(name, description) }
}

/// Documentation of a field of `meta/v1`'s ObjectMeta.
const fn meta(field: &'static str) -> Text {
    Text::Field("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", field)
}

/// The column that names the object.
const NAME: Column = Column { format: "name", ..text("Name", meta("name")) };
/// How long ago it was made.
const AGE: Column = text("Age", meta("creationTimestamp"));
const CONTAINERS: Column = wide("Containers", Text::Own("Names of each container in the template."));
const IMAGES: Column = wide("Images", Text::Own("Images referenced by each container in the template."));
const SELECTOR: Column = wide("Selector", Text::Field("io.k8s.api.batch.v1.JobSpec", "selector"));

const fn event(field: &'static str) -> Text {
    Text::Field("io.k8s.api.core.v1.Event", field)
}

const fn service(field: &'static str) -> Text {
    Text::Field("io.k8s.api.core.v1.ServiceSpec", field)
}

const fn slice(field: &'static str) -> Text {
    Text::Field("io.k8s.api.discovery.v1.EndpointSlice", field)
}

const fn cron(field: &'static str) -> Text {
    Text::Field("io.k8s.api.batch.v1.CronJobSpec", field)
}

const EVENT: &[Column] = &[
    text("Last Seen", event("lastTimestamp")),
    text("Type", event("type")),
    text("Reason", event("reason")),
    text("Object", event("involvedObject")),
    wide("Subobject", Text::Field("io.k8s.api.core.v1.ObjectReference", "fieldPath")),
    wide("Source", event("source")),
    text("Message", event("message")),
    wide("First Seen", event("firstTimestamp")),
    wide("Count", event("count")),
    wide("Name", meta("name")),
];

const fn class(field: &'static str) -> Text {
    Text::Field("io.k8s.api.scheduling.v1.PriorityClass", field)
}

const PRINTERS: &[Printer] = &[
    Printer { group: "", kind: "Pod", columns: pod::COLUMNS, cells: |object, now| typed(object, now, pod::cells) },
    Printer { group: "", kind: "Node", columns: node::COLUMNS, cells: |object, now| typed(object, now, node::cells) },
    Printer {
        group: "batch",
        kind: "Job",
        columns: &[
            NAME,
            text("Status", Text::Own("Status of the job.")),
            text("Completions", Text::Field("io.k8s.api.batch.v1.JobStatus", "succeeded")),
            text("Duration", Text::Own("Time required to complete the job.")),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        cells: |object, now| typed(object, now, batch::job),
    },
    Printer {
        group: "batch",
        kind: "CronJob",
        columns: &[
            NAME,
            text("Schedule", cron("schedule")),
            text("Timezone", cron("timeZone")),
            Column { kind: "boolean", ..text("Suspend", cron("suspend")) },
            Column { kind: "integer", ..text("Active", Text::Field("io.k8s.api.batch.v1.CronJobStatus", "active")) },
            text("Last Schedule", Text::Field("io.k8s.api.batch.v1.CronJobStatus", "lastScheduleTime")),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        cells: |object, now| typed(object, now, batch::cron_job),
    },
    Printer { group: "", kind: "Event", columns: EVENT, cells: |object, now| typed(object, now, core::event) },
    Printer {
        group: "events.k8s.io",
        kind: "Event",
        columns: EVENT,
        cells: |object, now| typed(object, now, |event, row| core::event(&events::keep(event), row)),
    },
    Printer {
        group: "",
        kind: "ConfigMap",
        columns: &[NAME, text("Data", Text::Field("io.k8s.api.core.v1.ConfigMap", "data")), AGE],
        cells: |object, now| typed(object, now, core::config_map),
    },
    Printer {
        group: "",
        kind: "Secret",
        columns: &[
            NAME,
            text("Type", Text::Field("io.k8s.api.core.v1.Secret", "type")),
            text("Data", Text::Field("io.k8s.api.core.v1.Secret", "data")),
            AGE,
        ],
        cells: |object, now| typed(object, now, core::secret),
    },
    Printer {
        group: "",
        kind: "Namespace",
        columns: &[NAME, text("Status", Text::Own("The status of the namespace")), AGE],
        cells: |object, now| typed(object, now, core::namespace),
    },
    Printer {
        group: "",
        kind: "PersistentVolume",
        columns: storage::VOLUME_COLUMNS,
        cells: |object, now| typed(object, now, storage::volume),
    },
    Printer {
        group: "",
        kind: "PersistentVolumeClaim",
        columns: storage::CLAIM_COLUMNS,
        cells: |object, now| typed(object, now, storage::claim),
    },
    Printer {
        group: "node.k8s.io",
        kind: "RuntimeClass",
        columns: &[NAME, text("Handler", Text::Field("io.k8s.api.node.v1.RuntimeClass", "handler")), AGE],
        cells: |object, now| typed(object, now, core::runtime_class),
    },
    Printer {
        group: "storage.k8s.io",
        kind: "StorageClass",
        columns: storage::CLASS_COLUMNS,
        cells: |object, now| typed(object, now, storage::class),
    },
    Printer {
        group: "",
        kind: "ServiceAccount",
        columns: &[NAME, text("Secrets", Text::Field("io.k8s.api.core.v1.ServiceAccount", "secrets")), AGE],
        cells: |object, now| typed(object, now, accounts::service_account),
    },
    Printer {
        group: "",
        kind: "PodTemplate",
        columns: &[
            NAME,
            text("Containers", Text::Own("Names of each container in the template.")),
            text("Images", Text::Own("Images referenced by each container in the template.")),
            text("Pod Labels", Text::Own("The labels for the pod template.")),
        ],
        cells: |object, now| typed(object, now, accounts::pod_template),
    },
    Printer {
        group: "",
        kind: "ResourceQuota",
        columns: &[
            NAME,
            text(
                "Request",
                Text::Own("Request represents a minimum amount of cpu/memory that a container may consume."),
            ),
            text(
                "Limit",
                Text::Own(
                    "Limits control the maximum amount of cpu/memory that a container may use independent of \
                     contention on the node.",
                ),
            ),
            AGE,
        ],
        cells: |object, now| typed(object, now, accounts::resource_quota),
    },
    Printer {
        group: "",
        kind: "Service",
        columns: &[
            NAME,
            text("Type", service("type")),
            text("Cluster-IP", service("clusterIP")),
            text("External-IP", service("externalIPs")),
            text("Port(s)", service("ports")),
            AGE,
            wide("Selector", service("selector")),
        ],
        cells: |object, now| typed(object, now, network::service),
    },
    Printer {
        group: "",
        kind: "Endpoints",
        columns: &[NAME, text("Endpoints", Text::Field("io.k8s.api.core.v1.Endpoints", "subsets")), AGE],
        cells: |object, now| typed(object, now, network::endpoints),
    },
    Printer {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        columns: &[
            NAME,
            text("AddressType", slice("addressType")),
            text("Ports", slice("ports")),
            text("Endpoints", slice("endpoints")),
            AGE,
        ],
        cells: |object, now| typed(object, now, network::slice),
    },
    Printer {
        group: "coordination.k8s.io",
        kind: "Lease",
        columns: &[NAME, text("Holder", Text::Field("io.k8s.api.coordination.v1.LeaseSpec", "holderIdentity")), AGE],
        cells: |object, now| typed(object, now, core::lease),
    },
    Printer {
        group: "scheduling.k8s.io",
        kind: "PriorityClass",
        columns: &[
            NAME,
            Column { kind: "integer", ..text("Value", class("value")) },
            Column { kind: "boolean", ..text("Global-Default", class("globalDefault")) },
            AGE,
            text("PreemptionPolicy", class("preemptionPolicy")),
        ],
        cells: |object, now| typed(object, now, core::priority_class),
    },
];

/// Kinds that have no columns of their own.
const DEFAULT: Printer = Printer {
    group: "",
    kind: "",
    columns: &[NAME, Column { format: "date", ..text("Created At", meta("creationTimestamp")) }],
    cells: |object, _| {
        let created = object.meta().creation_timestamp.as_ref().map(|at| json!(at));
        vec![json!(object.meta().name), created.unwrap_or_default()]
    },
};

/// How a kind is shown.
pub fn printer(kind: &Kind) -> &'static Printer {
    PRINTERS.iter().find(|row| row.group == kind.group && row.kind == kind.kind).unwrap_or(&DEFAULT)
}

/// The conditions of an object's row: finished pods have one.
pub fn conditions(object: &Object) -> Option<Value> {
    object.typed().and_then(pod::conditions)
}

/// What every printer is told of its object.
struct Row<'a> {
    name: &'a str,
    age: String,
    now: Timestamp,
}

fn typed<T: Resource>(object: &Object, now: Timestamp, print: fn(&T, Row<'_>) -> Vec<Value>) -> Vec<Value> {
    let value = object.typed::<T>().expect("a printer is used for its own kind");
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    print(value, Row { name, age: duration::since(meta.creation_timestamp.as_ref(), now), now })
}

/// `<none>` for what is missing or empty.
fn or_none(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or("<none>")
}
