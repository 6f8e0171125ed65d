//! Owns the strategy of PodTemplates. Never makes a pod of one: clients do.
//!
//! Parity: core's `ValidatePodTemplate` and the registry's strategy at 1.32.

use k8s_openapi::api::core::v1::PodTemplate;

use super::super::field::{Errors, FieldError, Path};
use super::super::strategy::Strategy;
use super::super::validation::{metadata, pod_spec};
use super::super::{defaults, warnings};
use super::{created, updated};

impl Strategy for PodTemplate {
    fn default(&mut self) {
        defaults::pod_template_spec(self.template.get_or_insert_default());
    }

    fn prepare_create(&mut self) {
        let spec = self.template.get_or_insert_default().spec.get_or_insert_default();
        defaults::disabled::drop_from_template(spec, None);
        self.metadata.generation = Some(1);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        let mut errors = Errors::new();
        metadata::create(&mut errors, &self.metadata, true, metadata::subdomain_name);
        template(&mut errors, self);
        created(self, errors.into_vec())
    }

    fn prepare_update(&mut self, old: &Self) {
        let before = old.template.as_ref().and_then(|template| template.spec.as_ref());
        if let Some(spec) = self.template.as_mut().and_then(|template| template.spec.as_mut()) {
            defaults::disabled::drop_from_template(spec, before);
        }
        self.metadata.generation = old.metadata.generation;
        if self.template != old.template {
            self.metadata.generation = Some(old.metadata.generation.unwrap_or(0) + 1);
        }
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        let mut errors = Errors::new();
        metadata::update(&mut errors, &self.metadata, &old.metadata);
        template(&mut errors, self);
        updated(self, old, errors.into_vec())
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        match old {
            Some(old) if old.metadata.generation == self.metadata.generation => Vec::new(),
            Some(_) | None => self.template.as_ref().map(warnings::pod_template).unwrap_or_default(),
        }
    }
}

fn template(errors: &mut Errors, object: &PodTemplate) {
    if let Some(template) = &object.template {
        pod_spec::template(errors, template, &Path::new("template"));
    }
}
