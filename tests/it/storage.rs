//! Claims and volumes: what becomes of each, one line per case.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jobdock::model::claims::{self, Standing};
use jobdock::model::kind::Kind;
use jobdock::model::object::{Key, Object};
use jobdock::storage::plan::{self, Facts};
use jobdock::storage::users::Use;
use jobdock::storage::{provision, reclaim};
use jobdock::store::{Expected, Query, Store, Write};
use k8s_openapi::api::core::v1::{Event, PersistentVolume, PersistentVolumeClaim, Pod, ResourceQuota};
use k8s_openapi::api::storage::v1::StorageClass;
use tokio_util::sync::CancellationToken;

use super::pod_house::from_yaml;

/// How long a test waits for what must come; only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

fn claim(more: &str) -> PersistentVolumeClaim {
    from_yaml(&format!(
        "{{metadata: {{name: c, namespace: default, uid: u1, finalizers: [kubernetes.io/pvc-protection]{more}"
    ))
}

const ASKS: &str = "accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}";

fn asking(spec: &str) -> PersistentVolumeClaim {
    claim(&format!("}}, spec: {{{ASKS}{spec}}}}}"))
}

fn volume(name: &str, spec: &str, phase: &str) -> PersistentVolume {
    from_yaml(&format!(
        "{{metadata: {{name: {name}}}, spec: {{accessModes: [ReadWriteOnce], hostPath: {{path: /srv}}{spec}}}, \
         status: {{phase: {phase}}}}}"
    ))
}

/// What the plan does, in a line.
fn told(claim: &PersistentVolumeClaim, volumes: &[PersistentVolume], used: Use) -> String {
    let classes: [StorageClass; 1] = [provision::default_class()];
    let facts = Facts { claim, volumes, classes: &classes, used, node: "node", engine: true };
    let plan = plan::claim(&facts, Timestamp::UNIX_EPOCH);
    let mut out: Vec<String> = plan.events.iter().map(|said| said.reason.to_owned()).collect();
    out.extend(plan.create.map(|volume| format!("create {}", volume.metadata.name.unwrap_or_default())));
    out.extend(plan.make.map(|spec| format!("make {}", spec.name)));
    if let Some(next) = plan.claim {
        let phase = next.status.and_then(|status| status.phase).unwrap_or_default();
        let spec = next.spec.unwrap_or_default();
        let class = spec.storage_class_name.unwrap_or_default();
        let finalizers = next.metadata.finalizers.unwrap_or_default().len();
        out.push(format!("claim {phase} {class:?} {:?} {finalizers}", spec.volume_name.unwrap_or_default()));
    }
    out.join(", ")
}

