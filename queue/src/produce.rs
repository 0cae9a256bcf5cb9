//! Enqueueing: checks, ids, packing, and the repetition of a call whose answer was lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::{Packed, arrange, buckets, next_slice};
use crate::fault::Fault;
use crate::payload::fits;
use crate::queue::{Known, Queue};
use crate::record::pack_new;
use crate::script::{self, Call};
use crate::{Error, NewTask, TaskId};

/// How long an enqueue is tried while Redis is away; then its caller hears of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first wait between two tries; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(25);
/// Longest task type, in bytes.
const MAX_KIND_BYTES: usize = 128;
/// Longest delay: ten years.
const MAX_DELAY: Duration = Duration::from_hours(10 * 365 * 24);

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

impl Queue {
    /// Enqueues one task and returns its id. Tried for up to two seconds while Redis is away; a
    /// call that was repeated because its answer was lost never enqueues twice.
    pub async fn enqueue(&self, task: NewTask) -> Result<TaskId, Error> {
        let id = self.client().next_task_id();
        let task = [(id, task)];
        self.check_all(&task).await?;
        self.put(&task).await?;
        Ok(id)
    }

    /// Enqueues many and returns their ids in the order given. Every task is checked before the
    /// first is written. Each slice of up to 1000 tasks and 4 MiB is written whole or not at all.
    pub async fn enqueue_many(&self, tasks: Vec<NewTask>) -> Result<Vec<TaskId>, Error> {
        let tasks: Vec<_> = tasks
            .into_iter()
            .map(|task| (self.client().next_task_id(), task))
            .collect();
        self.check_all(&tasks).await?;
        let mut rest = tasks.as_slice();
        while !rest.is_empty() {
            let (slice, more) = rest.split_at(next_slice(
                rest.iter().map(|(_, task)| task.payload.as_bytes().len()),
            ));
            self.put(slice).await?;
            rest = more;
        }
        Ok(tasks.into_iter().map(|(id, _)| id).collect())
    }

    /// Checks tasks against the policy as last read, and before it refuses one, against the one in
    /// force.
    async fn check_all(&self, tasks: &[(TaskId, NewTask)]) -> Result<(), Error> {
        let check = |known: &Known| {
            tasks
                .iter()
                .try_for_each(|(_, task)| self.check(known, task).map(drop))
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

    /// Writes one slice.
    async fn put(&self, tasks: &[(TaskId, NewTask)]) -> Result<(), Error> {
        let mut patience = Patience::new();
        let mut repeated = false;
        loop {
            match self.put_once(tasks, repeated).await {
                Ok(()) => return Ok(()),
                Err(fault) => repeated |= patience.bear(fault).await?,
            }
        }
    }

    async fn put_once(&self, tasks: &[(TaskId, NewTask)], repeated: bool) -> Result<(), Fault> {
        let mut rounds = self.rounds();
        loop {
            let known = rounds.next().await?;
            let packed = self.pack(&known, tasks).map_err(Fault::not_done)?;
            let call = self.enqueue_call(&known, packed, repeated);
            if self.ask(&script::ENQUEUE, &call).await?.is_some() {
                return Ok(());
            }
        }
    }

    fn enqueue_call(&self, known: &Known, mut packed: Vec<Packed>, repeated: bool) -> Call {
        let done: Vec<String> = if repeated {
            let runs = buckets(packed.iter().map(|task| task.id)).into_iter();
            runs.map(|(id, _)| self.keys().done(id.bucket())).collect()
        } else {
            Vec::new()
        };
        let counts = arrange(&mut packed, known.lists.len());
        let call = self
            .call(&script::ENQUEUE, known, &done)
            .arg(if repeated { "1" } else { "0" });
        let mut call = self.announcing(call, known);
        let delayed = || packed.iter().filter(|task| task.delay_ms > 0);
        call.push(delayed().count());
        for count in counts {
            call.push(count);
        }
        for task in delayed() {
            call.push(task.delay_ms);
        }
        for task in &packed {
            call.push(task.id.as_str());
            call.push(task.record.as_slice());
        }
        call
    }

    /// Packs tasks under a policy, which may have changed since they were checked.
    fn pack(&self, known: &Known, tasks: &[(TaskId, NewTask)]) -> Result<Vec<Packed>, Error> {
        let now_ms = self.link().clock().now_ms();
        let mut packed = Vec::with_capacity(tasks.len());
        for (id, task) in tasks {
            let level = self.check(known, task)?;
            let delay_ms = u64::try_from(task.delay.as_millis()).unwrap_or(u64::MAX);
            let due_ms = if delay_ms > 0 { now_ms + delay_ms } else { 0 };
            let name = &known.policy.levels[level];
            packed.push(Packed {
                id: *id,
                level,
                delay_ms,
                record: pack_new(name, now_ms, due_ms, &task.kind, task.payload.as_bytes()),
            });
        }
        Ok(packed)
    }

    /// Checks a task against the policy and returns its level.
    fn check(&self, known: &Known, task: &NewTask) -> Result<usize, Error> {
        let policy = &known.policy;
        fits(
            "payload",
            task.payload.as_bytes().len(),
            policy.max_payload_bytes as usize,
        )?;
        fits("type", task.kind.len(), MAX_KIND_BYTES)?;
        if task.kind.is_empty() || task.kind.chars().any(char::is_control) {
            let rule = "1 to 128 bytes without control characters";
            return Err(Error::invalid("type", &task.kind, rule));
        }
        if task.delay > MAX_DELAY {
            let value = format!("{} s", task.delay.as_secs());
            return Err(Error::invalid("delay", &value, "at most 10 years"));
        }
        match &task.priority {
            None => Ok(policy.default_level()),
            Some(level) => policy
                .levels
                .iter()
                .position(|known| known == level)
                .ok_or_else(|| Error::UnknownLevel {
                    queue: self.name().to_string(),
                    level: level.chars().take(128).collect(),
                    known: policy.levels.clone(),
                }),
        }
    }
}
