//! Enqueueing: the calls, and the repetition of one whose answer was lost. What a task must be is in
//! `check`, how calls made at the same time become one in `gather`.

mod carry;
mod check;
mod fingerprint;
mod full;
mod gather;
mod packed;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use self::check::{MAX_SPAN, key_is_fit, level_place};
pub(crate) use self::gather::Gather;
use self::packed::{Arranged, Packed, arrange};
use crate::batch::{buckets, next_slice};
use crate::fault::Fault;
use crate::payload::fits;
use crate::queue::{Known, Queue};
use crate::reply::{Status, ids};
use crate::script::{Call, args};
use crate::{Enqueued, Error, NewTask, Policy, TaskId};

/// How long an enqueue is tried while Redis is away; then its caller hears of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first wait between two tries; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(25);
/// Most tasks that are enqueued whole or not at all.
pub const MAX_BATCH_TASKS: usize = 10_000;
/// Most bytes of payloads that are enqueued whole or not at all.
pub const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// How much longer a call is tried while Redis is away.
struct Patience {
    until: Instant,
    wait: Duration,
}

impl Patience {
    fn new() -> Self {
        Self {
            until: Instant::now() + PATIENCE,
            wait: FIRST_WAIT,
        }
    }

    /// Waits before the next try and says whether the failed one may have been done after all; or
    /// gives up.
    async fn bear(&mut self, fault: Fault) -> Result<bool, Error> {
        if !fault.error.is_transient() || Instant::now() + self.wait > self.until {
            return Err(fault.error);
        }
        tokio::time::sleep(self.wait).await;
        self.wait *= 2;
        Ok(fault.maybe_done)
    }
}

/// Whether the tasks of one call are taken together or each on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// All of them or, if there is no room, none.
    Together,
    /// As many as there is room for.
    Apart,
}

/// What became of one slice.
pub(crate) enum Put {
    /// Taken in, but for those that another task stands for, or that found no room.
    Done {
        standing: HashMap<TaskId, TaskId>,
        left_out: Vec<TaskId>,
        /// Those whose idempotency keys stand for tasks that ask for something else.
        conflicts: HashMap<TaskId, TaskId>,
    },
    /// Not taken in.
    Full(Error),
}

type NewTasks = [(TaskId, NewTask)];

impl Queue {
    /// Enqueues one task. Tried for up to two seconds while Redis is away; a call that was repeated
    /// because its answer was lost never enqueues twice. Calls made at the same time share a round
    /// trip.
    pub async fn enqueue(&self, task: NewTask) -> Result<Enqueued, Error> {
        let task = (self.client().next_task_id(), task);
        self.check_all(std::slice::from_ref(&task)).await?;
        self.enqueue_gathered(task).await
    }

    /// Enqueues a batch whole or not at all: up to [`MAX_BATCH_TASKS`] tasks with payloads of up to
    /// [`MAX_BATCH_BYTES`] together. The answers are in the order given.
    pub async fn enqueue_many(&self, tasks: Vec<NewTask>) -> Result<Vec<Enqueued>, Error> {
        if tasks.len() > MAX_BATCH_TASKS {
            return Err(Error::TooMany {
                count: tasks.len(),
                limit: MAX_BATCH_TASKS,
            });
        }
        let bytes = tasks.iter().map(|task| task.payload.as_bytes().len()).sum();
        fits("batch", bytes, MAX_BATCH_BYTES)?;
        let tasks = self.with_ids(tasks);
        self.check_all(&tasks).await?;
        self.put_whole(&tasks).await
    }

    /// Enqueues any number of tasks, in slices of up to 1000 tasks and 4 MiB, each of which is
    /// written whole or not at all. Every task is checked before the first is written; after an
    /// error, the slices before it are in the queue.
    pub async fn enqueue_all(
        &self,
        tasks: impl IntoIterator<Item = NewTask>,
    ) -> Result<Vec<Enqueued>, Error> {
        let tasks = self.with_ids(tasks);
        self.check_all(&tasks).await?;
        let mut enqueued = Vec::with_capacity(tasks.len());
        let mut rest = tasks.as_slice();
        while !rest.is_empty() {
            let sizes = rest.iter().map(|(_, task)| task.payload.as_bytes().len());
            let (slice, more) = rest.split_at(next_slice(sizes));
            enqueued.extend(self.put_whole(slice).await?);
            rest = more;
        }
        Ok(enqueued)
    }

    fn with_ids(&self, tasks: impl IntoIterator<Item = NewTask>) -> Vec<(TaskId, NewTask)> {
        let client = self.client();
        let numbered = tasks.into_iter().map(|task| (client.next_task_id(), task));
        numbered.collect()
    }

