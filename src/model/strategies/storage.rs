//! Owns the strategies of PersistentVolumeClaims, PersistentVolumes and StorageClasses.
//! Never holds a rule: those stand in `defaults` and `validation`.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use super::{created, updated};
use crate::model::defaults::storage;
use crate::model::field::FieldError;
use crate::model::strategy::Strategy;
use crate::model::validation::{persistent_volume, storage_class, volume_claim};

impl Strategy for PersistentVolumeClaim {
    fn default(&mut self) {
        storage::claim(self);
    }

    fn prepare_create(&mut self) {
        storage::prepare_claim(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, volume_claim::create(self))
    }

    fn prepare_update(&mut self, old: &Self) {
        storage::update_claim(self, old);
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, volume_claim::update(self, old))
    }

    fn prepare_status_update(&mut self, old: &Self) {
        storage::update_claim_status(self, old);
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, volume_claim::update_status(self, old))
    }
}

impl Strategy for PersistentVolume {
    fn default(&mut self) {
        storage::volume(self);
    }

    fn prepare_create(&mut self) {
        storage::prepare_volume(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, persistent_volume::create(self))
    }

    fn prepare_update(&mut self, old: &Self) {
        storage::update_volume(self, old);
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, persistent_volume::update(self, old))
    }

    fn prepare_status_update(&mut self, old: &Self) {
        storage::update_volume_status(self, old);
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, persistent_volume::update_status(self, old))
    }
}

impl Strategy for StorageClass {
    fn default(&mut self) {
        storage::class(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, storage_class::create(self))
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, storage_class::update(self, old))
    }
}
