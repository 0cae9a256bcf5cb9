//! Reading and writing a queue's policy in Redis.

/// What [`Queue::configure`](crate::Queue::configure) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configured {
    /// That policy was in force already; nothing was written.
    Unchanged,
    /// It is in force now.
    Changed {
        /// Its version.
        version: u64,
    },
}
