//! The record of a task that has ended, other than as a dead letter. Pure.

use super::{Record, corrupt, pack_failures, unpack_failures};
use crate::clock::timestamp;
use crate::pack::{Malformed, Reader, Writer};
use crate::{Error, Payload, QueueName, State, Task, TaskId, WorkerId};

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

    fn state(number: u64) -> State {
        match number {
            1 => State::Cancelled,
            2 => State::Expired,
            3 => State::Dropped,
            _ => State::Completed,
        }
    }
}

/// A task that has ended, other than as a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done<'a> {
    pub(crate) ending: Ending,
    pub(crate) record: &'a Record,
    pub(crate) losses: u32,
    pub(crate) started_ms: u64,
    pub(crate) run_ms: u64,
    /// `None` if no attempt was made.
    pub(crate) worker: Option<WorkerId>,
    pub(crate) result: Option<&'a [u8]>,
}

impl Done<'_> {
    /// Ending, type, attempts, losses, created, wait until it started, run
    /// time, worker, errors, result, payload. Times as spans because small numbers pack small.
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
        writer.array(11);
        writer.uint(self.ending as u64);
        writer.text(&record.kind);
        writer.uint(record.attempts.into());
        writer.uint(self.losses.into());
        writer.uint(record.created_ms);
        writer.uint(self.started_ms.saturating_sub(record.created_ms));
        writer.uint(self.run_ms);
        writer.text(self.worker.as_ref().map_or("", WorkerId::as_str));
        pack_failures(&mut writer, &record.errors);
        writer.maybe_bytes(self.result);
        writer.maybe_bytes(payload);
        writer.finish(&[])
    }
}

/// The ended task of a done record.
pub(crate) fn unpack_done(id: TaskId, queue: QueueName, bytes: &[u8]) -> Result<Task, Error> {
    read_done(id, queue, bytes).map_err(|reason| corrupt("an ended task's record", &reason))
}

fn read_done(id: TaskId, queue: QueueName, bytes: &[u8]) -> Result<Task, Malformed> {
    let mut reader = Reader::new(bytes);
    // What a later version has beyond these is not read, and never written again.
    reader.array_of(11)?;
    let state = Ending::state(reader.uint()?);
    let kind = reader.text()?.to_owned();
    let (attempts, losses) = (reader.uint()?, reader.uint()?);
    let created: u64 = reader.uint()?;
    let started = created.saturating_add(reader.uint()?);
    let finished = started.saturating_add(reader.uint()?);
    let worker: Option<WorkerId> = reader.text()?.parse().ok();
    let errors = unpack_failures(&mut reader)?;
    let result = reader.maybe_bytes()?;
    let payload = reader.maybe_bytes()?;
    let owned = |bytes: &[u8]| Payload::trusted(bytes.to_vec());
    Ok(Task {
        id,
        queue,
        kind,
        state,
        priority: None,
        attempts,
        losses,
        created: timestamp(created),
        due: None,
        started: worker.is_some().then(|| timestamp(started)),
        finished: Some(timestamp(finished)),
        worker,
        errors: errors.into_iter().map(|noted| noted.failure).collect(),
        payload: payload.map(owned),
        result: result.map(owned),
        progress: None,
        expires: None,
        unique_key: None,
        concurrency_key: None,
        overrides: None,
    })
}
