//! Owns the defaults of Secrets. Never keeps anything secret: that is the face's and the store's.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::set_text;

/// `SetDefaults_Secret`; `stringData` becomes part of `data`, as upstream's conversion has it.
pub fn secret(secret: &mut Secret) {
    set_text(&mut secret.type_, "Opaque");
    let Some(texts) = secret.string_data.take() else { return };
    let data = secret.data.get_or_insert_default();
    data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
}
