//! PURE. Owns how much of each resource a pod asks for, and the arithmetic on such amounts.
//! Never knows what a node has: `fit` compares.
//!
//! Parity: `PodRequests` of component-helpers' `resource` package.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::model::quantity;
use crate::model::validation::resources::HUGE_PAGES;

/// The resource that is counted in thousandths; all others are counted in whole units.
const CPU: &str = "cpu";
/// Resources that a pod may ask for as a whole, huge pages beside them. Parity: `supportedPodLevelResources`.
const POD_LEVEL: [&str; 2] = [CPU, "memory"];

/// Amounts by resource: thousandths of a core, bytes, pieces. A resource that is not there is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand(BTreeMap<String, i64>);

impl Demand {
    /// The amounts of a resource list; what is malformed counts as 0, for validation has refused it.
    pub fn of(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        Self(list.into_iter().flatten().map(|(name, quantity)| (name.clone(), amount(name, quantity))).collect())
    }

    /// What a pod asks for: its containers side by side, or the largest step of its init containers with the sidecars
    /// that run by then, whichever is more; what it asks for as a whole instead; its overhead on top.
    pub fn of_pod(spec: &PodSpec) -> Self {
        let mut all = Self::default();
        spec.containers.iter().for_each(|container| all.add(&of_container(container)));
        let (mut sidecars, mut most) = (Self::default(), Self::default());
        for container in spec.init_containers.iter().flatten() {
            let mut step = of_container(container);
            if container.restart_policy.as_deref() == Some("Always") {
                all.add(&step);
                sidecars.add(&step);
                step = sidecars.clone();
            } else {
                step.add(&sidecars);
            }
            most.raise(&step);
        }
        all.raise(&most);
        let whole = Self::of(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
        let whole = whole.0.into_iter().filter(|(name, _)| of_whole_pods(name));
        all.0.extend(whole);
        all.add(&Self::of(spec.overhead.as_ref()));
        all
    }

    /// How much of a resource.
    pub fn get(&self, resource: &str) -> i64 {
        self.0.get(resource).copied().unwrap_or(0)
    }

    /// Whether the resource is named at all.
    pub fn names(&self, resource: &str) -> bool {
        self.0.contains_key(resource)
    }

    /// The resources of which there is something, with how much.
    pub fn some(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().filter(|(_, amount)| **amount > 0).map(|(name, amount)| (name.as_str(), *amount))
    }

    /// The part of it that is of resources for which `keep` holds.
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| keep(name)).map(|(name, amount)| (name.clone(), *amount)).collect())
    }

    /// Adds the other's amounts.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Takes the other's amounts away again.
    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let rest = self.0.entry(name.clone()).or_default();
            *rest = rest.saturating_sub(*amount);
        }
    }

    /// At least the other's amounts.
    pub fn raise(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let most = self.0.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }
}

fn of_whole_pods(resource: &str) -> bool {
    POD_LEVEL.contains(&resource) || resource.starts_with(HUGE_PAGES)
}

fn of_container(container: &Container) -> Demand {
    Demand::of(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

fn amount(resource: &str, quantity: &Quantity) -> i64 {
    let Ok(quantity) = quantity::Quantity::parse(&quantity.0) else { return 0 };
    if resource == CPU { quantity.milli() } else { quantity.units() }
}
