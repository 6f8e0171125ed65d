//! Interim strategies: accept everything (replaced before the first release).
use super::field::FieldError;
use super::strategy::Strategy;
macro_rules! accept { ($($t:ty),*) => { $(impl Strategy for $t {
    fn validate_create(&self) -> Vec<FieldError> { Vec::new() }
    fn validate_update(&self, _: &Self) -> Vec<FieldError> { Vec::new() }
})* } }
accept!(
    k8s_openapi::api::core::v1::ConfigMap,
    k8s_openapi::api::core::v1::Event,
    k8s_openapi::api::core::v1::Namespace,
    k8s_openapi::api::core::v1::Node,
    k8s_openapi::api::core::v1::Pod,
    k8s_openapi::api::core::v1::Secret,
    k8s_openapi::api::batch::v1::CronJob,
    k8s_openapi::api::batch::v1::Job,
    k8s_openapi::api::coordination::v1::Lease
);
