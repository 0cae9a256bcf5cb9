//! The worker: takes tasks from one queue, has a handler run them, and goes away without losing any.
//!
//! [`config`] is what a worker is told (the operator renders it); [`run`](run::run) is its life. What runs a task is in
//! [`exec`], [`stdio`], [`http`] and [`native`], what a handler can say meanwhile in [`control`], what the worker says of
//! itself in [`health`] and [`metrics`]. Leases, acks, retries and drains
//! belong to `taskqueue_queue::worker`; nothing here speaks to Redis.

#![warn(
    clippy::print_stderr,
    reason = "it panics where nobody reads standard error"
)]

mod answers;
pub mod config;
pub mod control;
pub mod exec;
pub mod fault;
mod handler;
pub mod health;
pub mod http;
pub mod install;
pub mod logs;
pub mod metrics;
pub mod native;
mod output;
mod pending;
mod process;
pub mod run;
mod safety;
pub mod signals;
pub mod stdio;
pub mod termination;
mod trace;
mod wait;

pub use config::{ConfigError, HandlerConfig, WorkerConfig};
pub use process::ProgramError;
