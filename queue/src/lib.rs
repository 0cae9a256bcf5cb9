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
//! `link` chooses the server that a call goes to, `line` owns its connection; `sentinel` and
//! `cluster` find servers, `reach` connects and `dial` makes a stream of it, `bounded` keeps its answers
//! within [`Bounds`], `fault` says what a failure means. [`server`] tells
//! which settings of a server break a promise.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )
)]

mod amend;
mod announce;
mod attempt;
mod batch;
mod bounded;
mod bounds;
mod busy_poll;
mod cancel;
mod clear;
mod client;
mod clock;
mod cluster;
mod commands;
mod config;
mod cron;
mod diagnose;
mod dial;
mod endpoint;
mod ends;
mod erase;
mod error;
mod fault;
mod fingerprint;
#[cfg(test)]
mod fuzz;
mod groups;
#[cfg(test)]
mod growth;
mod id;
mod keys;
mod last_words;
mod lease;
mod letters;
mod line;
mod link;
mod listing;
mod live;
mod logs;
mod loss;
mod maintain;
mod migrate;
#[cfg(test)]
mod migration;
#[cfg(test)]
mod model;
mod name;
mod pack;
mod payload;
mod permits;
mod policy;
mod produce;
mod question;
mod queue;
mod reach;
mod reclaim;
mod record;
mod reply;
mod resp;
pub mod retry;
mod rights;
mod runs;
mod schedules;
mod script;
mod sentinel;
pub mod server;
mod shared;
mod slots;
mod snapshot;
mod stranded;
mod task;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tls;
mod value;
pub mod worker;
mod workers;

pub use amend::{Amended, Edit};
pub use announce::{Announcement, Announcements};
pub use attempt::{Attempt, AttemptOutcome};
pub use bounds::{Bounds, Rule};
pub use cancel::Cancelled;
pub use clear::Pending;
pub use client::Client;
pub use commands::BlockingLine;
pub use config::Configured;
pub use endpoint::Endpoint;
pub use ends::{EndsBatch, EndsReader, Happened, LoggedEnd, ReplicaChange};
pub use erase::Erased;
pub use error::Error;
pub use fingerprint::{Fingerprint, fingerprint, normalized};
pub use groups::{ErrorGroup, ErrorGroups};
pub use id::{TaskId, WorkerId};
pub use letters::{Outdone, Redriven, Selection};
pub use listing::{Cursor, Filter, Listed, Moment, Page, PayloadIs, Stage};
pub use live::{Listener, LiveBatch, LiveEvent, LiveId, LiveKind, Replicas};
pub use maintain::{MAINTENANCE_PERIOD, Tidied};
pub use name::QueueName;
pub use payload::{MAX_PAYLOAD_BYTES, Payload};
pub use permits::Lacking;
pub use policy::{
    Backoff, BackoffKind, EventLog, Limits, Logged, Missed, Order, Policy, Rate, RetryAction,
    RetryPolicy, RetryRule, Schedule, TypePolicy, TypeRetry, Versioned,
};
pub use produce::{MAX_BATCH_BYTES, MAX_BATCH_TASKS};
pub use queue::Queue;
pub use reclaim::Reclaimed;
pub use record::{Overrides, OwnBackoff};
pub use schedules::ScheduleState;
pub use snapshot::{Counters, Snapshot};
pub use task::{Cause, Enqueued, Failure, NewTask, State, Task};
pub use workers::WorkerState;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
