//! What quotas let in, and how they say no.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, ResourceQuota, Service};
use serde_json::{Value, json};

use super::super::object::Object;
use super::{Weight, charge, counted};

fn quota(hard: Value, more: Value) -> ResourceQuota {
    let mut spec = more;
    spec["hard"] = hard;
    let mut quota: ResourceQuota =
        serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": spec})).expect("a quota");
    quota.status = Some(counted(&quota, std::iter::empty()));
    quota
}

fn pod(resources: Value, more: Value) -> Object {
    let mut spec = json!({"containers": [{"name": "main", "image": "i", "resources": resources}]});
    for (field, value) in more.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    Object::new(serde_json::from_value::<Pod>(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod"))
}

fn claim(size: &str, class: &str, status: Value) -> Object {
    let spec = json!({"storageClassName": class, "resources": {"requests": {"storage": size}}});
    let claim = json!({"metadata": {"name": "c"}, "spec": spec, "status": status});
    Object::new(serde_json::from_value::<PersistentVolumeClaim>(claim).expect("a claim"))
}

fn used(quota: &ResourceQuota) -> Value {
    json!(quota.status.as_ref().and_then(|status| status.used.clone()).unwrap_or_default())
}

#[test]
fn a_quota_lets_in_what_it_has_room_for_and_says_why_not() {
    let small = json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1"}});
    for (hard, pods, why) in [
        (json!({"pods": "2"}), vec![json!({}); 2], ""),
        (
            json!({"pods": "2"}),
            vec![json!({}); 3],
            "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2",
        ),
        (
            json!({"count/pods": "0"}),
            vec![json!({})],
            "exceeded quota: q, requested: count/pods=1, used: count/pods=0, limited: count/pods=0",
        ),
        (
            json!({"requests.cpu": "1"}),
            vec![small.clone(); 3],
            "exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=1, limited: requests.cpu=1",
        ),
        (
            json!({"cpu": "1", "memory": "1Gi"}),
            vec![small.clone(); 2],
            "exceeded quota: q, requested: memory=1Gi, used: memory=1Gi, limited: memory=1Gi",
        ),
        (json!({"limits.cpu": "4"}), vec![json!({})], "failed quota: q: must specify limits.cpu for: main"),
        (
            json!({"cpu": "4", "limits.memory": "1Gi"}),
            vec![json!({})],
            "failed quota: q: must specify cpu for: main; limits.memory for: main",
        ),
        (json!({"requests.ephemeral-storage": "1Gi"}), vec![json!({})], ""),
        (json!({"configmaps": "0", "requests.example.com/gpu": "1"}), vec![json!({})], ""),
        (
            json!({"requests.example.com/gpu": "1"}),
            vec![json!({"requests": {"example.com/gpu": "2"}})],
            "exceeded quota: q, requested: requests.example.com/gpu=2, used: requests.example.com/gpu=0, limited: requests.example.com/gpu=1",
        ),
    ] {
        let mut quota = quota(hard.clone(), json!({}));
        let told = pods
            .iter()
            .map(|resources| charge(&mut quota, &pod(resources.clone(), json!({})), None))
            .find_map(Result::err);
        assert_eq!(told.unwrap_or_default(), why, "{hard}");
    }
}

#[test]
fn a_quota_measures_only_pods_in_its_scopes() {
    let class = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    let bound = json!({"requests": {"cpu": "1"}});
    let abroad = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "k", "namespaces": ["other"]}]}}});
    for (scope, resources, spec, counts) in [
        (json!({"scopes": ["Terminating"]}), json!({}), json!({"activeDeadlineSeconds": 5}), true),
        (json!({"scopes": ["Terminating"]}), json!({}), json!({}), false),
        (json!({"scopes": ["NotTerminating"]}), json!({}), json!({"activeDeadlineSeconds": 5}), false),
        (json!({"scopes": ["BestEffort"]}), json!({}), json!({}), true),
        (json!({"scopes": ["BestEffort"]}), bound.clone(), json!({}), false),
        (json!({"scopes": ["NotBestEffort", "NotTerminating"]}), bound.clone(), json!({}), true),
        (json!({"scopes": ["NotBestEffort", "Terminating"]}), bound, json!({}), false),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), json!({}), abroad, true),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), json!({}), json!({}), false),
        (json!({"scopes": ["PriorityClass"]}), json!({}), json!({"priorityClassName": "a"}), true),
        (class("In", json!(["a"])), json!({}), json!({"priorityClassName": "a"}), true),
        (class("In", json!(["a"])), json!({}), json!({"priorityClassName": "b"}), false),
        (class("NotIn", json!(["a"])), json!({}), json!({}), true),
        (class("DoesNotExist", Value::Null), json!({}), json!({"priorityClassName": "b"}), false),
    ] {
        let mut quota = quota(json!({"pods": "5"}), scope.clone());
        assert_eq!(charge(&mut quota, &pod(resources, spec.clone()), None), Ok(counts), "{scope} {spec}");
        assert_eq!(used(&quota), json!({"pods": if counts { "1" } else { "0" }}), "{scope} {spec}");
    }
}

