//! What keeps a queue moving whoever else is alive: promotion of due tasks, reclaim of lapsed
//! leases, and the bounds of the dead letters. Every worker does it with its heartbeat; so may
//! anyone else, at any time.

use crate::batch::MOST_TASKS;
use crate::queue::Queue;
use crate::{Error, script};

/// What [`Queue::reclaim`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Tasks made runnable again.
    pub released: u64,
    /// Tasks that had lost too many workers and are dead letters now.
    pub quarantined: u64,
    /// Workers whose lease had lapsed.
    pub workers: u64,
}

impl Queue {
    /// Makes all due tasks runnable and returns how many; trims the dead letters to the policy's
    /// bounds.
    pub async fn promote(&self) -> Result<u64, Error> {
        let mut total = 0;
        loop {
            let (promoted, trimmed) = self.promote_some().await?;
            total += promoted;
            if promoted < MOST_TASKS as u64 && trimmed == 0 {
                return Ok(total);
            }
        }
    }

    /// Takes back what workers with a lapsed lease hold, to the heads of the levels; a task that
    /// has lost more workers than the policy allows goes to the dead letters.
    pub async fn reclaim(&self) -> Result<Reclaimed, Error> {
        let mut rounds = self.rounds();
        loop {
            let known = rounds.next().await?;
            let call = self
                .call(&script::RECLAIM, &known, &[])
                .arg(known.policy.max_losses);
            let call = self.announcing(call, &known);
            if let Some(mut reply) = self.ask(&script::RECLAIM, &call).await? {
                return Ok(Reclaimed {
                    released: reply.next()?,
                    quarantined: reply.next()?,
                    workers: reply.next()?,
                });
            }
        }
    }

    /// One bounded call; how many tasks were promoted, and how many dead letters trimmed.
    async fn promote_some(&self) -> Result<(u64, u64), Error> {
        let mut rounds = self.rounds();
        loop {
            let known = rounds.next().await?;
            let policy = &known.policy;
            let age = u64::try_from(policy.dead_max_age.as_millis()).unwrap_or(u64::MAX);
            let call = self
                .call(&script::PROMOTE, &known, &[])
                .arg(MOST_TASKS)
                .arg(age)
                .arg(policy.dead_max_count);
            let call = self.announcing(call, &known);
            if let Some(mut reply) = self.ask(&script::PROMOTE, &call).await? {
                return Ok((reply.next()?, reply.next()?));
            }
        }
    }
}
