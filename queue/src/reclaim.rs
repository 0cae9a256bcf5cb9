//! Tasks of workers that are lost: taking them over, and handing them back.

use std::time::Duration;

use crate::fault::Fault;
use crate::lease::{End, Leased, Ran, Settlement};
use crate::loss::{AfterLoss, Loss};
use crate::queue::{Known, Queue};
use crate::record::Record;
use crate::script::args;
use crate::worker::{LONGEST_LEASE, USUAL_LEASE};
use crate::{Cause, Error, Logged, WorkerId};

/// Bytes kept of what is known of the loss of a worker.
const MOST_DETAIL_BYTES: usize = 512;
/// Most rounds of one call, of up to 1000 tasks or about a MiB of records each. What is left lapses
/// with the heir's lease and is taken over by whoever reclaims next.
const MOST_ROUNDS: usize = 1_000;

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
    /// Takes back what workers with a lapsed lease hold, to the heads of the levels; a task that
    /// has lost more workers than the policy allows goes to the dead letters.
    ///
    /// When nobody has looked for lapsed leases for more than five seconds, the server may have been
    /// away, or its clock have gone forward, and no worker could beat: then all are given ten seconds
    /// first, once.
    pub async fn reclaim(&self) -> Result<Reclaimed, Error> {
        self.reclaim_beside(USUAL_LEASE).await
    }

    /// As [`reclaim`](Self::reclaim), by one of workers with such a lease.
    pub(crate) async fn reclaim_beside(&self, lease: Duration) -> Result<Reclaimed, Error> {
        self.take_back(&[], Cause::WorkerLost, "", lease).await
    }

    /// Takes back at once what workers hold that are known to be gone, and why: `cause` is what the
    /// policy's retry rules are asked for. `detail` is kept among the errors of each task: its first
    /// 512 bytes; it should name the pod.
    pub async fn release(
        &self,
        workers: &[WorkerId],
        cause: Cause,
        detail: &str,
    ) -> Result<Reclaimed, Error> {
        if workers.is_empty() {
            return Ok(Reclaimed::default());
        }
        let detail = &detail[..detail.floor_char_boundary(MOST_DETAIL_BYTES)];
        self.take_back(workers, cause, detail, USUAL_LEASE).await
    }

    async fn take_back(
        &self,
        workers: &[WorkerId],
        cause: Cause,
        detail: &str,
        lease: Duration,
    ) -> Result<Reclaimed, Error> {
        let heir = self.client().next_worker_id();
        let (lost, held, now_ms) = self.inherit(heir, workers, lease).await?;
        let mut reclaimed = Reclaimed {
            workers: lost,
            ..Reclaimed::default()
        };
        if held == 0 {
            return Ok(reclaimed);
        }
        for _ in 0..MOST_ROUNDS {
            let tasks = self.held_unknown(heir, []).await?.unwrap_or_default();
            if tasks.is_empty() {
                break;
            }
            let known = self.known().await?;
            let ends: Vec<Settlement> = tasks
                .into_iter()
                .map(|task| settlement(task, &known, cause, detail, now_ms))
                .collect();
            let refused = self.settle(heir, &ends).await?;
            for settled in ends.iter().filter(|end| !refused.contains(&end.id)) {
                match settled.end {
                    End::Quarantined { .. } => reclaimed.quarantined += 1,
                    _ => reclaimed.released += 1,
                }
            }
        }
        self.leave(heir).await?;
        Ok(reclaimed)
    }

    /// Makes `heir` the holder of all that lost workers hold: of these, or of those whose lease has
    /// lapsed if there are none. How many workers were lost, how many tasks they held, and when
    /// that was by the server's clock: what is scheduled from then on is due no sooner than it says.
    async fn inherit(
        &self,
        heir: WorkerId,
        workers: &[WorkerId],
        lease: Duration,
    ) -> Result<(u64, u64, u64), Fault> {
        let known = self.known().await?;
        let lost = args::Inherit {
            heir: heir.as_str().into(),
            lease: USUAL_LEASE.into(),
            longest_lease: LONGEST_LEASE.into(),
            longest_silence: longest_silence(lease).into(),
            given: lease.into(),
        };
        let mut call = self.call(&known, &[], &lost);
        for worker in workers {
            call.push(worker.as_str());
        }
        let (_, mut reply) = self.answer(&call).await?;
        Ok((reply.next()?, reply.next()?, reply.now_ms))
    }
}

/// What becomes of a task whose worker is lost. One whose record cannot be read keeps it as it is;
/// one without a record is missing, which the script finds.
fn settlement(task: Leased, known: &Known, cause: Cause, detail: &str, now_ms: u64) -> Settlement {
    if task.record.is_empty() {
        let end = End::Lost {
            record: None,
            after: None,
        };
        let ran = Ran::default();
        return Settlement {
            id: task.id,
            end,
            ran,
        };
    }
    let loss = Loss {
        cause,
        detail,
        losses: task.losses.saturating_add(1),
        now_ms,
    };
    let (after, record) = match Record::unpack(&task.record) {
        Ok(mut record) => {
            let (policy, _) = known.of(&record);
            let befallen = loss.befalls(&mut record, &policy);
            let logged = policy.events.as_ref().map(|log| log.log) == Some(Logged::Attempts);
            let wanted = befallen.changed || logged;
            (befallen.after, wanted.then(|| record.pack()))
        }
        Err(_) => (loss.decide(0, &known.policy).after, None),
    };
    let end = match after {
        AfterLoss::Dead => End::Quarantined {
            record: record.unwrap_or(task.record),
        },
        AfterLoss::Again { after: None } => End::Lost {
            record,
            after: None,
        },
        AfterLoss::Again { after } => End::Lost {
            record: record.or(Some(task.record)),
            after,
        },
    };
    // When its last attempt began, and where, went with its worker.
    let ran = Ran {
        started_ms: now_ms,
        losses: task.losses,
        ..Ran::default()
    };
    Settlement {
        id: task.id,
        end,
        ran,
    }
}

/// For how long nobody may look for lapsed leases before that says that nobody could: workers with such
/// a lease look every third of it at the latest, and a busy machine holds up short ones.
fn longest_silence(lease: Duration) -> Duration {
    (lease / 2).max(Duration::from_secs(1))
}
