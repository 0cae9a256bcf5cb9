//! What a story on a real cluster is made of: a namespace of its own, `kubectl` and `tq` as a
//! user calls them, the queue in Redis, and waiting for conditions.
//!
//! It expects the chart to be installed (`make install`) and fails with the missing thing's name
//! where something is not there; nothing is skipped. A story panics where it fails, as tests do.
#![allow(clippy::panic, clippy::missing_panics_doc)]

mod account;
pub mod alone;
mod command;
mod forward;
mod story;

pub use account::Account;
pub use command::{kubectl, kubectl_fails, redis_cli, tq, try_kubectl, try_redis_cli};
pub use story::{Patience, Story, eventually};

/// Namespace of the release that `make install` makes.
pub const SYSTEM: &str = "taskqueue-system";
