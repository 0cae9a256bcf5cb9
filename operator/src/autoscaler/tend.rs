//! What a look leaves to be done in a queue, done: the policy put in force, and the chores.

use taskqueue_queue::{Configured, Error, Policy, Queue, Tidied};

use super::tending::Chores;
use crate::key::Key;

/// What was done in a queue.
pub(super) struct Tended {
    /// The policy that was put in force and the version it got.
    pub(super) projected: Option<(Policy, u64)>,
    pub(super) tidied: Option<Tidied>,
}

/// Projects the policy, if given, and does the chores of one queue. `version` is that of the policy
/// in force.
pub(super) async fn tend(
    key: &Key,
    queue: Queue,
    version: u64,
    policy: Option<Policy>,
    chores: Chores,
) -> Result<Tended, Error> {
    let mut tended = Tended {
        projected: None,
        tidied: None,
    };
    if let Some(policy) = policy {
        let version = match queue.configure(&policy).await? {
            Configured::Unchanged => version,
            Configured::Changed { version } => version,
        };
        tended.projected = Some((policy, version));
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
