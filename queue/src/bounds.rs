//! What a program lets a server do to it, and where it lets its connections go. A URL says none of this:
//! it may come from somebody whom the program does not trust.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Given the name of a host as a URL or a server has it, and where that is, says whether it may be
/// connected to; if not, why, and what to do about it.
pub type Rule = dyn Fn(&str, IpAddr) -> Result<(), String> + Send + Sync;

/// Bounds of the connections of a client; see [`Endpoint::with_bounds`](crate::Endpoint::with_bounds). By
/// default there are none.
#[derive(Clone, Default)]
pub struct Bounds {
    /// The most memory, in bytes, that all answers which one connection waits for at a time may take.
    /// When a server sends more, the connection is given up, and the call that it broke gets
    /// [`Error::AnswerTooLarge`](crate::Error::AnswerTooLarge). A message of a subscription counts alone.
    pub largest_answer: Option<usize>,
    /// Answers of more than 256 KiB are read one at a time for each permit of each of these.
    pub large: Vec<Arc<Semaphore>>,
    /// Connections are made one at a time for each permit of each of these, the lookup of the name
    /// included.
    pub dialing: Vec<Arc<Semaphore>>,
    /// How many connections may stand: each keeps a permit for as long as it does.
    pub standing: Option<Arc<Semaphore>>,
    /// Asked of each address before it is connected to, wherever it came from: the URL, a sentinel, or
    /// a node of a cluster.
    pub allows: Option<Arc<Rule>>,
}

impl fmt::Debug for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounds")
            .field("largest_answer", &self.largest_answer)
            .finish_non_exhaustive()
    }
}

/// A permit of each, in their order, so that nobody waits for one while holding a later one. They are
/// never closed.
pub(crate) async fn permits(of: Vec<Arc<Semaphore>>) -> Vec<OwnedSemaphorePermit> {
    let mut permits = Vec::with_capacity(of.len());
    for semaphore in of {
        permits.extend(semaphore.acquire_owned().await.ok());
    }
    permits
}
