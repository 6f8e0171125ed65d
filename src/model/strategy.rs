//! Owns what each kind does to its objects on the way in: defaults, server-set fields, validation, warnings.
//! Never reads a store or a clock: everything it needs is in the objects.
//!
//! The order for a create, as upstream's generic registry has it: `default`, identity filled in (uid, creation time,
//! namespace, generated name), `prepare_create`, `validate_create`, `warnings`. For an update: `default`,
//! `prepare_update`, `validate_update`, `warnings`.

use super::field::FieldError;
use super::object::Resource;

/// One kind's rules. Every method has the meaning of upstream's `rest.RESTCreateUpdateStrategy`.
pub trait Strategy: Resource {
    /// Whether a PUT to a name that is not there makes the object (upstream's `AllowCreateOnUpdate`).
    const CREATE_ON_UPDATE: bool = false;

    /// Whether a PUT may leave the revision out and so replace whatever is there (upstream's `AllowUnconditionalUpdate`).
    const UNCONDITIONAL_UPDATE: bool = true;

    /// Fills in the defaults of the API version (upstream's `SetDefaults_…`).
    fn default(&mut self) {}

    /// Sets what the server owns on a create: clears the status, sets the generation, generates selectors. The uid is set.
    fn prepare_create(&mut self) {}

    /// Every problem of a new object.
    fn validate_create(&self) -> Vec<FieldError>;

    /// Keeps what a main-resource update may not change (status) and bumps the generation where the spec changed.
    fn prepare_update(&mut self, _old: &Self) {}

    /// Every problem of an update, immutable fields included.
    fn validate_update(&self, old: &Self) -> Vec<FieldError>;

    /// Keeps what a status update may not change.
    fn prepare_status_update(&mut self, _old: &Self) {}

    /// Every problem of a status update.
    fn validate_status_update(&self, _old: &Self) -> Vec<FieldError> {
        Vec::new()
    }

    /// Texts of the `Warning` headers that a create or an update answers with.
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        Vec::new()
    }
}