    /// Checks tasks against the policy as last read, and before it refuses one, against the one in
    /// force.
    async fn check_all(&self, tasks: &NewTasks) -> Result<(), Error> {
        let check = |known: &Known| {
            let mut tasks = tasks.iter();
            tasks.try_for_each(|(_, task)| check::check(self.name(), &known.policy, task).map(drop))
        };
        if let Some(known) = self.remembered()
            && check(&known).is_ok()
        {
            return Ok(());
        }
        check(&*self.refresh_patiently().await?)
    }

    async fn refresh_patiently(&self) -> Result<Arc<Known>, Error> {
        let mut patience = Patience::new();
        loop {
            match self.refresh().await {
                Ok(known) => return Ok(known),
                Err(fault) => patience.bear(fault).await?,
            };
        }
    }

    async fn put_whole(&self, tasks: &NewTasks) -> Result<Vec<Enqueued>, Error> {
        match self.put(tasks, Taken::Together).await? {
            Put::Full(error) => Err(error),
            Put::Done { standing, .. } => {
                let ids = tasks.iter().map(|(id, _)| *id);
                Ok(ids.map(|id| enqueued(id, &standing)).collect())
            }
        }
    }

    /// Writes one slice.
    async fn put(&self, tasks: &NewTasks, taken: Taken) -> Result<Put, Error> {
        let mut patience = Patience::new();
        let mut repeated = false;
        loop {
            match self.put_once(tasks, taken, repeated).await {
                Ok(put) => return Ok(put),
                Err(fault) => repeated |= patience.bear(fault).await?,
            }
        }
    }

    /// One call; `repeated` if it may have been done before.
    pub(crate) async fn put_once(
        &self,
        tasks: &NewTasks,
        taken: Taken,
        repeated: bool,
    ) -> Result<Put, Fault> {
        let pack = |policy: &Policy, now_ms| check::pack(self.name(), policy, tasks, now_ms);
        self.put_packed(pack, tasks.len(), taken, repeated).await
    }

    /// The same of `count` tasks that `pack` makes under a policy, at a time in ms.
    async fn put_packed(
        &self,
        pack: impl Fn(&Policy, u64) -> Result<Vec<Packed>, Error>,
        count: usize,
        taken: Taken,
        repeated: bool,
    ) -> Result<Put, Fault> {
        let mut rounds = self.rounds();
        loop {
            let known = rounds.next().await?;
            let now_ms = self.link().clock().now_ms();
            let packed = pack(&known.policy, now_ms);
            let arranged = arrange(packed.map_err(Fault::not_done)?, known.lists.len());
            let call = self.enqueue_call(&known, &arranged, taken, repeated);
            let (status, mut reply) = self.answer(&call).await?;
            match status {
                Status::Stale => {}
                Status::Full => {
                    let full = full::read(&mut reply, self.link().clock().now_ms(), count as u64)?;
                    return Ok(Put::Full(full.refusal(self.name(), &known.policy)));
                }
                Status::Conflict => {
                    let (id, stands) = (reply.next::<String>()?, reply.next::<String>()?);
                    let (id, stands) = (id.parse()?, stands.parse()?);
                    let key = arranged.idempotency_key_of(id);
                    return Err(Fault::not_done(self.conflict(key, stands)));
                }
                _ => {
                    let left_out = ids(&reply.next::<Vec<String>>()?)?;
                    return Ok(Put::Done {
                        left_out,
                        standing: pairs(&ids(&reply.next::<Vec<String>>()?)?),
                        conflicts: pairs(&ids(&reply.next::<Vec<String>>()?)?),
                    });
                }
            }
        }
    }

    /// What is said to the caller of a task with this key, which stands for another one.
    fn conflict(&self, key: &str, stands: TaskId) -> Error {
        Error::KeyConflict {
            queue: self.name().to_string(),
            key: key.chars().take(128).collect(),
            id: stands,
        }
    }

    fn enqueue_call(
        &self,
        known: &Known,
        arranged: &Arranged,
        taken: Taken,
        repeated: bool,
    ) -> Call {
        let keys = if repeated {
            self.bucket_keys(&buckets(arranged.sorted_ids()))
        } else {
            Vec::new()
        };
        let told = self.announcing(known);
        let asked = args::Enqueue {
            repeated: repeated.into(),
            wakes: told.wakes,
            channel: told.channel,
            queue: told.queue,
            most_waiting: known.policy.limits.max_backlog.into(),
            together: (taken == Taken::Together).into(),
            scheduled: arranged.later.len().into(),
            special: arranged.special.len().into(),
        };
        let mut call = self.call(known, &keys, &asked);
        arranged.push_to(&mut call);
        call
    }
}

fn pairs(ids: &[TaskId]) -> HashMap<TaskId, TaskId> {
    let pairs = ids.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    pairs.collect()
}

fn enqueued(id: TaskId, standing: &HashMap<TaskId, TaskId>) -> Enqueued {
    match standing.get(&id) {
        Some(existing) => Enqueued::Existing(*existing),
        None => Enqueued::New(id),
    }
}
