//! The worker's side of Redis: each call that a worker makes, from its registration to its leaving.
//! What to call when is decided in `worker`.

mod end;

use std::time::Duration;

use redis::Value;

use crate::batch::{MOST_TASKS, buckets};
use crate::fault::Fault;
use crate::groups::Group;
use crate::queue::{Known, Queue};
use crate::reply::{Reply, Status, ids};
use crate::script::{self, args};
use crate::value::read;
use crate::{Error, Policy, TaskId, WorkerId};

pub(crate) use end::{Ack, End, Ran, Settlement};

/// A done record is kept at least this long: it is what an ack that is sent twice is recognised by.
pub(crate) const LEAST_RETENTION: Duration = Duration::from_secs(10);

/// Bytes of records after which one look at what a worker holds ends.
const MOST_HELD_BYTES: usize = 1024 * 1024;

/// Log lines kept of each task, the last ones.
pub(crate) const MOST_LOG_LINES: usize = 100;
/// A log is kept at least this long after its last line.
const LEAST_LOG_RETENTION: Duration = Duration::from_hours(1);

/// How long done records are kept, in ms.
pub(crate) fn retention(policy: &Policy) -> u64 {
    millis(policy.completed_max_age.max(LEAST_RETENTION))
}

/// What an attempt says while it runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note {
    /// Its progress, as JSON.
    pub(crate) progress: Option<Vec<u8>>,
    pub(crate) lines: Vec<String>,
}

/// A task that this worker holds from now on.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) id: TaskId,
    pub(crate) record: Vec<u8>,
    pub(crate) losses: u32,
}

/// What a worker wants of an exchange.
pub(crate) struct Exchange<'a> {
    pub(crate) worker: WorkerId,
    pub(crate) lease: Duration,
    /// How many tasks to lease.
    pub(crate) slots: usize,
    /// Whether it will block for a token when it gets fewer.
    pub(crate) listen: bool,
    /// Whether Redis may count it among those that block.
    pub(crate) listed: bool,
    /// The token that woke it.
    pub(crate) token: Option<String>,
    /// Sorted by id, at most 1000.
    pub(crate) acks: &'a [Ack],
}

/// What came of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Exchanged {
    /// Acks of tasks that the worker no longer held.
    pub(crate) refused: Vec<TaskId>,
    pub(crate) leased: Vec<Leased>,
    /// How long until there is something to fetch again: the next scheduled task is due, or the rate
    /// limit lets something begin.
    pub(crate) next_due: Option<Duration>,
    /// The lease had lapsed: nothing was leased, and never will be under this worker id.
    pub(crate) lapsed: bool,
    /// Whether there may be more at once although fewer came than were asked for.
    pub(crate) more: bool,
    /// How many slots were asked for in the end: none while the queue is paused.
    pub(crate) asked: usize,
    /// The worker is to get no more tasks.
    pub(crate) draining: bool,
    /// Ids that it came upon whose tasks are missing.
    pub(crate) missing: u64,
}

/// What a worker is told with its heartbeat.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Tasks of its own that are to be cancelled.
    pub(crate) cancelled: Vec<TaskId>,
    /// It is to get no more tasks.
    pub(crate) draining: bool,
}

impl Queue {
    pub(crate) async fn exchange(&self, exchange: &Exchange<'_>) -> Result<Exchanged, Fault> {
        let mut refused = Vec::new();
        let mut acks = exchange.acks;
        let mut rounds = self.rounds();
        loop {
            let known = rounds.next().await?;
            let asked = if known.policy.paused {
                0
            } else {
                exchange.slots
            };
            let call = self.exchange_call(&known, exchange, asked, acks);
            let (status, mut reply) = self.answer(&call).await?;
            let mut exchanged = take(&mut reply, status, asked)?;
            refused.append(&mut exchanged.refused);
            if status != Status::Stale {
                return Ok(Exchanged {
                    refused,
                    ..exchanged
                });
            }
            // The acks are done; what is left is to fetch under the policy in force.
            acks = &[];
        }
    }

