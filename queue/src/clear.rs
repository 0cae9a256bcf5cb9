//! Emptying a queue: what waits in it is cancelled, what has ended is forgotten, a bounded number at a
//! time. Each call is whole, so that whoever is interrupted begins anew and goes on.

use std::time::Duration;

use crate::cancel::Fate;
use crate::keys::Key;
use crate::lease::{LEAST_RETENTION, millis};
use crate::maintain::unstarted;
use crate::queue::{Known, Queue};
use crate::record::Ending;
use crate::script::args;
use crate::{Error, Snapshot};

/// Tasks that one call ends.
const BATCH: usize = 200;
/// Bytes of records that one call hands out.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// How many calls one after the other may end none, each of which clears some of what cancelled tasks have
/// left in the lists; and how many forget what has ended. No honest server comes near it.
const MOST_IDLE: usize = 1_000;
/// Buckets of ended tasks that one call forgets, of up to 1,024 tasks each as a rule.
const BUCKETS: usize = 100;
/// How long the name of a bucket is.
const BUCKET_NAME: usize = 9;

/// Tasks that have not ended and do not run, by what they wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// For a worker.
    Waiting,
    /// For others with their concurrency key.
    Blocked,
    /// For their time: delayed, or to be retried.
    Scheduled,
}

impl Pending {
    /// As the script knows it.
    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
        }
    }

    /// How many there are.
    fn count(self, figures: &Snapshot) -> u64 {
        match self {
            Self::Waiting => figures.waiting.iter().map(|(_, tasks)| tasks).sum(),
            Self::Blocked => figures.blocked,
            Self::Scheduled => figures.scheduled,
        }
    }
}

impl Queue {
    /// Cancels as many tasks as are pending so when it begins: they end as by [`Queue::cancel`], and their
    /// keys are free. What a worker takes meanwhile it keeps; what is enqueued meanwhile may go in its
    /// place. `told` is called after each bounded step with how many were cancelled so far. Returns how
    /// many it were; an error leaves the rest.
    pub async fn clear(&self, pending: Pending, mut told: impl FnMut(u64)) -> Result<u64, Error> {
        // What has expired is not counted, and would go in the place of others.
        if let Err(error) = self.tidy().await
            && !matches!(error, Error::OutOfMemory { .. })
        {
            return Err(error);
        }
        let queues = std::slice::from_ref(self);
        let figures = self.client().snapshot(queues).await;
        let figures = figures.into_iter().next().transpose()?;
        let all = figures.map_or(0, |figures| pending.count(&figures));
        let (mut cancelled, mut idle) = (0, 0);
        while cancelled < all && idle < MOST_IDLE {
            let (some, more) = self.clear_some(pending, all - cancelled).await?;
            cancelled += some;
            idle = if some == 0 { idle + 1 } else { 0 };
            told(cancelled);
            if !more {
                break;
            }
        }
        Ok(cancelled)
    }

    /// One step: how many were cancelled, at most `most`, and whether there are more.
    async fn clear_some(&self, pending: Pending, most: u64) -> Result<(u64, bool), Error> {
        let call = |known: &Known| {
            let asked = args::Unstarted {
                state: pending.name().into(),
                most: most.min(BATCH as u64).into(),
                room: MOST_BYTES.into(),
            };
            self.call(known, &[], &asked)
        };
        let mut reply = self.under_policy(call).await?;
        let tasks = unstarted(&mut reply)?;
        let more = reply.next()?;
        if tasks.is_empty() {
            return Ok((0, more));
        }
        let fates = self.remove(Ending::Cancelled, &tasks, false).await?;
        let removed = fates.iter().filter(|fate| **fate == Fate::Removed);
        Ok((removed.count() as u64, more))
    }

    /// Forgets tasks that ended longer ago than this, and at least 10 s ago: completed, cancelled, expired
    /// and dropped ones. They go in groups, each when the last of it is that old. Returns how many it were.
    pub async fn clean(&self, older_than: Duration) -> Result<u64, Error> {
        let now_ms = self.link().clock().now_ms();
        let youngest = now_ms.saturating_sub(millis(older_than.max(LEAST_RETENTION)));
        let (mut cleaned, mut skip) = (0, 0);
        for _ in 0..MOST_IDLE {
            let mut command = redis::cmd("ZRANGEBYSCORE");
            command
                .arg(self.keys().get(Key::Kept))
                .arg("-inf")
                .arg(youngest)
                .arg("LIMIT")
                .arg(skip)
                .arg(BUCKETS);
            let found: Vec<Vec<u8>> = self.ask(&command, "ZRANGEBYSCORE").await?;
            if found.is_empty() {
                break;
            }
            let count = found.len();
            let name = |name: Vec<u8>| String::from_utf8(name).ok();
            let buckets: Vec<String> = found
                .into_iter()
                .filter_map(name)
                .filter(|name| name.len() == BUCKET_NAME)
                .collect();
            // What is no bucket of ours stays.
            skip += count - buckets.len();
            cleaned += self.forget(&buckets, youngest).await?;
        }
        Ok(cleaned)
    }
}