#[test]
fn a_quota_measures_only_claims_in_its_class_of_attributes() {
    let gold = |operator: &str| {
        let values = if operator.ends_with("In") { json!(["gold"]) } else { Value::Null };
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "VolumeAttributesClass", "operator": operator, "values": values}]}})
    };
    let changing = json!({"currentVolumeAttributesClassName": "gold"});
    for (scope, class, status, counts) in [
        (json!({"scopes": ["VolumeAttributesClass"]}), "gold", json!({}), true),
        (json!({"scopes": ["VolumeAttributesClass"]}), "", json!({}), false),
        (gold("In"), "gold", json!({}), true),
        (gold("In"), "tin", json!({}), false),
        (gold("In"), "tin", changing.clone(), true),
        (gold("NotIn"), "tin", json!({}), true),
        (gold("NotIn"), "", json!({}), true),
        (gold("DoesNotExist"), "", json!({}), true),
        (gold("DoesNotExist"), "", changing, false),
        (json!({"scopes": ["BestEffort"]}), "gold", json!({}), false),
    ] {
        let mut quota = quota(json!({"persistentvolumeclaims": "5"}), scope.clone());
        let mut claim = claim("1Gi", "fast", status.clone()).to_value();
        claim["spec"]["volumeAttributesClassName"] = json!(class);
        let claim = Object::new(serde_json::from_value::<PersistentVolumeClaim>(claim).expect("a claim"));
        assert_eq!(charge(&mut quota, &claim, None), Ok(counts), "{scope} {class} {status}");
    }
}

#[test]
fn what_stands_in_a_namespace_is_summed_up() {
    let ended = pod(json!({"requests": {"cpu": "1"}}), json!({}));
    let mut ended = ended.to_value();
    ended["status"] = json!({"phase": "Succeeded"});
    let ended = Object::new(serde_json::from_value::<Pod>(ended).expect("a pod"));
    let steps = json!({
        "initContainers": [
            {"name": "side", "image": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
            {"name": "big", "image": "i", "resources": {"requests": {"cpu": "3"}}}],
        "overhead": {"cpu": "50m"},
    });
    let service: Service =
        serde_json::from_value(json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}}))
            .expect("a Service");
    let objects = [
        ended,
        pod(json!({"requests": {"cpu": "1500m"}}), json!({})),
        pod(json!({"requests": {"cpu": "1"}}), steps),
        Object::new(service),
        Object::new(ConfigMap::default()),
        claim("1Gi", "fast", json!({})),
        claim("512Mi", "", json!({"allocatedResources": {"storage": "2Gi"}})),
    ];
    let weights: Vec<Weight> = objects.iter().filter_map(Weight::of).collect();
    let hard = json!({
        "pods": "1", "count/pods": "1", "cpu": "1", "services": "1", "services.nodeports": "1",
        "services.loadbalancers": "1", "configmaps": "1", "count/configmaps": "1", "count/jobs.batch": "1",
        "requests.storage": "1Gi", "persistentvolumeclaims": "5", "count/persistentvolumeclaims": "5",
        "fast.storageclass.storage.k8s.io/requests.storage": "5Gi", "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "5",
        "slow.storageclass.storage.k8s.io/requests.storage": "5Gi", "fast.storageclass.storage.k8s.io/else": "1",
    });
    let quota = quota(hard.clone(), json!({}));
    let status = counted(&quota, weights.iter());
    assert_eq!(json!(status.hard), hard);
    assert_eq!(
        json!(status.used),
        json!({
            "pods": "2", "count/pods": "3", "cpu": "4650m", "services": "1", "services.nodeports": "2",
            "services.loadbalancers": "1", "configmaps": "1", "count/configmaps": "1", "count/jobs.batch": "0",
            "requests.storage": "3Gi", "persistentvolumeclaims": "2", "count/persistentvolumeclaims": "2",
            "fast.storageclass.storage.k8s.io/requests.storage": "1Gi",
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
            "slow.storageclass.storage.k8s.io/requests.storage": "0",
        })
    );
}

