//! PURE. Owns what the node tells of the engine's images. Never asks the engine for them.
//!
//! Parity: `nodestatus.Images` of the kubelet, and its `nodeStatusMaxImages`.

use std::cmp::Reverse;

use k8s_openapi::api::core::v1::ContainerImage;

use crate::runtime::ImageLine;

/// Images that are told, the largest: the Node is an object that everybody reads.
const MAX_IMAGES: usize = 50;
/// Names of one image that are told.
const MAX_NAMES: usize = 5;

/// The node's images, largest first. One without any name is nobody's to ask for.
pub fn told(images: &[ImageLine]) -> Vec<ContainerImage> {
    let mut named: Vec<&ImageLine> =
        images.iter().filter(|image| !image.digests.is_empty() || !image.tags.is_empty()).collect();
    named.sort_by_key(|image| (Reverse(image.bytes), &image.id));
    let told = named.into_iter().take(MAX_IMAGES).map(|image| ContainerImage {
        names: Some(image.digests.iter().chain(&image.tags).take(MAX_NAMES).cloned().collect()),
        size_bytes: i64::try_from(image.bytes).ok(),
    });
    told.collect()
}
