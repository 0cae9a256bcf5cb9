//! How deep the queues of other systems are: BullMQ, Celery, RQ, Sidekiq, asynq, and plain Redis
//! keys.
//!
//! [`commands`] says what to ask Redis and [`read`] what the answers mean; both are pure, and the
//! number of commands is bounded whatever a queue holds. [`look`] asks for many sources in one
//! round trip, and [`Wakes`] tells at once when a BullMQ queue gets a job. Nothing is ever written
//! to Redis, and nothing here knows of Kubernetes.
//!
//! Unknown is not zero: a queue of which Redis has never heard, a key of another type and an
//! answer that cannot be read are errors, each with a variant of its own.

mod answers;
mod depth;
mod look;
mod running;
mod source;
mod systems;
#[cfg(feature = "testing")]
pub mod testing;
mod wakes;

pub use depth::{Depth, Kind, SourceError};
pub use look::{Asked, look};
pub use running::Running;
pub use source::{
    Asynq, BullMq, Celery, Command, Expression, List, Role, Rq, Scores, Sidekiq, SortedSet, Source,
    Stream, Unit,
};
pub use systems::{commands, read};
pub use wakes::Wakes;
