//! What keeps a queue moving whoever else is alive: promotion of due tasks, reclaim of lapsed
//! leases, expiry, schedules, and the bounds of what is kept. Every worker does it with its
//! heartbeat; so may anyone else, at any time and as often as they like.

use std::collections::HashMap;
use std::time::Duration;

use crate::batch::MOST_TASKS;
use crate::cancel::Unstarted;
use crate::fault::Fault;
use crate::later::near;
use crate::lease::{LEAST_RETENTION, millis, retention};
use crate::queue::Queue;
use crate::record::Ending;
use crate::reply::Reply;
use crate::reply::buckets_named;
use crate::retry::on_loss;
use crate::stranded::LOOKED_EVERY;
use crate::worker::{LONGEST_LEASE, USUAL_LEASE};
use crate::{Cause, Error, MAX_PAYLOAD_BYTES, TaskId, WorkerId, script};

/// How much of each kind one survey returns.
const MOST: usize = 200;
/// Bytes of records that one survey returns, or one record.
const MOST_BYTES: usize = 1024 * 1024;
/// More than any record has: a payload, and what is around it.
const LARGEST_RECORD: usize = MAX_PAYLOAD_BYTES + MOST_BYTES;
/// Most rounds of one call, so that it ends however much there is to do; the next call goes on.
const ROUNDS: usize = 50;
/// Most calls that go through one list, of a thousand tasks or two hundred keys each; the next call of
/// whoever tidies goes on. No honest server comes near it.
const MOST_CALLS: usize = 1_000;
/// How long what keeps workers from taking tasks is kept after the clock went back, when it cannot be
/// told any more for how long it was to be. Workers tell it again all the while.
const FAULT_KEPT: Duration = Duration::from_secs(30);
/// Bytes kept of what is known of the loss of a worker.
const MOST_DETAIL_BYTES: usize = 512;

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
    spans: Vec<u64>,
    buckets: Vec<String>,
    last_runs: HashMap<String, String>,
    /// Whether parked tasks are to be let in: the policy has changed.
    unpark: bool,
    /// The names of all shelves, if tasks are to be looked for that lie nowhere.
    shelves: Option<Vec<Vec<u8>>>,
}

