//! The operator: keeps a Deployment of workers for each TaskQueue and scales it on what the
//! queue in Redis needs.
//!
//! Data flows one way: the [`reconcile`] turns resources into orders, the [`autoscaler`] carries
//! them out and reports what it saw, the [`status`] writer tells both. They share nothing but the
//! [`index`].

pub mod allowed;
pub mod autoscaler;
pub mod config;
pub mod crd;
pub mod dialing;
pub mod endpoint;
pub mod events;
pub mod fleet;
pub mod http;
pub mod index;
pub mod key;
pub mod leader;
pub mod metrics;
mod pace;
pub mod rates;
pub mod reconcile;
mod rights;
pub mod run;
pub mod secrets;
pub mod server;
pub mod status;
pub mod targets;
pub mod turns;
pub mod watch;
pub mod workload;
