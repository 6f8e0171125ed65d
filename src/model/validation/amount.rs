//! Owns how rules read a quantity that an object holds.
//! Never reads text itself: `model::quantity` does.

use std::cmp::Ordering;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::model::quantity::Quantity;

/// The quantity's worth. A text that is none counts as 0: the decoder refuses those.
pub fn of(text: &Text) -> Quantity {
    Quantity::parse(&text.0).unwrap_or_else(|_| Quantity::from_units(0))
}

/// Whether it is below zero.
pub fn is_negative(text: &Text) -> bool {
    of(text).is_negative()
}

/// Order by worth.
pub fn compare(one: &Text, other: &Text) -> Ordering {
    of(one).compare(&of(other))
}

/// Whether it is a whole number of units, looked at in thousandths as upstream does.
pub fn is_whole(text: &Text) -> bool {
    of(text).counts_as_whole()
}