impl Survey {
    /// Whether there may be more of something.
    fn is_full(&self) -> bool {
        let found = [self.expired.len(), self.marked.len(), self.buckets.len()];
        let records = self.expired.iter().chain(&self.marked);
        let bytes: usize = records.map(|task| task.record.len()).sum();
        bytes >= MOST_BYTES || found.into_iter().any(|found| found >= MOST)
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

    /// Takes back what workers with a lapsed lease hold, to the heads of the levels; a task that
    /// has lost more workers than the policy allows goes to the dead letters.
    ///
    /// When nobody has looked for lapsed leases for more than five seconds, the server may have been
    /// away, or its clock have gone forward, and no worker could beat: then all are given ten seconds
    /// first, once.
    pub async fn reclaim(&self) -> Result<Reclaimed, Error> {
        self.reclaim_beside(USUAL_LEASE).await
    }

    /// The same for one of workers with such a lease.
    pub(crate) async fn reclaim_beside(&self, lease: Duration) -> Result<Reclaimed, Error> {
        self.reclaim_from(&[], Cause::WorkerLost, "", lease).await
    }

    /// Takes back at once what workers hold that are known to be gone, and why: `cause` is what the
    /// policy's retry rules are asked for.
    pub async fn release(&self, workers: &[WorkerId], cause: Cause) -> Result<Reclaimed, Error> {
        self.release_because(workers, cause, "").await
    }

    /// The same with what is known of it, which is kept among the errors of each task: its first 512
    /// bytes. It should name the pod.
    pub async fn release_because(
        &self,
        workers: &[WorkerId],
        cause: Cause,
        detail: &str,
    ) -> Result<Reclaimed, Error> {
        if workers.is_empty() {
            return Ok(Reclaimed::default());
        }
        let detail = &detail[..detail.floor_char_boundary(MOST_DETAIL_BYTES)];
        self.reclaim_from(workers, cause, detail, USUAL_LEASE).await
    }

    async fn reclaim_from(
        &self,
        workers: &[WorkerId],
        cause: Cause,
        detail: &str,
        lease: Duration,
    ) -> Result<Reclaimed, Error> {
        let mut shelves = Vec::new();
        let mut rounds = self.rounds();
        loop {
            let known = rounds.next().await?;
            let on_loss = on_loss(&known.policy.retry, cause);
            let call = self
                .call(&script::RECLAIM, &known, &shelves)
                .arg(known.policy.max_losses);
            let mut call = self
                .announcing(call, &known)
                .arg(cause.number())
                .arg(if on_loss.dead { "dead" } else { "retry" })
                .arg(if on_loss.counts { "1" } else { "0" })
                .arg(known.policy.retry.max_attempts)
                .arg(
                    on_loss
                        .after
                        .map(|span| millis(span).to_string())
                        .unwrap_or_default(),
                )
                .arg(detail)
                .arg(millis(LONGEST_LEASE))
                .arg(millis(USUAL_LEASE))
                .arg(millis(longest_silence(lease)))
                .arg(millis(lease));
            for worker in workers {
                call.push(worker.as_str());
            }
            if let Some(mut reply) = self.ask(&script::RECLAIM, &call).await? {
                let names = buckets_named(&reply.next::<Vec<_>>()?);
                if !names.is_empty() {
                    shelves.extend(names.iter().map(|name| self.keys().shelf(name)));
                    continue;
                }
                return Ok(Reclaimed {
                    released: reply.next()?,
                    quarantined: reply.next()?,
                    workers: reply.next()?,
                });
            }
        }
    }

    /// Expires tasks that did not start in time, brings near what was scheduled far ahead, runs the
    /// schedules, forgets ended tasks beyond the policy's bounds, and now and then looks for tasks that
    /// lie nowhere and puts them back.
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
            for span in &survey.spans {
                self.unfold(*span).await?;
            }
            tidied.forgotten += self.forget(&survey.buckets).await?;
            if let Some(names) = survey.shelves {
                let stranded = self.find_stranded(buckets_named(&names)).await?;
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
        let mut rounds = self.rounds();
        loop {
            let known = rounds.next().await?;
            let policy = &known.policy;
            let call = self
                .call(&script::PROMOTE, &known, &[])
                .arg(MOST_TASKS)
                .arg(millis(policy.dead_max_age))
                .arg(policy.dead_max_count);
            let call = self.announcing(call, &known).arg(millis(FAULT_KEPT));
            if let Some(mut reply) = self.ask(&script::PROMOTE, &call).await? {
                return Ok((reply.next()?, reply.next()?));
            }
        }
    }

    async fn survey(&self) -> Result<Survey, Fault> {
        let known = self.known().await?;
        let most = known.policy.completed_max_count;
        let call = self
            .call(&script::SURVEY, &known, &[])
            .arg(MOST)
            .arg(near(self.link().clock().now_ms()))
            .arg(retention(&known.policy))
            .arg(most.map(|most| most.to_string()).unwrap_or_default())
            .arg(millis(LEAST_RETENTION))
            .arg(MOST_BYTES)
            .arg(LARGEST_RECORD)
            .arg(millis(LOOKED_EVERY));
        let value = self.link().call(&call).await?;
        let mut reply = self.reply(&script::SURVEY, value)?;
        let _status: String = reply.next()?;
        let _now: u64 = reply.next()?;
        Ok(Survey {
            expired: unstarted(&mut reply)?,
            marked: unstarted(&mut reply)?,
            spans: reply.next()?,
            buckets: reply.next()?,
            last_runs: reply.next()?,
            unpark: reply.next()?,
            shelves: reply.next()?,
        })
    }

    /// How many of these tasks were ended.
    async fn end(&self, ending: Ending, tasks: &[Unstarted]) -> Result<u64, Fault> {
        if tasks.is_empty() {
            return Ok(0);
        }
        let fates = self.remove(ending, tasks).await?;
        Ok(fates.iter().filter(|fate| *fate == "removed").count() as u64)
    }

    /// Brings near every span that is due to be.
    pub(crate) async fn unfold_near(&self) -> Result<(), Fault> {
        for span in self.survey().await?.spans {
            self.unfold(span).await?;
        }
        Ok(())
    }

    pub(crate) async fn unfold(&self, span: u64) -> Result<(), Fault> {
        let known = self.known().await?;
        let key = [self.keys().later(span)];
        let call = self.call(&script::UNFOLD, &known, &key).arg(MOST_TASKS);
        for _ in 0..MOST_CALLS {
            let value = self.link().call(&call).await?;
            let mut reply = self.reply(&script::UNFOLD, value)?;
            let _status: String = reply.next()?;
            let _now: u64 = reply.next()?;
            if reply.next::<u64>()? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Lets in what is parked although its key has room.
    pub(crate) async fn unpark(&self) -> Result<(), Fault> {
        let mut from = b"-".to_vec();
        for _ in 0..MOST_CALLS {
            let mut rounds = self.rounds();
            let mut reply = loop {
                let known = rounds.next().await?;
                let call = self
                    .call(&script::UNPARK, &known, &[])
                    .arg(from.as_slice())
                    .arg(MOST);
                if let Some(reply) = self.ask(&script::UNPARK, &call).await? {
                    break reply;
                }
            };
            if !reply.next::<bool>()? {
                break;
            }
            from = reply.next()?;
        }
        Ok(())
    }

    pub(crate) async fn forget(&self, buckets: &[String]) -> Result<u64, Fault> {
        if buckets.is_empty() {
            return Ok(0);
        }
        let known = self.known().await?;
        let keys: Vec<String> = buckets
            .iter()
            .map(|bucket| self.keys().done(bucket))
            .collect();
        let youngest = self
            .link()
            .clock()
            .now_ms()
            .saturating_sub(millis(LEAST_RETENTION));
        let call = self.call(&script::FORGET, &known, &keys).arg(youngest);
        let value = self.link().call(&call).await?;
        let mut reply = self.reply(&script::FORGET, value)?;
        let _status: String = reply.next()?;
        let _now: u64 = reply.next()?;
        Ok(reply.next()?)
    }
}

/// For how long nobody may look for lapsed leases before that says that nobody could: workers with such
/// a lease look every third of it at the latest, and a busy machine holds up short ones.
fn longest_silence(lease: Duration) -> Duration {
    (lease / 2).max(Duration::from_secs(1))
}

/// Ids and records, side by side. What is no id of ours is nothing of ours.
fn unstarted(reply: &mut Reply<'_>) -> Result<Vec<Unstarted>, Error> {
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
