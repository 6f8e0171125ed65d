//! Owns the OpenAPI documents: which there are, at which addresses, made once and kept. Never writes one by hand:
//! `types` and `operations` say what there is, `v2` and `v3` write it down in their version's form.
//!
//! ```text
//!  table of kinds --+-> operations --+-> v2: one document, /openapi/v2, also in protobuf (gnostic)
//!  schemas, Go's ---+-> types -------+-> v3: one document per group version, /openapi/v3/apis/batch/v1
//!  struct tags
//! ```

mod gnostic;
mod operations;
mod types;
mod v2;
mod v3;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::discovery;

/// A document, and the hash by which clients may keep it for good.
pub struct Document {
    /// JSON.
    pub json: Bytes,
    /// Hexadecimal SHA-256 of it.
    pub hash: String,
}

impl Document {
    fn of(value: &Value) -> Self {
        let json = Bytes::from(value.to_string());
        let hash = Sha256::digest(&json).iter().map(|byte| format!("{byte:02X}")).collect();
        Self { json, hash }
    }
}

/// The one document of OpenAPI 2.
pub fn v2() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::of(&v2::document()))
}

/// [`v2()`] as `openapi.v2.Document` in protobuf. Parity: it has the hash of the JSON.
pub fn v2_protobuf() -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    DOCUMENT.get_or_init(|| Bytes::from(gnostic::encode(&v2::document()))).clone()
}

/// The document of OpenAPI 3 for a path such as `apis/batch/v1`.
pub fn v3(path: &str) -> Option<&'static Document> {
    documents().get(path)
}

/// The list of the documents of OpenAPI 3.
pub fn index() -> Value {
    let paths: serde_json::Map<String, Value> = documents()
        .iter()
        .map(|(path, document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            (path.clone(), json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

fn documents() -> &'static BTreeMap<String, Document> {
    static DOCUMENTS: OnceLock<BTreeMap<String, Document>> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        let versions = discovery::versions().into_iter();
        versions
            .map(|(group, version)| {
                let path = operations::root(group, version);
                (path, Document::of(&v3::document(group, version)))
            })
            .collect()
    })
}

/// `info` of every document.
fn info() -> Value {
    json!({"title": "Kubernetes", "version": super::health::version()["gitVersion"]})
}
