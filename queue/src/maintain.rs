//! What keeps a queue moving whoever else is alive: promotion of due tasks, expiry, schedules, and
//! the bounds of what is kept. Every worker does it with its heartbeat, as it reclaims what others
//! lost (see `reclaim`); so may anyone else, at any time and as often as they like.

use std::collections::HashMap;
use std::time::Duration;

use crate::batch::MOST_TASKS;
use crate::cancel::{Fate, Unstarted};
use crate::fault::Fault;
use crate::lease::{LEAST_RETENTION, millis, retention};
use crate::queue::{Known, Queue};
use crate::record::Ending;
use crate::reply::Reply;
use crate::script::args;
use crate::stranded::LOOKED_EVERY;
use crate::{Error, MAX_PAYLOAD_BYTES, TaskId};

/// How much of each kind one survey returns.
const MOST: usize = 200;
/// Bytes of records that one survey returns, or one record.
const MOST_BYTES: usize = 1024 * 1024;
/// More than any record has: a payload, and what is around it.
pub(crate) const LARGEST_RECORD: usize = MAX_PAYLOAD_BYTES + MOST_BYTES;
/// Most rounds of one call, so that it ends however much there is to do; the next call goes on.
const ROUNDS: usize = 50;
/// Most calls that go through one list, of a thousand tasks or two hundred keys each; the next call of
/// whoever tidies goes on. No honest server comes near it.
const MOST_CALLS: usize = 1_000;
/// How long what keeps workers from taking tasks is kept after the clock went back, when it cannot be
/// told any more for how long it was to be. Workers tell it again all the while.
const FAULT_KEPT: Duration = Duration::from_secs(30);
/// What [`Queue::tidy`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Tasks that expired.
    pub expired: u64,
    /// Tasks cancelled that had lost their workers before they could be told.
    pub cancelled: u64,
    /// Ended tasks forgotten, by the policy's bounds.
    pub forgotten: u64,
    /// Runs of schedules that were enqueued.
    pub fired: u64,
    /// Tasks found to lie nowhere: what held their ids was lost by the server, or deleted.
    pub stranded: u64,
    /// Tasks that lay nowhere and were put back; they count as [`missing`](crate::Counters::missing).
    pub put_back: u64,
}

/// What there is to do.
struct Survey {
    expired: Vec<Unstarted>,
    marked: Vec<Unstarted>,
    buckets: Vec<String>,
    last_runs: HashMap<String, String>,
    /// Whether parked tasks are to be let in: the policy has changed.
    unpark: bool,
    /// Whether tasks are to be looked for that lie nowhere.
    looks: bool,
    /// How many idempotency keys were looked at.
    keys: usize,
}

impl Survey {
    /// Whether there may be more of something.
    fn is_full(&self) -> bool {
        let tasks = [self.expired.len(), self.marked.len()];
        let mut found = tasks.into_iter().chain([self.buckets.len(), self.keys]);
        let records = self.expired.iter().chain(&self.marked);
        let bytes: usize = records.map(|task| task.record.len()).sum();
        bytes >= MOST_BYTES || found.any(|found| found >= MOST)
    }
}

impl Queue {
    /// Makes all due tasks runnable and returns how many were due; trims the dead letters to the
    /// policy's bounds.
    pub async fn promote(&self) -> Result<u64, Error> {
        let mut total = 0;
        for _ in 0..ROUNDS {
            let (due, trimmed) = self.promote_some().await?;
            total += due;
            if due < MOST_TASKS as u64 && trimmed == 0 {
                break;
            }
        }
        Ok(total)
    }

    /// Expires tasks that did not start in time, runs the schedules, forgets ended tasks beyond the policy's bounds and
    /// keys whose time is over, and now and then looks for tasks that lie nowhere and puts them back.
    pub async fn tidy(&self) -> Result<Tidied, Error> {
        let mut tidied = Tidied::default();
        // A server that is full takes no new task, and so runs no schedule; but the rest makes room.
        let mut unfired = None;
        for _ in 0..ROUNDS {
            let survey = self.survey().await?;
            let full = survey.is_full();
            match self.run_schedules(&survey.last_runs).await {
                Ok(fired) => tidied.fired += fired,
                Err(error) => unfired = Some(error),
            }
            tidied.expired += self.end(Ending::Expired, &survey.expired).await?;
            tidied.cancelled += self.end(Ending::Cancelled, &survey.marked).await?;
            if survey.unpark {
                self.unpark().await?;
            }
            let youngest = self.link().clock().now_ms();
            let youngest = youngest.saturating_sub(millis(LEAST_RETENTION));
            tidied.forgotten += self.forget(&survey.buckets, youngest).await?;
            if survey.looks {
                let stranded = self.find_stranded().await?;
                tidied.stranded += stranded.found;
                tidied.put_back += stranded.put_back;
            }
            if !full {
                break;
            }
        }
        unfired.map_or(Ok(tidied), Err)
    }

