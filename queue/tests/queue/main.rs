//! The engine beside real servers: one program, so that it is linked once and its tests, which mostly wait, run side by
//! side.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking, and some print what they counted"
)]

mod acl;
mod amend;
mod apart;
mod attempts;
mod away;
mod bad_input;
mod batches;
mod cancel;
mod clear;
mod clock;
mod commands;
mod crashes;
mod dead_letters;
mod draining;
mod error_groups;
mod expiry;
mod failover;
mod failure;
mod faults;
mod full;
mod gather;
mod handshake;
mod hostile;
mod idempotency;
mod kinds;
mod limits;
mod listing;
mod listing_under_load;
mod live;
mod log_of_ends;
mod lost_workers;
mod missing;
mod notes;
mod order;
mod policy;
mod priorities;
mod producing_and_consuming;
mod redirected;
mod released;
mod retention;
mod retries;
mod schedules;
mod servers;
mod shelves;
mod size;
mod stranded;
mod strangers;
mod testbed;
mod tls;
mod troubles;
mod typed;
mod types;
mod unique;
mod waking;
