//! What users do and what happens to them, on a real cluster with real pods.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod breakdowns;
mod conflict;
mod contention;
mod demands;
mod faults;
mod handlers;
mod injected;
mod install;
mod manifests;
mod pods;
mod policy;
mod removal;
mod retries;
mod scale_in;
mod scaling;
mod secrets;
mod sources;
mod workload;
