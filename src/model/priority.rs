//! Owns what a pod's PriorityClass makes of its priority, and the two classes that every cluster has.
//! Never orders pods: the scheduler does.
//!
//! Parity: the Priority admission plugin and its texts; `SystemPriorityClasses`.

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Lesser pods make room for it: what is so where nobody says otherwise.
pub const PREEMPT_LOWER: &str = "PreemptLowerPriority";
/// Highest value of a class that is not the system's.
pub const HIGHEST_USER: i32 = 1_000_000_000;
/// Start of the names of the system's classes.
pub const SYSTEM_PREFIX: &str = "system-";
/// The system's classes: name, value, description.
const SYSTEM: [(&str, i32, &str); 2] = [
    (
        "system-cluster-critical",
        2 * HIGHEST_USER,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2 * HIGHEST_USER + 1000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// Whether this is the name of one of the system's classes.
pub fn is_system(name: &str) -> bool {
    SYSTEM.iter().any(|(system, ..)| *system == name)
}

/// The system's classes.
pub fn system_classes() -> impl Iterator<Item = PriorityClass> {
    SYSTEM.into_iter().map(|(name, value, description)| PriorityClass {
        metadata: ObjectMeta { name: Some(name.to_owned()), generation: Some(1), ..ObjectMeta::default() },
        value: Some(value),
        description: Some(description.to_owned()),
        preemption_policy: Some(PREEMPT_LOWER.to_owned()),
        ..PriorityClass::default()
    })
}

/// Why a class with a name of the system's is not one of the system's; none where it is.
pub fn not_the_systems(class: &PriorityClass) -> Option<String> {
    let name = class.metadata.name.as_deref().unwrap_or_default();
    match SYSTEM.iter().find(|(known, ..)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, value, _)) if Some(*value) != class.value => {
            Some(format!("value of {name} PriorityClass must be {value}"))
        }
        Some(_) if class.global_default == Some(true) => {
            Some(format!("globalDefault of {name} PriorityClass must be false"))
        }
        Some(_) => None,
    }
}

/// The class of pods that name none: of several the least.
pub fn default_class(classes: &[PriorityClass]) -> Option<&PriorityClass> {
    classes.iter().filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value.unwrap_or(0))
}

/// Gives a new pod the priority of its class, among these. The error says why it may not be made.
pub fn assign(spec: &mut PodSpec, classes: &[PriorityClass]) -> Result<(), String> {
    let named = spec.priority_class_name.as_deref().filter(|name| !name.is_empty());
    let class = match named {
        None => default_class(classes),
        Some(name) => {
            let found = classes.iter().find(|class| class.metadata.name.as_deref() == Some(name));
            Some(found.ok_or_else(|| format!("no PriorityClass with name {name} was found"))?)
        }
    };
    let value = class.map_or(0, |class| class.value.unwrap_or(0));
    let policy = class.map_or(Some(PREEMPT_LOWER), |class| class.preemption_policy.as_deref());
    let computed = "must not be provided in pod spec; priority admission controller computed";
    let end = "from the given PriorityClass name";
    if let Some(given) = spec.priority.filter(|given| *given != value) {
        return Err(format!("the integer value of priority ({given}) {computed} {value} {end}"));
    }
    if let (Some(policy), Some(given)) = (policy, &spec.preemption_policy)
        && given != policy
    {
        return Err(format!("the string value of PreemptionPolicy ({given}) {computed} {policy} {end}"));
    }
    if let Some(class) = class {
        spec.priority_class_name.clone_from(&class.metadata.name);
    }
    spec.priority = Some(value);
    if let Some(policy) = policy {
        spec.preemption_policy = Some(policy.to_owned());
    }
    Ok(())
}
