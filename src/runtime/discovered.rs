//! PURE. Owns which of the devices that an engine has found it can be asked for by number. Never asks for any.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Devices;
use super::reply::lenient;

/// One of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DeviceReply {
    /// `cdi`.
    #[serde(rename = "Source", deserialize_with = "lenient")]
    source: String,
    /// `nvidia.com/gpu=0`.
    #[serde(rename = "ID", deserialize_with = "lenient")]
    id: String,
}

/// Those with a number, for what else is there names the same ones again: by a long id, or `all`.
pub(super) fn numbered(found: Vec<DeviceReply>) -> Devices {
    let mut devices: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for device in found.into_iter().filter(|device| device.source == "cdi") {
        if let Some((kind, id)) = device.id.split_once('=')
            && let Ok(number) = id.parse()
        {
            devices.entry(kind.to_owned()).or_default().insert(number);
        }
    }
    let texts = |numbers: BTreeSet<u64>| numbers.iter().map(u64::to_string).collect();
    devices.into_iter().map(|(kind, numbers)| (kind, texts(numbers))).collect()
}
