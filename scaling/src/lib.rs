//! How many workers a queue needs.
//!
//! One pure function, [`decide`]: no Kubernetes, no Redis, no clock, no async. Whoever calls it
//! brings the demand, the fleet, the history and the time, and carries the decision out.
//! [`simulate`] plays a recorded demand through it.

mod bounds;
mod decide;
mod decision;
mod demand;
mod down;
mod estimator;
mod explain;
mod fleet;
mod history;
mod pace;
mod policy;
mod simulate;
mod up;
mod want;
mod windows;

pub use decide::decide;
pub use decision::{Clamp, Decision, Input, Limit, Reason};
pub use demand::{Caps, Demand, Flow};
pub use estimator::Estimator;
pub use fleet::{Fleet, Obstacle};
pub use history::History;
pub use policy::{Mode, Pace, Policy, Step, StepSize, Target};
pub use simulate::{Follower, Load, Played, Seen, Summary, TICK, World, simulate};
pub use windows::Window;

use std::time::Duration;

/// A point in time: the time since an arbitrary origin that all points of one program share.
/// It must not run backwards.
pub type Instant = Duration;
