//! Announcements of queues that have become non-empty.

use crate::QueueName;

/// One announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// Subscribed, subscribed again after a lost connection, or too slow a listener: announcements may have
    /// been missed, so look at every queue.
    Resync,
    /// A level of this queue went from empty to not empty.
    Ready(QueueName),
}

/// Announcements, for as long as it is not dropped.
#[derive(Debug)]
pub struct Announcements {}

impl Announcements {
    /// The next announcement.
    pub async fn next(&mut self) -> Announcement {
        todo!()
    }
}

impl futures::Stream for Announcements {
    type Item = Announcement;

    fn poll_next(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Option<Announcement>> {
        todo!()
    }
}
