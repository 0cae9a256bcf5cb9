//! Tasks that lie nowhere: their records are there, and what held their ids was lost by the server or
//! deleted. Looking for them, and putting them back.

use std::time::Duration;

use crate::fault::Fault;
use crate::queue::{Known, Queue};
use crate::script::args;
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
    /// Looks for tasks that lie nowhere.
    pub(crate) async fn find_stranded(&self) -> Result<Stranded, Fault> {
        let mut stranded = Stranded::default();
        for _ in 0..MOST_CALLS {
            if !self.find_some(&mut stranded).await? {
                break;
            }
        }
        Ok(stranded)
    }

    /// One bounded call; whether there is more to look at.
    async fn find_some(&self, stranded: &mut Stranded) -> Result<bool, Fault> {
        let call = |known: &Known| {
            let told = self.announcing(known);
            let asked = args::Strand {
                wakes: told.wakes,
                channel: told.channel,
                queue: told.queue,
                most: MOST_RECORDS.into(),
                most_listed: MOST_LISTED.into(),
                patience: ADRIFT_FOR.into(),
                most_attempts: known.policy.retry.max_attempts.into(),
                most_losses: known.policy.max_losses.into(),
            };
            let mut call = self.call(known, &[], &asked);
            for of in &known.policy.types {
                if let Some(most) = of.retry.max_attempts {
                    call.push(of.name.as_str());
                    call.push(most);
                }
            }
            call
        };
        let mut reply = self.under_policy(call).await?;
        let more = reply.next()?;
        stranded.found += reply.next::<u64>()?;
        stranded.put_back += reply.next::<u64>()?;
        Ok(more)
    }
}