#[test]
fn a_quota_that_is_not_counted_yet_says_so() {
    let mut quota = quota(json!({"pods": "1"}), json!({}));
    if let Some(status) = &mut quota.status {
        status.used = None;
    }
    let told = charge(&mut quota, &pod(json!({}), json!({})), None);
    assert_eq!(told, Err("status unknown for quota: q, resources: pods".to_owned()));
    quota.status = None;
    assert_eq!(charge(&mut quota, &pod(json!({}), json!({})), None), Ok(false));
}

#[test]
fn claims_are_charged_by_size_and_class() {
    let fast = "fast.storageclass.storage.k8s.io/requests.storage";
    let mut quota = quota(json!({"requests.storage": "3Gi", fast: "1Gi"}), json!({}));
    assert_eq!(charge(&mut quota, &claim("2Gi", "slow", json!({})), None), Ok(true));
    let why = format!(
        "exceeded quota: q, requested: {fast}=2Gi,requests.storage=2Gi, used: {fast}=0,requests.storage=2Gi, limited: {fast}=1Gi,requests.storage=3Gi"
    );
    assert_eq!(charge(&mut quota, &claim("2Gi", "fast", json!({})), None), Err(why));
    assert_eq!(charge(&mut quota, &claim("1Gi", "fast", json!({})), None), Ok(true));
    assert_eq!(used(&quota), json!({"requests.storage": "3Gi", fast: "1Gi"}));
}

#[test]
fn what_grows_is_charged_for_the_difference() {
    let of = |cpu: &str| pod(json!({"requests": {"cpu": cpu, "memory": "1Gi"}}), json!({}));
    let mut full = quota(json!({"requests.cpu": "2", "pods": "1", "count/pods": "1"}), json!({}));
    assert_eq!(charge(&mut full, &of("1"), None), Ok(true));
    assert_eq!(charge(&mut full, &of("1500m"), Some(&of("1"))), Ok(true));
    assert_eq!(used(&full), json!({"requests.cpu": "1500m", "pods": "1", "count/pods": "1"}));
    let why = "exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=1500m, limited: requests.cpu=2";
    assert_eq!(charge(&mut full, &of("2500m"), Some(&of("1500m"))), Err(why.to_owned()));
    // What shrinks is given back by whoever counts, and what stays the same is not refused by a quota that is exceeded.
    assert_eq!(charge(&mut full, &of("1"), Some(&of("1500m"))), Ok(false));
    full.status.as_mut().unwrap().hard = Some(serde_json::from_value(json!({"requests.cpu": "1"})).unwrap());
    assert_eq!(charge(&mut full, &of("1500m"), Some(&of("1500m"))), Ok(false));
    let mut stored = quota(json!({"requests.storage": "3Gi"}), json!({}));
    let size = |size: &str| claim(size, "slow", json!({}));
    assert_eq!(charge(&mut stored, &size("1Gi"), None), Ok(true));
    let why =
        "exceeded quota: q, requested: requests.storage=3Gi, used: requests.storage=1Gi, limited: requests.storage=3Gi";
    assert_eq!(charge(&mut stored, &size("4Gi"), Some(&size("1Gi"))), Err(why.to_owned()));
}
