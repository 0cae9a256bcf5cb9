//! The worker: takes tasks from one queue, has a handler run them, and goes away without losing any.
//!
//! [`config`] is what a worker is told (the operator renders it); [`run`](run::run) is its life. What runs a task is in
//! [`exec`] and [`native`], what it says of itself in [`health`] and [`metrics`]. Leases, acks, retries and drains
//! belong to `taskqueue_queue::worker`; nothing here speaks to Redis.

pub mod config;
pub mod exec;
pub mod health;
pub mod install;
pub mod logs;
pub mod metrics;
pub mod native;
pub mod run;
pub mod signals;

pub use config::{ConfigError, HandlerConfig, WorkerConfig};
