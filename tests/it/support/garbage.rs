//! Texts that are nearly right, and bytes that were never one.

use proptest::prelude::*;

/// One of the texts with some changes, or any bytes.
pub fn near(texts: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize, ".{0,4}"), 0..5);
    let nearly = (prop::sample::select(texts), changes).prop_map(|(mut bytes, changes)| {
        for (at, removed, put) in changes {
            let start = at.index(bytes.len() + 1);
            let end = bytes.len().min(start + removed);
            bytes.splice(start..end, put.bytes());
        }
        bytes
    });
    prop_oneof![4 => nearly, 1 => prop::collection::vec(any::<u8>(), 0..300)]
}