    fn exchange_call(
        &self,
        known: &Known,
        exchange: &Exchange<'_>,
        asked: usize,
        acks: &[Ack],
    ) -> script::Call {
        let runs = buckets(acks.iter().map(|ack| ack.id));
        let limits = &known.policy.limits;
        let asked = args::Exchange {
            worker: exchange.worker.as_str().into(),
            lease: exchange.lease.into(),
            slots: asked.into(),
            listens: exchange.listen.into(),
            listed: exchange.listed.into(),
            token: exchange.token.as_deref().into(),
            retention: retention(&known.policy).into(),
            run_ms: acks.iter().map(|ack| ack.run_ms).sum::<u64>().into(),
            order: known.order.as_str().into(),
            most_active: limits.concurrency.into(),
            rate: limits.rate.map(|rate| rate.count).into(),
            rate_span: limits.rate.map(|rate| rate.per).into(),
            buckets: runs.len().into(),
        };
        let mut call = self.call(known, &self.bucket_keys(&runs), &asked);
        for (_, count) in runs {
            call.push(count);
        }
        for ack in acks {
            call.push(ack.id.as_str());
            call.push(ack.done.as_slice());
        }
        call
    }

    /// Settles up to 1000 attempts and returns those that the worker no longer held.
    pub(crate) async fn settle(
        &self,
        worker: WorkerId,
        settlements: &[Settlement],
    ) -> Result<Vec<TaskId>, Fault> {
        // Each hand-back goes to the head of its list, so the last one written is the first one
        // fetched.
        let mut ordered: Vec<&Settlement> = settlements.iter().collect();
        ordered.sort_by_key(|settlement| std::cmp::Reverse(settlement.id));
        let oldest_first = ordered.iter().rev().map(|settlement| settlement.id);
        let runs = buckets(oldest_first);
        let keys = self.bucket_keys(&runs);
        let place_of = |id: TaskId| {
            let same = |(first, _): &(TaskId, usize)| first.bucket() == id.bucket();
            runs.iter().position(same).unwrap_or_default() + 1
        };
        let call = |known: &Known| {
            let told = self.announcing(known);
            let asked = args::Settle {
                worker: worker.as_str().into(),
                retention: retention(&known.policy).into(),
                wakes: told.wakes,
                channel: told.channel,
                queue: told.queue,
            };
            let mut call = self.call(known, &keys, &asked);
            for settlement in &ordered {
                let Settlement {
                    id, end, failure, ..
                } = settlement;
                call.push(end.name());
                call.push(id.as_str());
                call.push(end.record());
                call.push(settlement.entry(known.policy.events.as_ref()).as_slice());
                call.push(end.delay_ms());
                call.push(end.run_ms());
                call.push(place_of(*id));
                call.push(failure.as_ref().map_or(&[][..], Group::as_bytes));
            }
            call
        };
        let mut reply = self.under_policy(call).await?;
        Ok(ids(&reply.next::<Vec<String>>()?)?)
    }

    /// Registers a worker under an id that was never used, with what it says of itself.
    pub(crate) async fn register(
        &self,
        worker: WorkerId,
        lease: Duration,
        info: &str,
    ) -> Result<(), Fault> {
        self.beat_with(worker, lease, info, None).await.map(drop)
    }

    /// Extends a lease, and says what the worker runs if that is another than it said last (see `runs`);
    /// `None` if the lease has lapsed for good.
    pub(crate) async fn beat(
        &self,
        worker: WorkerId,
        lease: Duration,
        runs: Option<&str>,
    ) -> Result<Option<Told>, Fault> {
        self.beat_with(worker, lease, "", runs).await
    }

    async fn beat_with(
        &self,
        worker: WorkerId,
        lease: Duration,
        info: &str,
        runs: Option<&str>,
    ) -> Result<Option<Told>, Fault> {
        let known = self.known().await?;
        let asked = args::Beat {
            worker: worker.as_str().into(),
            lease: lease.into(),
            info: info.into(),
            told: runs.is_some().into(),
            runs: runs.into(),
        };
        let call = self.call(&known, &[], &asked);
        let (Status::Ok, mut reply) = self.answer(&call).await? else {
            return Ok(None);
        };
        let cancelled: Vec<String> = reply.next()?;
        // A mark that is no id of ours marks no task of ours.
        let known = cancelled.iter().filter_map(|id| id.parse().ok());
        Ok(Some(Told {
            cancelled: known.collect(),
            draining: reply.next()?,
        }))
    }

