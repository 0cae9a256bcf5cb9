//! The `TaskQueue` custom resource: spec, status, and the rules the API server checks.
//!
//! Here live types and their schema. No I/O, no client, no Redis, and no decision: what a
//! spec means for Redis or for a Deployment is decided by the crates that use it. What it means for
//! scaling is told by `scaling`, behind the feature of that name, since several crates ask; and
//! `manifest`, behind another one, reads manifests as the API server would.

// The schema derive makes private copies of the public types, which this lint then names.
#![allow(unreachable_pub)]

mod definition;
#[cfg(feature = "manifest")]
pub mod manifest;
#[cfg(feature = "scaling")]
pub mod scaling;
pub mod spec;
pub mod status;

pub use definition::definition;
pub use spec::{TaskQueue, TaskQueueSpec};
pub use status::TaskQueueStatus;

/// API group of the resource.
pub const GROUP: &str = "taskqueue.dev";

/// Label on every object that the operator makes: the name of the TaskQueue it belongs to.
pub const NAME_LABEL: &str = "taskqueue.dev/name";

/// Name of the container that the operator adds to a pod where the worker runs in one of its own.
pub const WORKER_CONTAINER: &str = "taskqueue-worker";

/// Annotation of every worker pod: the name of the container that the worker runs in. Where it stands
/// among the others says nothing, since admission may put containers in front of it.
pub const WORKER_CONTAINER_ANNOTATION: &str = "taskqueue.dev/worker-container";
