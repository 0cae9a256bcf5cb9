//! What a look leaves to be done in a queue, done: the policy put in force, and the chores.

use std::sync::Arc;

use taskqueue_queue::{Configured, Error, Queue, Tidied};

use super::tending::Chores;
use crate::{index::Orders, key::Key};

/// What was done in a queue.
pub(super) struct Tended {
    /// The orders whose policy was put in force and the version it got.
    pub(super) projected: Option<(Arc<Orders>, u64)>,
    pub(super) tidied: Option<Tidied>,
}

/// Projects the policy of the orders, if given, and does the chores of one queue. `version` is that of the policy
/// in force.
pub(super) async fn tend(
    key: &Key,
    queue: Queue,
    version: u64,
    project: Option<Arc<Orders>>,
    chores: Chores,
) -> Result<Tended, Error> {
    let mut tended = Tended {
        projected: None,
        tidied: None,
    };
    if let Some(orders) = project {
        let version = match queue.configure(&orders.policy).await? {
            Configured::Unchanged => version,
            Configured::Changed { version } => version,
        };
        tended.projected = Some((orders, version));
    }
    if chores.promote {
        queue.promote().await?;
    }
    if chores.reclaim {
        let reclaimed = queue.reclaim().await?;
        tracing::info!(queue = %key, ?reclaimed, "took back the tasks of lost workers");
    }
    if chores.tidy {
        let tidied = queue.tidy().await?;
        if tidied != Tidied::default() {
            tracing::debug!(queue = %key, ?tidied, "tidied");
        }
        tended.tidied = Some(tidied);
    }
    Ok(tended)
}
