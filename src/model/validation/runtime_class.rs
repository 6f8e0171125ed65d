//! Owns the rules of RuntimeClasses.
//!
//! Parity: `ValidateRuntimeClass` and its update of the node group.

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};

use super::{labels, metadata, names, resources, scheduling, text};
use crate::model::field::{Errors, FieldError, GoValue, Path, quote};

/// Every problem of a new class.
pub fn create(class: &RuntimeClass) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &class.metadata, false, metadata::subdomain_name);
    errors.invalid_each(&Path::new("handler"), &class.handler, names::dns_label(&class.handler));
    if let Some(overhead) = &class.overhead {
        let fixed = overhead.pod_fixed.clone().unwrap_or_default();
        resources::overhead(&mut errors, &fixed, &Path::new("overhead"));
    }
    if let Some(wanted) = &class.scheduling {
        placed(&mut errors, wanted, &Path::new("scheduling"));
    }
    errors.into_vec()
}

fn placed(errors: &mut Errors, wanted: &Scheduling, path: &Path<'_>) {
    if let Some(selector) = &wanted.node_selector {
        labels::labels(errors, Some(selector), &path.child("nodeSelector"));
    }
    let tolerations = wanted.tolerations.as_deref().unwrap_or_default();
    let path = path.child("tolerations");
    scheduling::tolerations(errors, tolerations, &path);
    for (index, toleration) in tolerations.iter().enumerate() {
        if tolerations[..index].contains(toleration) {
            errors.duplicate(&path.index(index), toleration);
        }
    }
}

/// As Go dumps the struct.
impl GoValue for Toleration {
    fn go(&self, out: &mut String) {
        let seconds = if self.toleration_seconds.is_some() { "(*int64)(0xc000000000)" } else { "(*int64)(nil)" };
        out.push_str(&format!(
            "core.Toleration{{Key:{}, Operator:{}, Value:{}, Effect:{}, TolerationSeconds:{seconds}}}",
            quote(text(&self.key)),
            quote(text(&self.operator)),
            quote(text(&self.value)),
            quote(text(&self.effect)),
        ));
    }
}

/// Every problem of an update.
pub fn update(new: &RuntimeClass, old: &RuntimeClass) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    errors.immutable(&Path::new("handler"), &new.handler, &old.handler, &new.handler);
    errors.into_vec()
}