    /// Writes down what attempts say while they run.
    pub(crate) async fn note(
        &self,
        worker: WorkerId,
        notes: &[(TaskId, Note)],
    ) -> Result<(), Fault> {
        let known = self.known().await?;
        let keys: Vec<String> = notes
            .iter()
            .map(|(id, _)| self.keys().log(id.as_str()))
            .collect();
        let kept = known.policy.completed_max_age.max(LEAST_LOG_RETENTION);
        let asked = args::Note {
            worker: worker.as_str().into(),
            kept: kept.into(),
            most_lines: MOST_LOG_LINES.into(),
        };
        let mut call = self.call(&known, &keys, &asked);
        for (id, note) in notes {
            call.push(id.as_str());
            call.push(note.progress.as_deref().unwrap_or_default());
            call.push(note.lines.len());
            for line in &note.lines {
                call.push(line.as_str());
            }
        }
        self.link().call(&call).await.map(drop)
    }

    /// What the worker holds without knowing it, up to 1000 tasks or about a MiB of records, but one at
    /// least; `None` if its lease has lapsed. The record of one that is missing is empty.
    pub(crate) async fn held_unknown(
        &self,
        worker: WorkerId,
        held: impl IntoIterator<Item = TaskId>,
    ) -> Result<Option<Vec<Leased>>, Fault> {
        let known = self.known().await?;
        let asked = args::Resume {
            worker: worker.as_str().into(),
            most: MOST_TASKS.into(),
            room: MOST_HELD_BYTES.into(),
        };
        let mut call = self.call(&known, &[], &asked);
        for id in held {
            call.push(id.as_str());
        }
        let (Status::Ok, mut reply) = self.answer(&call).await? else {
            return Ok(None);
        };
        let ids: Vec<Vec<u8>> = reply.next()?;
        Ok(Some(leased(&ids, reply.next()?, reply.next()?)))
    }

    /// Takes the worker out of the queue; `false`, with nothing done, if it still holds tasks.
    pub(crate) async fn leave(&self, worker: WorkerId) -> Result<bool, Fault> {
        let known = self.known().await?;
        let worker = worker.as_str().into();
        let call = self.call(&known, &[], &args::Leave { worker });
        let (status, _) = self.answer(&call).await?;
        Ok(status == Status::Ok)
    }
}

fn take(reply: &mut Reply<'_>, status: Status, asked: usize) -> Result<Exchanged, Error> {
    let refused = ids(&reply.next::<Vec<String>>()?)?;
    if status != Status::Ok {
        return Ok(Exchanged {
            refused,
            lapsed: status == Status::Lapsed,
            asked,
            ..Exchanged::default()
        });
    }
    // Negative for none.
    let next_due: i64 = reply.next()?;
    let next_due = u64::try_from(next_due).ok().map(Duration::from_millis);
    let more = reply.next::<String>()? == "1";
    Ok(Exchanged {
        more,
        refused,
        leased: leased(&reply.next::<Vec<_>>()?, reply.next()?, reply.next()?),
        draining: reply.next()?,
        missing: reply.next()?,
        next_due: next_due.map(|due| due.saturating_sub(Duration::from_millis(reply.now_ms))),
        lapsed: false,
        asked,
    })
}

/// Ids, records and losses, side by side; the losses are missing when no task of the queue has any.
fn leased(ids: &[Vec<u8>], records: Vec<Option<Vec<u8>>>, losses: Vec<Value>) -> Vec<Leased> {
    let mut losses = losses.into_iter().map(read::<Option<u32>>);
    let mut tasks = Vec::with_capacity(ids.len());
    for (id, record) in ids.iter().zip(records) {
        let losses = losses.next();
        // Without its record there is no task; the script has not leased it.
        let Some(record) = record else { continue };
        let text = String::from_utf8_lossy(id);
        match text.parse() {
            Ok(id) => tasks.push(Leased {
                id,
                record,
                // A count that cannot be read must not hold up the task.
                losses: losses.and_then(Result::ok).flatten().unwrap_or(0),
            }),
            // Nor must what someone else has put there hold up the tasks beside it. It stays with
            // this worker, then with others, until it has lost too many and is a dead letter.
            Err(fault) => tracing::error!(%fault, "what was leased is no task"),
        }
    }
    tasks
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
