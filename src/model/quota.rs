//! Owns what ResourceQuotas mean: whether one lets a new object in, what it is charged, what stands against it in all.
//! Never reads what there is: that comes in as [`Weight`]s.
//!
//! Parity: `CheckRequest` of upstream's ResourceQuota admission plugin and `CalculateUsage` of its quota package.

mod weight;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

pub use self::weight::{Amounts, Weight, is_counted};
use super::admit::Part;
use super::kind::Kind;
use super::object::Object;
use super::quantity::Quantity;

/// Amounts as objects hold them.
type Texts = BTreeMap<String, Text>;

/// Charges a quota for a new object, or for what an object takes more than it did `before`; whether the quota changed. The
/// error is why the object may not be so, in upstream's words.
pub fn charge(quota: &mut ResourceQuota, object: &Object, before: Option<&Object>) -> Result<bool, String> {
    let Some(weight) = Weight::of(object) else { return Ok(false) };
    let name = quota.metadata.name.clone().unwrap_or_default();
    let status = quota.status.clone().unwrap_or_default();
    let hard = status.hard.unwrap_or_default();
    // Parity: what is enforced is what the controller has taken over from the spec and counted.
    let measured: Vec<&str> = hard.keys().map(String::as_str).filter(|resource| weight.measures(resource)).collect();
    if measured.is_empty() || !weight.is_within(quota) {
        return Ok(false);
    }
    let lacking = object.typed::<Pod>().map(|pod| weight::lacking(pod, &measured)).unwrap_or_default();
    if !lacking.is_empty() {
        return Err(format!("failed quota: {name}: must specify {}", lacking.join("; ")));
    }
    let used = status.used.unwrap_or_default();
    if measured.iter().any(|resource| !used.contains_key(*resource)) {
        return Err(format!("status unknown for quota: {name}, resources: {}", measured.join(",")));
    }
    let mut requested: Amounts = weight.amounts.into_iter().filter(|(name, _)| hard.contains_key(name)).collect();
    if let Some(before) = before.and_then(Weight::of) {
        requested = weight::growth(&requested, &before.amounts);
    }
    if requested.is_empty() {
        return Ok(false);
    }
    if let Some(negative) = requested.iter().find(|(_, amount)| amount.is_negative()) {
        return Err(format!("quota usage is negative for resource(s): {}", negative.0));
    }
    let mut sums = read(&used);
    weight::add(&mut sums, &requested);
    let limits = read(&hard);
    let exceeded: Vec<&str> = requested
        .iter()
        .filter(|(name, amount)| !amount.is_zero() && sums[*name].compare(&limits[*name]).is_gt())
        .map(|(name, _)| name.as_str())
        .collect();
    if !exceeded.is_empty() {
        let of = |amounts: &Amounts| shown(amounts, &exceeded);
        let (asked, stands, most) = (of(&requested), of(&read(&used)), of(&limits));
        return Err(format!("exceeded quota: {name}, requested: {asked}, used: {stands}, limited: {most}"));
    }
    let after = written(&sums);
    let is_changed = after != used;
    quota.status = Some(ResourceQuotaStatus { hard: Some(hard), used: Some(after) });
    Ok(is_changed)
}

/// Whether quotas are asked again when an object of this kind changes. Parity: `Handles` of upstream's evaluators.
pub fn holds_changes_of(kind: &Kind, part: Part) -> bool {
    match part {
        Part::Main => [Kind::of::<PersistentVolumeClaim>(), Kind::of::<Service>()].contains(&kind),
        Part::Resize => true,
        Part::Status | Part::Finalizers => false,
    }
}

/// The status of a quota, given everything that stands in its namespace.
pub fn counted<'a>(quota: &ResourceQuota, weights: impl Iterator<Item = &'a Weight>) -> ResourceQuotaStatus {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    let mut sums: Amounts = hard.keys().filter(|name| is_counted(name)).map(|name| (name.clone(), zero())).collect();
    for weight in weights.filter(|weight| weight.is_within(quota)) {
        let relevant = weight.amounts.iter().filter(|(name, _)| hard.contains_key(*name));
        weight::add(&mut sums, &relevant.map(|(name, amount)| (name.clone(), amount.clone())).collect());
    }
    ResourceQuotaStatus {
        hard: Some(hard).filter(|hard| !hard.is_empty()),
        used: Some(written(&sums)).filter(|used| !used.is_empty()),
    }
}

fn zero() -> Quantity {
    Quantity::from_units(0)
}

fn read(texts: &Texts) -> Amounts {
    texts.iter().map(|(name, text)| (name.clone(), Quantity::parse(&text.0).unwrap_or_else(|_| zero()))).collect()
}

fn written(amounts: &Amounts) -> Texts {
    amounts.iter().map(|(name, amount)| (name.clone(), Text(amount.canonical()))).collect()
}

/// As messages tell amounts: `cpu=1,pods=2`.
fn shown(amounts: &Amounts, names: &[&str]) -> String {
    let parts = amounts.iter().filter(|(name, _)| names.contains(&name.as_str()));
    parts.map(|(name, amount)| format!("{name}={}", amount.canonical())).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[path = "quota/tests.rs"]
mod tests;
