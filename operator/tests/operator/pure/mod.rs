//! Tables and properties of what decides without I/O.

mod allowed;
mod build;
mod claim;
mod conditions;
mod config;
mod containers;
mod endpoint;
mod error;
mod events;
mod fleet;
mod index;
mod invalid;
mod memory;
mod metrics;
mod rates;
mod redis_safety;
mod shrink;
mod sources;
mod status;
mod validate;
mod watch;
mod workload;
