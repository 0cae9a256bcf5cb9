//! The worker pods of every TaskQueue: how many there are, what keeps them from starting, how long
//! they take to start, and which of them have ended.
//!
//! One watch feeds [`Pods`]. What a pod says of itself is read by pure functions (`state`, `ending`,
//! `obstacle`, `start`); a pod as a whole is never kept. Nothing here talks to Redis or decides on
//! replicas.

mod ending;
mod obstacle;
mod pods;
pub mod shield;
mod start;
mod state;
mod watch;

pub use ending::Ending;
pub use obstacle::Obstacle;
pub use pods::{FleetView, Pods};
pub use start::StartTime;
pub use state::{DELETION_COST, Disruption, PodState, Stage, Termination, WorkerPod};
pub use watch::watch;
