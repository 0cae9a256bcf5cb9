//! The operator's tests below the cluster, a module a rung: `pure` (tables and properties), `mock`
//! (against a mock API server), `redis` (the autoscaler with a real Redis as well). One program,
//! since linking takes longer than all of them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod fixtures;
mod flood;
mod log;
mod mock;
mod probes;
mod pure;
mod redis;
