//! Owns how instants become API times. Never reads a clock: `now` is always handed in.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// An instant as objects carry it: whole seconds, so that what is compared before storing and after is the same.
pub fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).expect("the seconds of a timestamp are a timestamp"))
}
