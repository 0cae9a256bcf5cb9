//! The figures of queues, many in one round trip.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use redis::Value;

use crate::Error;
use crate::client::Client;
use crate::clock::timestamp;
use crate::lease::retention;
use crate::question::Question;
use crate::queue::{Known, Queue};
use crate::record::runnable_since_ms;
use crate::reply::{Reply, Status};
use crate::script::{self, Call, args};
use crate::worker::LONGEST_LEASE;

/// The figures of a queue at one instant of the clock of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// When, by the clock of Redis.
    pub now: Timestamp,
    /// Runnable and not leased, by level, highest first; levels retired by a policy edit last. What has
    /// expired does not count, here and in `due`: it only waits for [`Queue::tidy`] to end it. Of more
    /// than 200 such tasks the rest counts.
    pub waiting: Vec<(String, u64)>,
    /// Delayed or to be retried, due or not.
    pub scheduled: u64,
    /// Of those the ones that are due already: runnable, and not moved to a level yet.
    pub due: u64,
    /// Leased.
    pub active: u64,
    /// Those of them that are leased to workers whose lease has lapsed: until somebody reclaims them,
    /// nobody runs them.
    pub lost: u64,
    /// Dead letters.
    pub dead: u64,
    /// Tasks that wait for others with their concurrency key, and so are not runnable.
    pub blocked: u64,
    /// How long the oldest runnable task has been runnable.
    pub oldest_waiting: Option<Duration>,
    /// When the next scheduled task is due; in the past if it is due already.
    pub next_due: Option<Timestamp>,
    /// Workers with a lease in force.
    pub workers: u64,
    /// Workers whose lease has lapsed and whose tasks wait for a reclaim.
    pub expired_workers: u64,
    /// When [`Queue::tidy`] has something to do next, of a queue that holds no task and has no worker.
    pub tidy_at: Option<Timestamp>,
    /// What keeps workers from taking tasks, as one of them told last; see [`Queue::tell_fault`].
    pub fault: Option<String>,
    /// Totals since the queue was made.
    pub counters: Counters,
    /// The version of the policy in force, 0 for the default.
    pub version: u64,
}

impl Snapshot {
    /// All that is runnable and not leased: what waits in the levels and what is due.
    pub fn backlog(&self) -> u64 {
        self.waiting.iter().map(|(_, tasks)| tasks).sum::<u64>() + self.due
    }
}

/// Totals since the queue was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tasks enqueued.
    pub enqueued: u64,
    /// Tasks completed.
    pub completed: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Failures that are or were to be tried again.
    pub retried: u64,
    /// Tasks that became dead letters.
    pub dead: u64,
    /// Leases lost with their worker.
    pub lost: u64,
    /// Tasks handed back.
    pub released: u64,
    /// Dead letters sent round again.
    pub redriven: u64,
    /// Dead letters thrown away, by hand or by the policy's bounds.
    pub purged: u64,
    /// Attempts put off by their handlers.
    pub snoozed: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Tasks that did not start in time.
    pub expired: u64,
    /// Tasks dropped by a retry rule.
    pub dropped: u64,
    /// Ids whose tasks are gone from Redis although nobody ended them, counted as they are met: their
    /// records were evicted, or deleted by somebody else. Any number above 0 says that tasks were lost.
    /// A task whose record is there and whose place went (a whole list, say) counts when it is put back;
    /// what went together with its place is not met and not counted; where the count of cancelled ids
    /// went, those count as missing.
    pub missing: u64,
    /// Ends, and failed attempts, that the log of ends was told of since there is one.
    pub logged: u64,
    /// Those that it could not be told of: somebody else has written in its place, or a right is missing.
    pub unlogged: u64,
    /// Live events that could not be told to who listened, for the same reasons.
    pub untold: u64,
    /// Time that completed attempts ran, together.
    pub run: Duration,
}

