//! Owns the [`Strategy`] of Services, Endpoints and EndpointSlices. Never holds a rule itself.

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{created, updated};
use crate::model::field::FieldError;
use crate::model::strategy::Strategy;
use crate::model::validation::{endpoints, service};
use crate::model::{defaults, service as meaning};

/// Since 1.33 every write of Endpoints is warned about.
const ENDPOINTS_DEPRECATED: &str = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";

impl Strategy for Service {
    const CREATE_ON_UPDATE: bool = true;

    fn default(&mut self) {
        defaults::service(self);
    }

    fn prepare_create(&mut self) {
        defaults::service::prepare_create(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, service::create(self))
    }

    fn prepare_update(&mut self, old: &Self) {
        defaults::service::prepare_update(self, old);
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, service::update(self, old))
    }

    fn prepare_status_update(&mut self, old: &Self) {
        defaults::service::prepare_status_update(self, old);
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, Vec::new())
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let told = old.and_then(meaning::warning);
        meaning::warning(self).filter(|text| told.as_ref() != Some(text)).into_iter().collect()
    }
}

impl Strategy for Endpoints {
    const CREATE_ON_UPDATE: bool = true;

    fn default(&mut self) {
        defaults::endpoints(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, endpoints::endpoints(self))
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, endpoints::endpoints_update(self, old))
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        vec![ENDPOINTS_DEPRECATED.to_owned()]
    }
}

impl Strategy for EndpointSlice {
    fn default(&mut self) {
        defaults::endpoint_slice(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, endpoints::slice(self))
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, endpoints::slice_update(self, old))
    }
}
