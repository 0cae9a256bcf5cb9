//! A connection to one Redis server, and the queues it holds.

use crate::{Announcements, Endpoint, Error, Queue, QueueName, Snapshot};

/// A connection to Redis. Cheap to clone; clones share it. It reconnects by itself.
#[derive(Debug, Clone)]
pub struct Client {}

impl Client {
    /// Connects, or says why not. Afterwards a lost connection is made anew by the call that needs it.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        todo!()
    }

    /// The queue of that name; it need not exist yet. Asks nothing of Redis.
    pub fn queue(&self, name: QueueName) -> Queue {
        todo!()
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), Error> {
        todo!()
    }

    /// The figures of many queues in one round trip, in the order given; a second one is needed only for
    /// queues whose policy changed since it was last read.
    pub async fn snapshot(&self, queues: &[Queue]) -> Vec<Result<Snapshot, Error>> {
        todo!()
    }

    /// Announcements of queues that went from empty to not empty.
    pub fn announcements(&self) -> Announcements {
        todo!()
    }
}
