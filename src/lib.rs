//! jobdock runs Kubernetes batch/v1 Jobs on one machine, with Docker and nothing else.
//!
//! One static binary is the daemon, the command line and the API server. It reads Job manifests, starts each pod as
//! Docker containers, decides retries and failures as the Kubernetes Job controller does, keeps every object in
//! SQLite, and speaks the Kubernetes HTTP API, so that `kubectl` and client libraries work against it unmodified.
//!
//! # One picture, three sentences
//!
//! ```text
//!  kubectl   jobdock CLI   Python/Go/Rust clients         (all are plain Kubernetes API clients)
//!      \          |           /
//!    +----------------------------------------+   reads, one-object commits   +----------------------+
//!    | api        HTTP <-> objects            |<----------------------------->|                      |
//!    +----------------------------------------+        watch by revision      |        store         |
//!                                                                             |  SQLite: objects +   |
//!    +----------------------------------------+  observe: a job and its pods  |  change log          |
//!    | job        controller      plan() PURE |<------------------------------|                      |
//!    |                                        |-- ONE commit: pods+status --->|  the only place      |
//!    +----------------------------------------+                               |  where facts are     |
//!                                                                             |  shared              |
//!    +----------------------------------------+  observe: a pod               |                      |
//!    | pod        node agent      plan() PURE |<------------------------------|                      |
//!    |                                        |-- commit: pod status -------->|                      |
//!    +----------------------------------------+                               +----------------------+
//!         |  actions          ^  containers seen
//!         v                   |
//!    +----------------------------------------+
//!    | runtime    Docker (bollard)  |  Fake   |
//!    +----------------------------------------+
//! ```
//!
//! **Every fact goes through the store. Every decision is a pure function from facts to a plan. Every loop is
//! observe, plan, apply.** [`job`] and [`pod`] never call each other, [`api`] calls neither: they meet in the
//! [`store`].
//!
//! # The rooms
//!
//! | Room | Owns | May import |
//! |---|---|---|
//! | [`model`] | the kinds served (one table), decoding, defaults, validation, selectors, quantities, YAML in | nothing of ours |
//! | [`metrics`] | what is counted, and its text; every room may report there | nothing of ours |
//! | [`reconcile`] | the keyed work queue: dedupe, delay, one run per key, back-off on error | `metrics` |
//! | [`store`] | SQLite, `commit`, change log, watch fan-out, compaction, kept container logs | `metrics`, `model` |
//! | [`runtime`] | the trait of a container engine and its plain data; Docker and a fake | `model` |
//! | [`feed`] | how changes become keys of a queue | `model`, `store`, `reconcile` |
//! | [`gc`] | what happens to an object whose owner, namespace or node goes | `model`, `store`, `reconcile`, `feed` |
//! | [`tenancy`] | what every namespace has: its `default` account, the authority's certificate | `model`, `store`, `reconcile` |
//! | [`token`] | service account tokens: claims, signature, check | nothing of ours |
//! | [`admission`] | what a namespace gives its pods and claims and holds them to, before they are stored | `model`, `store` |
//! | [`job`] | what a Job and a CronJob do: a pure plan, and the controllers that carry it out | `metrics`, `model`, `store`, `reconcile`, `feed`, `admission` |
//! | [`scheduler`] | which pods the node takes, and in which order: a pure plan, and the loop that carries it out | `model`, `store`, `reconcile`, `feed` |
//! | [`service`] | which addresses stand behind a Service: Endpoints and EndpointSlices by a pure plan | `model`, `store`, `reconcile` |
//! | [`storage`] | claims and persistent volumes: bound, made, reclaimed | `model`, `store`, `reconcile`, `feed`, `runtime`, `admission` |
//! | [`pod`] | what a pod does on this node: a pure plan, and the agent that carries it out | `metrics`, `model`, `store`, `reconcile`, `runtime`, `token` |
//! | [`api`] | verbs over the table of kinds, watch, patch, tables, discovery, pod streams | `metrics`, `model`, `store`, `runtime`, `admission`, `token` |
//! | [`cli`] | one file per command; a Kubernetes client | `model`, `daemon`; `plan` the pure core of `job` |
//! | [`daemon`] | wiring, start order, ordered shutdown | all but `cli` |
//!
//! A test (`tests/it/tidy.rs`) reads the sources and fails on an import that this table does not allow, and on I/O,
//! clocks, chance or concurrency in a file that has to be pure.
//!
//! # The decision that pays for the rest
//!
//! A Job decision is **one commit**: new pods, deleted pods, counted finalizers, Job status and Events are one SQLite
//! transaction, guarded by the revisions that were read. A failed guard writes nothing, and the key is planned again
//! from fresh facts. Counting a finished pod and dropping its tracking finalizer happen together, so it is counted
//! exactly once, whatever dies and whenever.
//!
//! The gap between the store and the engine, which no transaction spans, is closed by three rules:
//!
//! 1. *Intend, then act.* A container is created only for a pod that is already in the store.
//! 2. *Names make acts repeatable.* A container's name is computed from pod uid, container name and attempt. "Name
//!    already in use" means that a reply was lost: inspect and adopt.
//! 3. *Record, then remove.* A dead container is removed only after its final state and its logs are kept.
//!
//! # A pod's life
//!
//! A manifest is decoded, defaulted and validated ([`model::admit`]), then committed. The change wakes the Job's key;
//! `job::plan` decides; one commit makes the pods. The scheduler binds those that fit; each wakes its worker; `pod::plan` decides; the engine acts and the
//! status is committed. The engine's `die` event only wakes the worker again: it inspects, keeps the final phase and
//! the logs, removes the container. The Job wakes, counts the pod, and at last sets `Complete` or `Failed`. Watchers see
//! each change in the order of revisions. A restart marks every key dirty and plans from facts.

pub mod admission;
pub mod api;
pub mod cli;
pub mod daemon;
pub mod feed;
pub mod gc;
pub mod job;
pub mod metrics;
pub mod model;
pub mod pod;
pub mod quota;
pub mod reconcile;
pub mod runtime;
pub mod scheduler;
pub mod service;
pub mod storage;
pub mod store;
pub mod tenancy;
pub mod token;
