//! The record of a task that has ended, other than as a dead letter. Pure.

use super::{Extras, Record, Site, corrupt, failures};
use crate::clock::timestamp;
use crate::pack::{Malformed, Reader, Writer};
use crate::{
    Attempt, AttemptOutcome, Error, Happened, Payload, QueueName, State, Task, TaskId, WorkerId,
};

/// A done task keeps its payload up to this size, so that retained results do not fill Redis.
pub(super) const MOST_RETAINED_PAYLOAD_BYTES: usize = 1_024;

/// How a task ended whose record is a done record. The numbers are what Redis holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Completed = 0,
    Cancelled = 1,
    Expired = 2,
    Dropped = 3,
}

impl Ending {
    /// What scripts and counters call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Dropped => "dropped",
        }
    }
}

impl From<Ending> for Happened {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Completed => Self::Completed,
            Ending::Cancelled => Self::Cancelled,
            Ending::Expired => Self::Expired,
            Ending::Dropped => Self::Dropped,
        }
    }
}

/// Where a task stands of which this is told. What a later version tells counts as its completion.
fn state(what: Option<Happened>) -> State {
    match what {
        None | Some(Happened::Completed) => State::Completed,
        Some(Happened::Cancelled) => State::Cancelled,
        Some(Happened::Expired) => State::Expired,
        Some(Happened::Dropped) => State::Dropped,
        Some(Happened::Dead) => State::Dead,
        Some(Happened::Failed) => State::Scheduled,
        Some(Happened::Lost) => State::Waiting,
    }
}

/// A task that has ended, or of which something else is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done<'a> {
    pub(crate) what: Happened,
    pub(crate) record: &'a Record,
    pub(crate) losses: u32,
    pub(crate) started_ms: u64,
    pub(crate) run_ms: u64,
    /// `None` if no attempt was made.
    pub(crate) worker: Option<WorkerId>,
    pub(crate) result: Option<&'a [u8]>,
    /// Whether it is logged: then what else there is to know of the task stands behind the rest.
    pub(crate) logged: bool,
    /// Pod, node and span of its last attempt, where they are worth their bytes: it failed before, or was traced.
    pub(crate) site: Option<&'a Site>,
}

impl Done<'_> {
    /// What happened, type, attempts, losses, created, wait until it started, run
    /// time, worker, errors, result, payload. Times as spans because small numbers pack small. If it is
    /// logged, then level, due time, unique key, concurrency key, `traceparent`, idempotency key, 0 and texts empty for none.
    /// Behind these, empty if they are not wanted, where the last attempt ran, if that is kept.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let record = self.record;
        let payload = Some(record.payload.as_slice())
            .filter(|bytes| bytes.len() <= MOST_RETAINED_PAYLOAD_BYTES);
        let long = [self.result, payload]
            .into_iter()
            .flatten()
            .map(<[u8]>::len)
            .sum::<usize>();
        let mut writer = Writer::after(&[], 64 + record.kind.len() + long);
        writer.array(match (self.site, self.logged) {
            (Some(_), _) => 18,
            (None, true) => 17,
            (None, false) => 11,
        });
        writer.uint(self.what as u64);
        writer.text(&record.kind);
        writer.uint(record.attempts.into());
        writer.uint(self.losses.into());
        writer.uint(record.created_ms);
        writer.uint(self.started_ms.saturating_sub(record.created_ms));
        writer.uint(self.run_ms);
        writer.text(self.worker.as_ref().map_or("", WorkerId::as_str));
        failures::pack(&mut writer, &record.errors);
        writer.maybe_bytes(self.result);
        writer.maybe_bytes(payload);
        if self.logged {
            let none = Extras::default();
            let extras = record.extras.as_deref().unwrap_or(&none);
            writer.text(&record.level);
            writer.uint(record.due_ms);
            writer.text(&extras.unique);
            writer.text(extras.given_concurrency_key());
            writer.text(&extras.trace_parent);
            writer.text(&extras.idempotency_key);
        }
        if let Some(site) = self.site {
            if !self.logged {
                writer.text("");
                writer.uint(0);
                for _ in 0..4 {
                    writer.text("");
                }
            }
            site.pack(&mut writer);
        }
        writer.finish(&[])
    }
}

