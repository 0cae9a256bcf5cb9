//! Tasks of workers that are lost: taking them over, and handing them back.

use std::collections::HashMap;
use std::time::Duration;

use crate::fault::Fault;
use crate::lease::{End, Leased, Ran, Settlement};
use crate::loss::{AfterLoss, Loss};
use crate::queue::{Known, Queue};
use crate::record::{Record, Site};
use crate::reply::Reply;
use crate::runs;
use crate::script::args;
use crate::worker::{LONGEST_LEASE, USUAL_LEASE};
use crate::workers::place_said;
use crate::{Cause, Error, TaskId, WorkerId};

/// Bytes kept of what is known of the loss of a worker.
const MOST_DETAIL_BYTES: usize = 512;
/// Most rounds of one call, of up to 1000 tasks or about a MiB of records each. What is left lapses
/// with the heir's lease and is taken over by whoever reclaims next.
const MOST_ROUNDS: usize = 1_000;
/// Of how many tasks of lost workers it is told which worker that was; of further ones it is not known.
const MOST_TOLD: usize = 10_000;
/// Bytes of what lost workers had said of what they ran.
const MOST_RUNS_BYTES: usize = 1024 * 1024;

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
        let inherited = self.inherit(heir, workers, lease).await?;
        let mut reclaimed = Reclaimed {
            workers: inherited.workers,
            ..Reclaimed::default()
        };
        if inherited.held == 0 {
            return Ok(reclaimed);
        }
        let why = Why {
            cause,
            detail,
            now_ms: inherited.now_ms,
        };
        for _ in 0..MOST_ROUNDS {
            let tasks = self.held_unknown(heir, []).await?.unwrap_or_default();
            if tasks.is_empty() {
                break;
            }
            let known = self.known().await?;
            let ends: Vec<Settlement> = tasks
                .into_iter()
                .map(|task| settlement(task, &known, why, &inherited.lost))
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
    /// lapsed if there are none.
    async fn inherit(
        &self,
        heir: WorkerId,
        workers: &[WorkerId],
        lease: Duration,
    ) -> Result<Inherited, Fault> {
        let known = self.known().await?;
        let lost = args::Inherit {
            heir: heir.as_str().into(),
            lease: USUAL_LEASE.into(),
            longest_lease: LONGEST_LEASE.into(),
            longest_silence: longest_silence(lease).into(),
            given: lease.into(),
            room: MOST_RUNS_BYTES.into(),
            most_told: MOST_TOLD.into(),
        };
        let mut call = self.call(&known, &[], &lost);
        for worker in workers {
            call.push(worker.as_str());
        }
        let (_, mut reply) = self.answer(&call).await?;
        let mut inherited = Inherited {
            now_ms: reply.now_ms,
            workers: reply.next()?,
            held: reply.next()?,
            lost: Lost::default(),
        };
        if inherited.held > 0 {
            inherited.lost = Lost::read(&mut reply)?;
        }
        Ok(inherited)
    }
}

/// What was taken over.
struct Inherited {
    /// When, by the server's clock: what is scheduled from then on is due no sooner than it says.
    now_ms: u64,
    /// How many workers were lost.
    workers: u64,
    /// How many tasks they held.
    held: u64,
    lost: Lost,
}

/// Why workers are gone, and since when.
#[derive(Clone, Copy)]
struct Why<'a> {
    cause: Cause,
    detail: &'a str,
    now_ms: u64,
}

/// What lost workers had said of themselves and of what they ran.
#[derive(Default)]
struct Lost {
    workers: Vec<LostWorker>,
    /// The place of each task's worker among them.
    holders: HashMap<TaskId, usize>,
}

struct LostWorker {
    site: Site,
    runs: HashMap<TaskId, u64>,
}

impl Lost {
    fn read(reply: &mut Reply<'_>) -> Result<Self, Error> {
        let ids: Vec<String> = reply.next()?;
        let infos: Vec<Vec<u8>> = reply.next()?;
        let runs: Vec<Vec<u8>> = reply.next()?;
        let tasks: Vec<Vec<u8>> = reply.next()?;
        let places: Vec<usize> = reply.next()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let workers = ids.into_iter().zip(infos).zip(runs);
        let workers = workers.map(|((id, info), runs)| LostWorker {
            site: match info.as_slice() {
                // An heir that died over it: it ran none of them.
                [] => Site::default(),
                info => Site {
                    worker: id,
                    ..place_said(info)
                },
            },
            runs: runs::read(&text(&runs)),
        });
        let holders = tasks.iter().zip(places);
        let holders = holders.filter_map(|(id, place)| {
            // As Lua counts.
            Some((text(id).parse().ok()?, place.checked_sub(1)?))
        });
        Ok(Self {
            workers: workers.collect(),
            holders: holders.collect(),
        })
    }

    /// Where the attempt ran that was lost.
    fn site_of(&self, id: TaskId, runnable_since_ms: u64) -> Site {
        let place = self.holders.get(&id);
        let Some(worker) = place.and_then(|place| self.workers.get(*place)) else {
            return Site::default();
        };
        let started_ms = runs::of_this(worker.runs.get(&id).copied(), runnable_since_ms);
        Site {
            started_ms: started_ms.unwrap_or(0),
            ..worker.site.clone()
        }
    }
}

/// What becomes of a task whose worker is lost. One whose record cannot be read keeps it as it is;
/// one without a record is missing, which the script finds.
fn settlement(task: Leased, known: &Known, why: Why<'_>, said: &Lost) -> Settlement {
    if task.record.is_empty() {
        let end = End::Lost {
            record: None,
            after: None,
        };
        return Settlement {
            id: task.id,
            end,
            ran: Ran::default(),
            failure: None,
        };
    }
    let loss = Loss {
        cause: why.cause,
        detail: why.detail,
        losses: task.losses.saturating_add(1),
        now_ms: why.now_ms,
    };
    let mut site = Site::default();
    let (after, record, failure) = match Record::unpack(&task.record) {
        Ok(mut record) => {
            let (policy, _) = known.of(&record);
            let before = record.errors.len();
            site = said.site_of(task.id, record.runnable_since_ms());
            let after = loss.befalls(&mut record, &policy);
            let failure = record.close(before, policy.attempts_kept, || site.clone());
            (after, Some(record.pack()), failure)
        }
        Err(_) => (loss.decide(0, &known.policy).after, None, None),
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
    // What is not known of it went with its worker.
    let started_ms = Some(site.started_ms).filter(|started| *started > 0);
    let started_ms = started_ms.unwrap_or(why.now_ms);
    let ran = Ran {
        started_ms,
        run_ms: why.now_ms.saturating_sub(started_ms),
        losses: task.losses,
        worker: site.worker.parse().ok(),
    };
    Settlement {
        id: task.id,
        end,
        ran,
        failure,
    }
}

/// For how long nobody may look for lapsed leases before that says that nobody could: workers with such
/// a lease look every third of it at the latest, and a busy machine holds up short ones.
fn longest_silence(lease: Duration) -> Duration {
    (lease / 2).max(Duration::from_secs(1))
}