impl Client {
    /// The figures of many queues in one round trip (to each node of a cluster), in the order given. A second one is needed
    /// only for queues whose policy was never read or has changed since. One queue's error is no
    /// other's.
    pub async fn snapshot(&self, queues: &[Queue]) -> Vec<Result<Snapshot, Error>> {
        let known = join_all(queues.iter().map(Queue::known)).await;
        let known: Vec<_> = known
            .into_iter()
            .map(|known| known.map_err(Error::from))
            .collect();
        let asked: Vec<usize> = (0..queues.len())
            .filter(|&place| known[place].is_ok())
            .collect();
        let mut results: Vec<Result<Snapshot, Error>> = Vec::with_capacity(queues.len());
        let mut answers = self.ask_all(queues, &known, &asked).await.into_iter();
        for (queue, known) in queues.iter().zip(&known) {
            let result = match known {
                Err(error) => Err(error.clone()),
                Ok(known) => match answers.next() {
                    Some(Ok(value)) => queue
                        .open(&script::SNAPSHOT, value, None)
                        .and_then(|answer| take(queue, known, answer)),
                    Some(Err(error)) => Err(error),
                    None => Err(self.link().faults().script("snapshot", "no answer".into())),
                },
            };
            results.push(match result {
                Ok(Some(snapshot)) => Ok(snapshot),
                Ok(None) => queue.snapshot_anew().await,
                Err(error) => Err(error),
            });
        }
        results
    }

    async fn ask_all(
        &self,
        queues: &[Queue],
        known: &[Result<std::sync::Arc<Known>, Error>],
        asked: &[usize],
    ) -> Vec<Result<Value, Error>> {
        let calls: Vec<_> = asked
            .iter()
            .filter_map(|&place| {
                let queue = &queues[place];
                let call = queue.snapshot_call(known[place].as_ref().ok()?);
                Some((queue.link().slot(), call))
            })
            .collect();
        let questions: Vec<_> = calls
            .iter()
            .map(|(slot, call)| (*slot, Question::Script(call)))
            .collect();
        self.link().read_all(&questions).await
    }
}

impl Queue {
    fn snapshot_call(&self, known: &Known) -> Call {
        let longest_lease = LONGEST_LEASE.into();
        self.call(known, &[], &args::Snapshot { longest_lease })
    }

    /// The figures of a queue whose policy has changed since it was read.
    async fn snapshot_anew(&self) -> Result<Snapshot, Error> {
        let mut rounds = self.rounds_anew();
        loop {
            let known = rounds.next().await?;
            let answer = self.read(&self.snapshot_call(&known)).await?;
            if let Some(snapshot) = take(self, &known, answer)? {
                return Ok(snapshot);
            }
        }
    }
}

