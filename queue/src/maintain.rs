//! What keeps a queue moving whoever else is alive: promotion of due tasks and reclaim of lapsed leases.

/// What [`Queue::reclaim`](crate::Queue::reclaim) found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Tasks made runnable again.
    pub released: u64,
    /// Tasks that had lost too many workers and are dead letters now.
    pub quarantined: u64,
    /// Workers whose lease had lapsed.
    pub workers: u64,
}