    /// One bounded call; how many tasks were due, and how many dead letters trimmed.
    async fn promote_some(&self) -> Result<(u64, u64), Error> {
        let call = |known: &Known| {
            let told = self.announcing(known);
            let asked = args::Promote {
                most: MOST_TASKS.into(),
                dead_age: known.policy.dead_max_age.into(),
                most_dead: known.policy.dead_max_count.into(),
                wakes: told.wakes,
                channel: told.channel,
                queue: told.queue,
                fault_kept: FAULT_KEPT.into(),
            };
            self.call(known, &[], &asked)
        };
        let mut reply = self.under_policy(call).await?;
        Ok((reply.next()?, reply.next()?))
    }

    async fn survey(&self) -> Result<Survey, Fault> {
        let known = self.known().await?;
        let asked = args::Survey {
            most: MOST.into(),
            done_age: retention(&known.policy).into(),
            most_done: known.policy.completed_max_count.into(),
            least_age: LEAST_RETENTION.into(),
            room: MOST_BYTES.into(),
            largest: LARGEST_RECORD.into(),
            look_every: LOOKED_EVERY.into(),
        };
        let (_, mut reply) = self.answer(&self.call(&known, &[], &asked)).await?;
        Ok(Survey {
            expired: unstarted(&mut reply)?,
            marked: unstarted(&mut reply)?,
            buckets: reply.next()?,
            last_runs: reply.next()?,
            unpark: reply.next()?,
            looks: reply.next()?,
            keys: reply.next()?,
        })
    }

    /// How many of these tasks were ended.
    async fn end(&self, ending: Ending, tasks: &[Unstarted]) -> Result<u64, Fault> {
        if tasks.is_empty() {
            return Ok(0);
        }
        let marks = ending == Ending::Cancelled;
        let fates = self.remove(ending, tasks, marks).await?;
        Ok(fates.iter().filter(|fate| **fate == Fate::Removed).count() as u64)
    }

    /// Lets in what is parked although its key has room.
    pub(crate) async fn unpark(&self) -> Result<(), Fault> {
        let mut from = b"-".to_vec();
        for _ in 0..MOST_CALLS {
            let call = |known: &Known| {
                let asked = args::Unpark {
                    begin: from.as_slice().into(),
                    most: MOST.into(),
                };
                self.call(known, &[], &asked)
            };
            let mut reply = self.under_policy(call).await?;
            if !reply.next::<bool>()? {
                break;
            }
            from = reply.next()?;
        }
        Ok(())
    }

    /// Forgets these buckets of done records, but for those that got one after `youngest`, in ms.
    pub(crate) async fn forget(&self, buckets: &[String], youngest: u64) -> Result<u64, Fault> {
        if buckets.is_empty() {
            return Ok(0);
        }
        let known = self.known().await?;
        let keys: Vec<String> = buckets
            .iter()
            .map(|bucket| self.keys().done(bucket))
            .collect();
        let youngest = youngest.into();
        let call = self.call(&known, &keys, &args::Forget { youngest });
        let (_, mut reply) = self.answer(&call).await?;
        Ok(reply.next()?)
    }
}

/// Ids and records, side by side. What is no id of ours is nothing of ours.
pub(crate) fn unstarted(reply: &mut Reply<'_>) -> Result<Vec<Unstarted>, Error> {
    let ids: Vec<String> = reply.next()?;
    let records: Vec<Vec<u8>> = reply.next()?;
    let pair = |(id, record): (String, Vec<u8>)| {
        let id: TaskId = id.parse().ok()?;
        Some(Unstarted { id, record })
    };
    Ok(ids.into_iter().zip(records).filter_map(pair).collect())
}

/// How long the maintenance of a queue may wait between two rounds.
pub const MAINTENANCE_PERIOD: Duration = Duration::from_secs(1);
