//! Step 5: what the user is told. Built by a pure function, written by one writer.

pub mod build;
mod condition;
mod decision;
mod order;
mod redis;
mod source;
mod write;

pub use write::Writer;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A time as it will be read again: the API knows whole seconds. A finer one would make what was
/// written differ for ever from what the cache holds.
fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}
