//! Tasks that lie nowhere: their records are there, and what held their ids was lost by the server or
//! deleted. Looking for them, and putting them back.

use std::time::Duration;

use crate::fault::Fault;
use crate::later::SPAN_MS;
use crate::lease::millis;
use crate::queue::{Known, Queue};
use crate::script;
use crate::worker::USUAL_LEASE;

/// How often a queue is looked through.
pub(crate) const LOOKED_EVERY: Duration = Duration::from_secs(30);
/// How long tasks must have lain nowhere before they are put back.
const ADRIFT_FOR: Duration = USUAL_LEASE;
/// About how many records one call looks at.
const MOST_RECORDS: usize = 500;
/// Each call reads all ids in the lists: with more than these, tasks that lie nowhere are only counted.
const MOST_LISTED: usize = 5_000;
/// Most calls of one look; the next one goes on.
const MOST_CALLS: usize = 50;

/// What a look found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stranded {
    /// Tasks that lay nowhere when it began; 0 where it went on with the work of the one before.
    pub(crate) found: u64,
    pub(crate) put_back: u64,
}

impl Queue {
    /// Looks for tasks that lie nowhere, with the names of all shelves.
    pub(crate) async fn find_stranded(&self, mut shelves: Vec<String>) -> Result<Stranded, Fault> {
        // Whoever goes on must find them in the same order.
        shelves.sort_unstable();
        let keys: Vec<String> = shelves.iter().map(|name| self.keys().shelf(name)).collect();
        let mut stranded = Stranded::default();
        for _ in 0..MOST_CALLS {
            if !self.find_some(&keys, &mut stranded).await? {
                break;
            }
        }
        Ok(stranded)
    }

    /// One bounded call; whether there is more to look at.
    async fn find_some(&self, shelves: &[String], stranded: &mut Stranded) -> Result<bool, Fault> {
        let call = |known: &Known| {
            let call = self.call(&script::STRAND, known, shelves);
            self.announcing(call, known)
                .arg(MOST_RECORDS)
                .arg(MOST_LISTED)
                .arg(millis(ADRIFT_FOR))
                .arg(SPAN_MS)
                .arg(known.policy.retry.max_attempts)
                .arg(known.policy.max_losses)
        };
        let mut reply = self.under_policy(call).await?;
        let more = reply.next()?;
        stranded.found += reply.next::<u64>()?;
        stranded.put_back += reply.next::<u64>()?;
        Ok(more)
    }
}