#[test]
fn a_claim_is_bound_made_for_or_waits() {
    let (idle, wanted) = (Use::default(), Use { scheduled: false, wanted: true });
    let small = || volume("small", ", capacity: {storage: 1Gi}", "Available");
    let large = || volume("large", ", capacity: {storage: 5Gi}", "Available");
    let tiny = || volume("tiny", ", capacity: {storage: 1Mi}", "Available");
    let standard = ", storageClassName: standard";
    let kept = |claim: &str, size: &str, more: &str| {
        let claim = format!("claimRef: {{namespace: default, name: {claim}}}");
        volume("kept", &format!(", capacity: {{storage: {size}}}, {claim}{more}"), "Available")
    };
    // A pod's node was found, so one is to be made.
    let chosen = |more: &str| {
        let mut claim = asking(&format!("{standard}{more}"));
        let node = (claims::SELECTED_NODE.to_owned(), "node".to_owned());
        claim.metadata.annotations.get_or_insert_default().extend([node]);
        claim
    };
    let made = provision::volume(&asking(standard), &provision::default_class());
    for (case, claim, volumes, used, expected) in [
        ("no class named", asking(""), vec![], idle, r#"claim  "standard" "" 1"#),
        ("no pod yet", asking(standard), vec![], idle, "WaitForFirstConsumer"),
        ("a pod wants it", asking(standard), vec![], wanted, r#"claim  "standard" "" 1"#),
        ("without a class", asking(", storageClassName: ''"), vec![], wanted, "FailedBinding"),
        ("no such class", asking(", storageClassName: no"), vec![], wanted, "ProvisioningFailed"),
        (
            "the smallest that fits",
            asking(", storageClassName: ''"),
            vec![tiny(), large(), small()],
            idle,
            r#"claim Bound "" "small" 1"#,
        ),
        ("too small", asking(", storageClassName: ''"), vec![tiny()], idle, "FailedBinding"),
        (
            "asked for by name",
            asking(", storageClassName: '', volumeName: large"),
            vec![small(), large()],
            idle,
            r#"claim Bound "" "large" 1"#,
        ),
        (
            "asked for and too small",
            asking(", storageClassName: '', volumeName: tiny"),
            vec![tiny()],
            idle,
            "VolumeMismatch",
        ),
        (
            "kept for it by hand, of whatever class",
            asking(standard),
            vec![small(), kept("c", "5Gi", "")],
            idle,
            r#"claim Bound "standard" "kept" 1"#,
        ),
        ("kept for another", asking(", storageClassName: ''"), vec![kept("d", "5Gi", "")], idle, "FailedBinding"),
        (
            "kept for it, but too small",
            asking(", storageClassName: ''"),
            vec![kept("c", "1Mi", ""), large()],
            idle,
            r#"claim Bound "" "large" 1"#,
        ),
        (
            "kept for it, of another mode",
            asking(", storageClassName: ''"),
            vec![kept("c", "5Gi", ", volumeMode: Block")],
            idle,
            "FailedBinding",
        ),
        (
            "with other attributes",
            asking(", storageClassName: '', volumeAttributesClassName: gold"),
            vec![small(), volume("gold", ", capacity: {storage: 2Gi}, volumeAttributesClassName: gold", "Available")],
            idle,
            r#"claim Bound "" "gold" 1"#,
        ),
        (
            "asked for, with other attributes",
            asking(", storageClassName: '', volumeName: large, volumeAttributesClassName: gold"),
            vec![large()],
            idle,
            "VolumeMismatch",
        ),
        (
            "of attributes that nobody knows",
            chosen(", volumeAttributesClassName: gold"),
            vec![],
            wanted,
            "ProvisioningFailed",
        ),
        ("a block device", chosen(", volumeMode: Block"), vec![], wanted, "ProvisioningFailed"),
        ("a copy of something", chosen(", dataSource: {kind: K, name: n}"), vec![], wanted, "ProvisioningFailed"),
        (
            "one was made for it",
            asking(standard),
            vec![made],
            wanted,
            r#"ProvisioningSucceeded, make jobdock-pvc-u1, claim Bound "standard" "pvc-u1" 1"#,
        ),
    ] {
        assert_eq!(told(&claim, &volumes, used), expected, "{case}");
    }
}

#[test]
fn a_claim_that_goes_is_held_by_the_pods_that_name_it() {
    let going = claim(&format!(", deletionTimestamp: '2026-01-01T00:00:00Z'}}, spec: {{{ASKS}}}}}"));
    assert_eq!(told(&going, &[], Use { scheduled: true, wanted: false }), "");
    assert_eq!(told(&going, &[], Use::default()), r#"claim  "" "" 0"#);
}

#[test]
fn a_volume_whose_claim_went_is_reclaimed_as_its_policy_says() {
    let kept = ", capacity: {storage: 1Gi}, claimRef: {namespace: default, name: c, uid: gone}";
    for (policy, phase, expected) in [
        ("Retain", "Bound", "Released"),
        ("Delete", "Bound", "Released"),
        ("Retain", "Released", "-"),
        ("Delete", "Released", "Failed"),
        ("Recycle", "Released", "Failed"),
    ] {
        let one = volume("v", &format!("{kept}, persistentVolumeReclaimPolicy: {policy}"), phase);
        let plan = reclaim::volume(&one, None, Timestamp::UNIX_EPOCH);
        let next = plan.volume.and_then(|volume| volume.status?.phase);
        assert_eq!(next.as_deref().unwrap_or("-"), expected, "{policy} {phase}");
        assert_eq!(plan.remove, None, "only what we made is removed");
    }
    let mut made = provision::volume(&asking(""), &provision::default_class());
    made.status.get_or_insert_default().phase = Some("Released".to_owned());
    let plan = reclaim::volume(&made, None, Timestamp::UNIX_EPOCH);
    assert_eq!(plan.remove.as_deref(), Some("jobdock-pvc-u1"));
}

#[test]
fn a_pod_waits_for_its_claims_in_the_schedulers_words() {
    let pod: Pod = from_yaml(
        "{metadata: {name: p, namespace: default, uid: u}, spec: {containers: [], volumes: [{name: v, \
         persistentVolumeClaim: {claimName: c}}]}}",
    );
    let bound = from_yaml(
        "{metadata: {name: c, annotations: {pv.kubernetes.io/bind-completed: 'yes'}}, spec: {volumeName: v}}",
    );
    let words = |text: &str| Standing::Unschedulable(text.to_owned());
    for (claim, waits, expected) in [
        (None, false, words("persistentvolumeclaim \"c\" not found")),
        (Some(asking("")), false, words("pod has unbound immediate PersistentVolumeClaims")),
        (Some(asking("")), true, Standing::Binding),
        (Some(bound), false, Standing::Ready),
    ] {
        let claims: BTreeMap<String, PersistentVolumeClaim> =
            claim.into_iter().map(|claim| ("c".to_owned(), claim)).collect();
        assert_eq!(claims::standing(&pod, |name| claims.get(name), |_| waits), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_made_for_a_pod_keeps_to_quotas_and_the_pod_says_why_it_has_none() {
    let store = Store::in_memory().expect("a store");
    let quota: ResourceQuota = from_yaml(
        "{metadata: {name: q, namespace: default}, spec: {hard: {requests.storage: 1Gi}}, \
         status: {hard: {requests.storage: 1Gi}, used: {requests.storage: 512Mi}}}",
    );
    let pod: Pod = from_yaml(&format!(
        "{{metadata: {{name: p, namespace: default, uid: u}}, spec: {{containers: [], volumes: [{{name: data, ephemeral: \
         {{volumeClaimTemplate: {{spec: {{{ASKS}}}}}}}}}]}}}}"
    ));
    let class = Object::new(provision::default_class());
    let writes = [class, Object::new(quota), Object::new(pod)].map(Write::Create);
    store.commit(writes.into()).await.expect("they can be stored");
    let stop = CancellationToken::new();
    let running = tokio::spawn(jobdock::storage::run(store.clone(), None, "node".to_owned(), stop.clone()));
    let why = "ephemeral volume data: create PVC p-data: persistentvolumeclaims \"p-data\" is forbidden: exceeded quota: \
               q, requested: requests.storage=1Gi, used: requests.storage=512Mi, limited: requests.storage=1Gi";
    until("the pod says why", || {
        let events = store.list(&Query::all(Kind::of::<Event>())).expect("readable").objects;
        let said = |event: &Event| (event.reason.clone(), event.message.clone());
        let wanted = (Some("FailedBinding".to_owned()), Some(why.to_owned()));
        events.iter().filter_map(|event| event.typed::<Event>()).any(|event| said(event) == wanted)
    })
    .await;
    let key = Key::of::<PersistentVolumeClaim>("default", "p-data");
    assert!(store.get(&key).expect("readable").is_none());
    let quota = Write::Delete { key: Key::of::<ResourceQuota>("default", "q"), expected: Expected::Exists };
    store.commit(vec![quota]).await.expect("it goes");
    until("the claim", || store.get(&key).expect("readable").is_some()).await;
    let claim = store.get(&key).expect("readable").expect("there");
    let claim = claim.typed::<PersistentVolumeClaim>().expect("a claim");
    assert_eq!(claims::class_of(claim), "standard");
    stop.cancel();
    running.await.expect("the loop ends");
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain: {what}");
}