/// Takes the script's answer apart; `None` if it is to be asked again, alone.
fn take(
    queue: &Queue,
    known: &Known,
    (status, mut reply): (Status, Reply<'_>),
) -> Result<Option<Snapshot>, Error> {
    if matches!(status, Status::Stale | Status::Old) {
        return Ok(None);
    }
    let wrong = |what: &str| {
        let reason = format!("answered with {what} that are none");
        queue.link().faults().script(script::SNAPSHOT.name, reason)
    };
    let now_ms = reply.now_ms;
    let counters: String = reply.next()?;
    let counters = Counters::read(&counters).ok_or_else(|| wrong("counters"))?;
    let fault: String = reply.next()?;
    let mut tidy_at_ms = None;
    let (figures, heads): (Figures, Vec<Vec<u8>>) = if status == Status::Rest {
        let firsts: String = reply.next()?;
        let (unique, kept) = firsts_of(&firsts).ok_or_else(|| wrong("times"))?;
        let forgotten = kept.map(|kept| kept.saturating_add(retention(&known.policy)));
        tidy_at_ms = unique.into_iter().chain(forgotten).min();
        (Figures::default(), Vec::new())
    } else {
        let figures: String = reply.next()?;
        let figures = Figures::read(&figures).ok_or_else(|| wrong("figures"))?;
        (figures, reply.next()?)
    };
    let levels = known.policy.levels.iter().chain(&known.policy.retired);
    let lengths = figures.lengths.into_iter().chain(std::iter::repeat(0));
    let overdue = figures.next_due_ms.filter(|&due| due <= now_ms);
    let since = heads.iter().filter_map(|head| runnable_since_ms(head));
    let oldest = since.chain(overdue).min();
    Ok(Some(Snapshot {
        now: timestamp(now_ms),
        waiting: levels.cloned().zip(lengths).collect(),
        scheduled: figures.scheduled,
        due: figures.due,
        active: figures.active,
        lost: figures.lost,
        dead: figures.dead,
        blocked: figures.parked,
        oldest_waiting: oldest.map(|since| Duration::from_millis(now_ms.saturating_sub(since))),
        next_due: figures.next_due_ms.map(timestamp),
        workers: figures.workers,
        expired_workers: figures.lapsed,
        tidy_at: tidy_at_ms.map(timestamp),
        fault: Some(fault).filter(|fault| !fault.is_empty()),
        counters,
        version: known.version_number(),
    }))
}

/// What the script says of a queue at rest: two times, each -1 for none.
fn firsts_of(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unique, kept) = text.split_once(' ')?;
    Some((millis(unique.parse().ok()?), millis(kept.parse().ok()?)))
}

/// What the script says of a queue that is not at rest, in its order.
#[derive(Default)]
struct Figures {
    scheduled: u64,
    due: u64,
    next_due_ms: Option<u64>,
    active: u64,
    lost: u64,
    dead: u64,
    parked: u64,
    workers: u64,
    lapsed: u64,
    lengths: Vec<u64>,
}

impl Figures {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut count = || words.next()?.parse::<u64>().ok();
        let (scheduled, due) = (count()?, count()?);
        let next_due_ms = millis(words.next()?.parse().ok()?);
        let mut count = || words.next()?.parse::<u64>().ok();
        Some(Self {
            scheduled,
            due,
            next_due_ms,
            active: count()?,
            lost: count()?,
            dead: count()?,
            parked: count()?,
            workers: count()?,
            lapsed: count()?,
            lengths: words.map(|word| word.parse().ok()).collect::<Option<_>>()?,
        })
    }
}

/// A sorted set's score, which Redis prints as a number that need not be whole; below 0 for none.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked, and milliseconds are whole"
)]
pub(crate) fn millis(score: f64) -> Option<u64> {
    (score >= 0.0).then_some(score as u64)
}

impl Counters {
    /// Names and values, one behind the other. A counter that never counted is missing, and other names
    /// are not ours to read.
    fn read(text: &str) -> Option<Self> {
        let mut counters = Self::default();
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        while let Some(name) = words.next() {
            let value = words.next()?;
            let counter = match name {
                "enqueued" => &mut counters.enqueued,
                "completed" => &mut counters.completed,
                "failed" => &mut counters.failed,
                "retried" => &mut counters.retried,
                "dead" => &mut counters.dead,
                "lost" => &mut counters.lost,
                "released" => &mut counters.released,
                "redriven" => &mut counters.redriven,
                "purged" => &mut counters.purged,
                "snoozed" => &mut counters.snoozed,
                "cancelled" => &mut counters.cancelled,
                "expired" => &mut counters.expired,
                "dropped" => &mut counters.dropped,
                "missing" => &mut counters.missing,
                "logged" => &mut counters.logged,
                "unlogged" => &mut counters.unlogged,
                "untold" => &mut counters.untold,
                "run_ms" => {
                    counters.run = Duration::from_millis(value.parse().ok()?);
                    continue;
                }
                _ => continue,
            };
            *counter = value.parse().ok()?;
        }
        Some(counters)
    }
}
