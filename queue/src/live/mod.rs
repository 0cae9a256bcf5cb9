//! Live events: what happens in queues, told to who listens, in the moment in which it happens. Scripts write
//! them (`scripts/shared/tell.lua`), and only while a listener renews its lease.

mod event;
mod listener;
mod track;

pub use self::event::{LiveBatch, LiveEvent, LiveId, LiveKind, Replicas};
pub use self::listener::Listener;
