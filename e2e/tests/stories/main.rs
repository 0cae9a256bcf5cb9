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
#[allow(
    dead_code,
    reason = "what holds of the chart's defaults alone is asked beside an API server alone"
)]
#[path = "../rights/mod.rs"]
mod requests;
mod retries;
mod rights;
mod scale_in;
mod scaling;
mod secrets;
mod sources;
mod workload;
