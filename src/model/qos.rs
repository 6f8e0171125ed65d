//! Owns a pod's quality-of-service class. Never sets a limit.
//!
//! Parity: `ComputePodQOS` of `pkg/apis/core/v1/helper/qos`: only CPU and memory count.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::quantity::Quantity;

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn class(spec: &PodSpec) -> &'static str {
    if let Some(pod) = &spec.resources
        && (pod.requests.is_some() || pod.limits.is_some())
    {
        return of([(pod.requests.as_ref(), pod.limits.as_ref())].into_iter());
    }
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    of(containers.map(|container| {
        let resources = container.resources.as_ref();
        (
            resources.and_then(|resources| resources.requests.as_ref()),
            resources.and_then(|resources| resources.limits.as_ref()),
        )
    }))
}

type List<'a> = Option<&'a BTreeMap<String, Text>>;

fn of<'a>(resources: impl Iterator<Item = (List<'a>, List<'a>)>) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    for (requests, limits) in resources {
        for name in COUNTED {
            let (request, limit) = (some(requests, name), some(limits, name));
            any |= request.is_some() || limit.is_some();
            guaranteed &= match (request, limit) {
                // A request that is not given is its limit.
                (None, Some(_)) => true,
                (Some(request), Some(limit)) => request.compare(&limit).is_eq(),
                (_, None) => false,
            };
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// How much a list says, where that is more than nothing.
fn some(list: List<'_>, name: &str) -> Option<Quantity> {
    let amount = Quantity::parse(&list?.get(name)?.0).ok()?;
    (!amount.is_zero() && !amount.is_negative()).then_some(amount)
}
