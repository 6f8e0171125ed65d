//! Owns what happens while the node is short of something: measures, remembers, marks the pod that has to go. Never
//! decides which (`pressure` does), and never ends a pod: its plan sees the mark.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};

use super::conditions::{DISRUPTION_TARGET, TERMINATION_BY_KUBELET};
use super::core::{Core, Error};
use super::draft::KUBELET;
use super::limits::EPHEMERAL_STORAGE;
use super::pressure::{self, Candidate, Scarce, Short, Use};
use super::{measure, names, phase, quantity, signals};
use crate::model::event::{self, Severity};
use crate::model::object::Object;
use crate::model::time;
use crate::runtime::Seen;
use crate::store::{self, Expected, Write};

/// One measurement, and what follows from it.
pub async fn look(core: &Core) -> Result<(), Error> {
    let files = core.pods_dir.clone();
    let readings = tokio::task::spawn_blocking(move || signals::read(&files)).await.map_err(std::io::Error::other)?;
    let now = Timestamp::now();
    let shorts = core.with_ground(|ground| {
        let before = std::mem::take(&mut ground.pressure);
        ground.pressure = before.after(&ground.thresholds, &readings, now);
        ground.room = readings;
        pressure::short(&ground.thresholds, &ground.room)
    });
    if shorts.is_empty() { Ok(()) } else { relieve(core, &shorts, now).await }
}

/// Marks the pod that has to go, if one has to.
async fn relieve(core: &Core, shorts: &[Short], now: Timestamp) -> Result<(), Error> {
    let Some(scarce) = pressure::scarce(shorts) else { return Ok(()) };
    let mut running = Vec::new();
    for uid in core.memories.uids(|memory| !memory.containers.is_empty()) {
        if let Some(key) = core.store.by_uid(&uid)?
            && let Some(object) = core.store.get(&key)?.filter(|object| object.uid() == uid)
            && let Some(candidate) = candidate(core, &object, scarce)
        {
            running.push((object, candidate));
        }
    }
    if matches!(scarce, Scarce::Disk | Scarce::Inodes) {
        weigh_disk(core, &mut running).await?;
    }
    let candidates: Vec<Candidate> = running.iter().map(|(_, candidate)| candidate.clone()).collect();
    let Some((victim, message)) = pressure::victim(shorts, &candidates) else { return Ok(()) };
    let Some((object, _)) = running.iter().find(|(object, _)| object.uid() == victim.uid) else { return Ok(()) };
    tracing::warn!(pod = %object.key(), %message, "a pod is evicted");
    mark(core, object, &message, now).await
}

/// What pods take of the disk is asked of the engine, which may have to walk through it: only while there is too little.
async fn weigh_disk(core: &Core, running: &mut [(Object, Candidate)]) -> Result<(), Error> {
    let pod = |object: &Object| object.typed::<Pod>().cloned().unwrap_or_default();
    let pods: Vec<(String, Pod)> = running.iter().map(|(object, _)| (object.uid().to_owned(), pod(object))).collect();
    let usages = measure::usages(core, &pods, |_| true).await?;
    for ((_, candidate), usage) in running.iter_mut().zip(usages) {
        candidate.volumes = usage.volumes.values().sum();
        for container in &mut candidate.containers {
            container.usage = usage.containers.get(&container.name).copied();
        }
    }
    Ok(())
}

/// What a pod takes; none where it is over. The disk is weighed later.
fn candidate(core: &Core, object: &Object, scarce: Scarce) -> Option<Candidate> {
    let pod: &Pod = object.typed()?;
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref();
    if phase::terminal(status.and_then(|status| status.phase.as_deref())) {
        return None;
    }
    let disrupted = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten().any(|condition| {
        condition.type_ == DISRUPTION_TARGET && condition.reason.as_deref() == Some(TERMINATION_BY_KUBELET)
    });
    let uid = object.uid();
    let seen = core.memories.known(uid, |memory| memory.containers.clone()).unwrap_or_default();
    let running = seen.values().filter(|seen| matches!(seen.state, Seen::Running { .. }));
    let containers = running.filter_map(|seen| {
        let (name, _) = names::identity(seen)?;
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let container = all.find(|container| container.name == name)?;
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let of = |resource: &str| quantity::find(requests, resource).map_or(0, quantity::units);
        let (request, usage) = match scarce {
            Scarce::Memory => (of("memory"), signals::memory_of(&seen.id)),
            Scarce::Disk | Scarce::Inodes => (of(EPHEMERAL_STORAGE), None),
            Scarce::Pids => (0, signals::pids_of(&seen.id)),
        };
        Some(Use { name: name.to_owned(), request: u64::try_from(request).unwrap_or(0), usage })
    });
    let containers: Vec<Use> = containers.collect();
    let ending = disrupted || pod.metadata.deletion_timestamp.is_some();
    let priority = spec.priority.unwrap_or(0);
    (!containers.is_empty()).then(|| Candidate { uid: uid.to_owned(), priority, ending, containers, volumes: 0 })
}

/// Writes the condition that the pod's plan goes by, and the Event. A pod that changed meanwhile is met again at the
/// next look.
async fn mark(core: &Core, object: &Object, message: &str, now: Timestamp) -> Result<(), Error> {
    let Some(mut pod) = object.typed::<Pod>().cloned() else { return Ok(()) };
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != DISRUPTION_TARGET);
    conditions.push(PodCondition {
        type_: DISRUPTION_TARGET.to_owned(),
        status: "True".to_owned(),
        reason: Some(TERMINATION_BY_KUBELET.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(time::seconds(now)),
        ..PodCondition::default()
    });
    let said = event::about(object, KUBELET, Severity::Warning, "Evicted", message, now);
    let expected = Expected::Revision(object.revision());
    match core.store.commit(vec![Write::Update { object: Object::new(pod), expected }, Write::Record(said)]).await {
        Ok(_) | Err(store::Error::Conflict { .. } | store::Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
