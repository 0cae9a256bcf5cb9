//! The `TaskQueue` custom resource: spec, status, and the rules the API server checks.
//!
//! Here live types and their schema. No I/O, no client, no Redis, and no decision: what a
//! spec means for Redis, for a Deployment or for scaling is decided by the crates that use it.

// The schema derive makes private copies of the public types, which this lint then names.
#![allow(unreachable_pub)]

mod definition;
pub mod spec;
pub mod status;

pub use definition::definition;
pub use spec::{TaskQueue, TaskQueueSpec};
pub use status::TaskQueueStatus;

/// API group of the resource.
pub const GROUP: &str = "taskqueue.dev";

/// Label on every object that the operator makes: the name of the TaskQueue it belongs to.
pub const NAME_LABEL: &str = "taskqueue.dev/name";

/// Annotation of a TaskQueue: with the value `"true"` the number of worker pods does not fall.
pub const PAUSE_SCALE_IN: &str = "taskqueue.dev/pause-scale-in";

/// Annotation of a TaskQueue: with the value `"true"` the number of worker pods does not rise.
pub const PAUSE_SCALE_OUT: &str = "taskqueue.dev/pause-scale-out";
