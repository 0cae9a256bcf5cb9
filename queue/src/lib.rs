//! A task queue on Redis: at-least-once tasks under leases, strict priorities, delays, retries with
//! backoff, dead letters, and a policy that lives beside the tasks and changes without a restart.
//!
//! Start with [`Client::connect`], take a [`Queue`] from it, and either [`Queue::enqueue`] tasks or
//! run them with a [`worker::Worker`]. Nothing here knows of Kubernetes.
//!
//! The crate's README has an example, what a user may rely on, and the layout in Redis.
//!
//! What lives where: pure files (`name`, `id`, `policy`, `retry`, `record`, `pack`, `batch`) take
//! time and chance as arguments; `keys` makes every Redis key; `scripts` owns every Lua script;
//! `link` owns the connection.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )
)]

mod announce;
mod batch;
mod client;
mod clock;
mod config;
mod diagnose;
mod endpoint;
mod error;
mod fault;
#[cfg(test)]
mod fuzz;
mod id;
mod keys;
mod lease;
mod letters;
mod link;
mod maintain;
#[cfg(test)]
mod model;
mod name;
mod pack;
mod payload;
mod policy;
mod produce;
mod queue;
mod record;
mod reply;
pub mod retry;
mod script;
mod snapshot;
mod task;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod worker;

pub use announce::{Announcement, Announcements};
pub use client::Client;
pub use config::Configured;
pub use endpoint::Endpoint;
pub use error::Error;
pub use id::{TaskId, WorkerId};
pub use letters::{Page, Selection};
pub use maintain::Reclaimed;
pub use name::QueueName;
pub use payload::{MAX_PAYLOAD_BYTES, Payload};
pub use policy::{Backoff, BackoffKind, Policy, RetryPolicy, Versioned};
pub use queue::Queue;
pub use snapshot::{Counters, Snapshot};
pub use task::{Cause, Failure, NewTask, State, Task};

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