/// The ended task of a done record.
pub(crate) fn unpack_done(id: TaskId, queue: QueueName, bytes: &[u8]) -> Result<Task, Error> {
    match read_done(id, queue, bytes) {
        Ok((_, task, _)) => Ok(task),
        Err(reason) => Err(corrupt("an ended task's record", &reason)),
    }
}

/// What the log tells of a task: what happened, the task, and its `traceparent`.
pub(crate) fn unpack_logged(
    id: TaskId,
    queue: QueueName,
    bytes: &[u8],
) -> Result<(Happened, Task, Option<String>), Error> {
    let wrong = |reason: &dyn std::fmt::Display| corrupt("an entry of the log of ends", reason);
    match read_done(id, queue, bytes) {
        Ok((Some(what), task, trace_parent)) => Ok((what, task, trace_parent)),
        Ok((None, ..)) => Err(wrong(&"what happened is not known")),
        Err(reason) => Err(wrong(&reason)),
    }
}

type Read = (Option<Happened>, Task, Option<String>);

fn read_done(id: TaskId, queue: QueueName, bytes: &[u8]) -> Result<Read, Malformed> {
    let mut reader = Reader::new(bytes);
    // What a later version has beyond these is not read, and never written again.
    let more = reader.array_of(11)?;
    let what = Happened::of(reader.uint()?);
    let kind = reader.text()?.to_owned();
    let (attempts, losses) = (reader.uint()?, reader.uint()?);
    let created: u64 = reader.uint()?;
    let started = created.saturating_add(reader.uint()?);
    let finished = started.saturating_add(reader.uint()?);
    let worker: Option<WorkerId> = reader.text()?.parse().ok();
    let errors = failures::unpack(&mut reader)?;
    let result = reader.maybe_bytes()?;
    let payload = reader.maybe_bytes()?;
    let owned = |bytes: &[u8]| Payload::trusted(bytes.to_vec());
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut task = Task {
        id,
        queue,
        kind,
        state: state(what),
        priority: None,
        attempts,
        losses,
        created: timestamp(created),
        due: None,
        started: worker.is_some().then(|| timestamp(started)),
        finished: Some(timestamp(finished)),
        worker,
        history: errors.iter().map(Attempt::failed).collect(),
        errors: errors.into_iter().map(|noted| noted.failure).collect(),
        payload: payload.map(owned),
        result: result.map(owned),
        progress: None,
        expires: None,
        unique_key: None,
        concurrency_key: None,
        idempotency_key: None,
        overrides: None,
    };
    let mut trace_parent = None;
    if more >= 5 {
        task.priority = given(reader.text()?);
        let due: u64 = reader.uint()?;
        task.due = (due > 0).then(|| timestamp(due));
        task.unique_key = given(reader.text()?);
        task.concurrency_key = given(reader.text()?);
        trace_parent = given(reader.text()?);
    }
    if more >= 6 {
        task.idempotency_key = given(reader.text()?);
    }
    let site = if more >= 7 {
        Site::unpack(&mut reader)?
    } else {
        Site::default()
    };
    add_last_attempt(&mut task, what, &site);
    Ok((what, task, trace_parent))
}

/// Of the attempts, those that failed are among the errors; the last one may have ended otherwise.
fn add_last_attempt(task: &mut Task, what: Option<Happened>, site: &Site) {
    let outcome = match what {
        None | Some(Happened::Completed) => AttemptOutcome::Completed,
        Some(Happened::Cancelled) => AttemptOutcome::Cancelled,
        _ => return,
    };
    if task.worker.is_none() {
        return;
    }
    let number = task.attempts.saturating_add(1);
    let mut attempt = Attempt::over(number, outcome, task.started, task.finished, task.worker);
    attempt.at(site);
    task.history.push(attempt);
}
