//! A connection to a Redis, of one server or of many, and the queues it holds.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::announce::Announcements;
use crate::clock::timestamp;
use crate::id::Sequence;
use crate::link::Link;
use crate::server::Refusals;
use crate::{Endpoint, Error, Queue, QueueName, TaskId, WorkerId};

/// Longest wait for the answer of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to Redis. Cheap to clone; clones share it. It reconnects by itself: a call that
/// finds the connection broken says so, the next one makes it anew.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    link: Link,
    ids: Mutex<Sequence>,
    refusals: Refusals,
}

impl Client {
    /// Connects, or says why not.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        let client = Self::lazy(endpoint);
        client.link().connect().await?;
        Ok(client)
    }

    /// Connects on the first call instead of now, for whoever starts before Redis does.
    pub fn lazy(endpoint: &Endpoint) -> Self {
        Self(Arc::new(Inner {
            link: Link::new(endpoint, CALL_TIMEOUT),
            ids: Mutex::new(Sequence::new(rand::random())),
            refusals: Refusals::default(),
        }))
    }

    /// The queue of that name; it need not exist yet. Asks nothing of Redis.
    pub fn queue(&self, name: QueueName) -> Queue {
        Queue::new(self.clone(), name)
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.link().read_plain(&redis::cmd("PING"), "PING").await?;
        Ok(())
    }

    /// Announcements of queues that went from empty to not empty, over a connection of their own.
    /// Must be called inside a Tokio runtime.
    pub fn announcements(&self) -> Announcements {
        Announcements::start(self.link().clone())
    }

    /// The time by the clock of Redis, to within a round trip: what times in Redis are to be compared
    /// with. Until Redis has been heard, that of this machine.
    pub fn now(&self) -> Timestamp {
        timestamp(self.link().clock().now_ms())
    }

    /// Where it is connected to.
    pub fn endpoint(&self) -> &Endpoint {
        self.link().endpoint()
    }

    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    pub(crate) fn next_task_id(&self) -> TaskId {
        let now = self.link().clock().now_ms() / 1_000;
        self.0
            .ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .task(now)
    }

    pub(crate) fn next_worker_id(&self) -> WorkerId {
        let now = self.link().clock().now_ms() / 1_000;
        self.0
            .ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .worker(now)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.endpoint())
    }
}
