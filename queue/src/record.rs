//! What Redis holds of a task: one value, packed here and nowhere else. Pure.
//!
//! A live task is its level's name, a zero byte, a `MessagePack` array of created, due, type,
//! attempts and errors, and the payload as it is. Lua reads the level and, to quarantine or
//! redrive, edits the array. A done task is one array.

use jiff::Timestamp;

use crate::clock::timestamp;
use crate::pack::{Malformed, Reader, Writer};
use crate::{Cause, Error, Failure, Payload, QueueName, State, Task, TaskId, WorkerId};

/// Failures kept of each task, the last ones.
const MOST_ERRORS: usize = 10;
/// Bytes kept of a failure's message.
const MOST_MESSAGE_BYTES: usize = 1_024;
/// A done task keeps its payload up to this size, so that retained results do not fill Redis.
const MOST_RETAINED_PAYLOAD_BYTES: usize = 1_024;

/// A task that is waiting, scheduled, active or dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) level: String,
    pub(crate) created_ms: u64,
    /// When it becomes or became runnable; 0 when that is its creation.
    pub(crate) due_ms: u64,
    pub(crate) kind: String,
    pub(crate) attempts: u32,
    pub(crate) errors: Vec<Failure>,
    pub(crate) payload: Vec<u8>,
}

impl Record {
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut writer = begin(&self.level, self.kind.len() + self.payload.len());
        writer.uint(self.created_ms);
        writer.uint(self.due_ms);
        writer.text(&self.kind);
        writer.uint(self.attempts.into());
        pack_failures(&mut writer, &self.errors);
        writer.finish(&self.payload)
    }

    pub(crate) fn unpack(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes).map_err(|reason| corrupt("a task's record", &reason))
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let (level, body) = split(bytes)?;
        let mut reader = Reader::new(body);
        reader.array_of(5)?;
        Ok(Self {
            level: level.to_owned(),
            created_ms: reader.uint()?,
            due_ms: reader.uint()?,
            kind: reader.text()?.to_owned(),
            attempts: reader.uint()?,
            errors: unpack_failures(&mut reader)?,
            payload: reader.rest().to_vec(),
        })
    }

    /// Since when it is runnable, once it is.
    pub(crate) fn runnable_since_ms(&self) -> u64 {
        self.created_ms.max(self.due_ms)
    }

    /// Notes a failed attempt.
    pub(crate) fn fail(&mut self, at: Timestamp, cause: Cause, message: &str) {
        self.attempts = self.attempts.saturating_add(1);
        if self.errors.len() >= MOST_ERRORS {
            self.errors.drain(..=self.errors.len() - MOST_ERRORS);
        }
        self.errors.push(Failure {
            attempt: self.attempts,
            at,
            cause,
            message: cut(message, MOST_MESSAGE_BYTES).to_owned(),
        });
    }

    /// The task as callers see it, in one of the states that have such a record.
    pub(crate) fn into_task(self, id: TaskId, queue: QueueName, state: State, losses: u32) -> Task {
        Task {
            id,
            queue,
            kind: self.kind,
            state,
            priority: Some(self.level),
            attempts: self.attempts,
            losses,
            created: timestamp(self.created_ms),
            due: (self.due_ms > 0).then(|| timestamp(self.due_ms)),
            started: None,
            finished: None,
            worker: None,
            errors: self.errors,
            payload: Some(Payload::trusted(self.payload)),
            result: None,
        }
    }
}

/// Packs a new task without the detour over an owned record: enqueueing is a hot path.
pub(crate) fn pack_new(
    level: &str,
    created_ms: u64,
    due_ms: u64,
    kind: &str,
    payload: &[u8],
) -> Vec<u8> {
    let mut writer = begin(level, kind.len() + payload.len());
    writer.uint(created_ms);
    writer.uint(due_ms);
    writer.text(kind);
    writer.uint(0);
    writer.array(0);
    writer.finish(payload)
}

/// Since when the task is runnable, read from the beginning of its record; `None` if that is no
/// record.
pub(crate) fn runnable_since_ms(beginning: &[u8]) -> Option<u64> {
    let (_, body) = split(beginning).ok()?;
    let mut reader = Reader::new(body);
    reader.array().ok()?;
    let created: u64 = reader.uint().ok()?;
    Some(created.max(reader.uint().ok()?))
}

/// A completed task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done<'a> {
    pub(crate) record: &'a Record,
    pub(crate) losses: u32,
    pub(crate) started_ms: u64,
    pub(crate) run_ms: u64,
    pub(crate) worker: WorkerId,
    pub(crate) result: Option<&'a [u8]>,
}

impl Done<'_> {
    /// Outcome (always 0 for now), type, attempts, losses, created, wait until it started, run
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
        writer.uint(0);
        writer.text(&record.kind);
        writer.uint(record.attempts.into());
        writer.uint(self.losses.into());
        writer.uint(record.created_ms);
        writer.uint(self.started_ms.saturating_sub(record.created_ms));
        writer.uint(self.run_ms);
        writer.text(self.worker.as_str());
        pack_failures(&mut writer, &record.errors);
        writer.maybe_bytes(self.result);
        writer.maybe_bytes(payload);
        writer.finish(&[])
    }
}

/// The completed task of a done record.
pub(crate) fn unpack_done(id: TaskId, queue: QueueName, bytes: &[u8]) -> Result<Task, Error> {
    read_done(id, queue, bytes).map_err(|reason| corrupt("a completed task's record", &reason))
}

fn read_done(id: TaskId, queue: QueueName, bytes: &[u8]) -> Result<Task, Malformed> {
    let mut reader = Reader::new(bytes);
    reader.array_of(11)?;
    let _outcome: u64 = reader.uint()?;
    let kind = reader.text()?.to_owned();
    let (attempts, losses) = (reader.uint()?, reader.uint()?);
    let created: u64 = reader.uint()?;
    let started = created.saturating_add(reader.uint()?);
    let finished = started.saturating_add(reader.uint()?);
    let worker = reader.text()?.parse().ok();
    let errors = unpack_failures(&mut reader)?;
    let result = reader.maybe_bytes()?;
    let payload = reader.maybe_bytes()?;
    let owned = |bytes: &[u8]| Payload::trusted(bytes.to_vec());
    Ok(Task {
        id,
        queue,
        kind,
        state: State::Completed,
        priority: None,
        attempts,
        losses,
        created: timestamp(created),
        due: None,
        started: Some(timestamp(started)),
        finished: Some(timestamp(finished)),
        worker,
        errors,
        payload: payload.map(owned),
        result: result.map(owned),
    })
}

fn begin(level: &str, long: usize) -> Writer {
    let mut writer = Writer::after(level.as_bytes(), 48 + long);
    // A positive fixed number 0 is a zero byte.
    writer.uint(0);
    writer.array(5);
    writer
}

fn split(bytes: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let wrong = Malformed("a level and a zero byte");
    let zero = bytes.iter().position(|&byte| byte == 0).ok_or(wrong)?;
    let level = std::str::from_utf8(&bytes[..zero]).map_err(|_| wrong)?;
    Ok((level, &bytes[zero + 1..]))
}

/// Each is an array of attempt, time in ms, cause and message; `reclaim.lua` adds such a one.
fn pack_failures(writer: &mut Writer, failures: &[Failure]) {
    writer.array(failures.len());
    for failure in failures {
        writer.array(4);
        writer.uint(failure.attempt.into());
        writer.uint(u64::try_from(failure.at.as_millisecond()).unwrap_or(0));
        writer.uint(match failure.cause {
            Cause::Error => 0,
            Cause::Timeout => 1,
            Cause::WorkerLost => 2,
        });
        writer.text(&failure.message);
    }
}

fn unpack_failures(reader: &mut Reader<'_>) -> Result<Vec<Failure>, Malformed> {
    let count = reader.array()?;
    let mut failures = Vec::new();
    for _ in 0..count {
        reader.array_of(4)?;
        failures.push(Failure {
            attempt: reader.uint()?,
            at: timestamp(reader.uint()?),
            cause: match reader.uint::<u64>()? {
                1 => Cause::Timeout,
                2 => Cause::WorkerLost,
                _ => Cause::Error,
            },
            message: reader.text()?.to_owned(),
        });
    }
    Ok(failures)
}

/// The longest beginning of a text that has at most `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

fn corrupt(what: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::Corrupt {
        what: what.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_failure() -> impl Strategy<Value = Failure> {
        let causes = prop_oneof![
            Just(Cause::Error),
            Just(Cause::Timeout),
            Just(Cause::WorkerLost)
        ];
        (1..100_u32, 0..4_000_000_000_000_u64, causes, ".{0,40}").prop_map(
            |(attempt, at, cause, message)| Failure {
                attempt,
                at: timestamp(at),
                cause,
                message,
            },
        )
    }

    fn any_record() -> impl Strategy<Value = Record> {
        (
            "[a-z0-9-]{1,32}",
            0..4_000_000_000_000_u64,
            0..4_000_000_000_000_u64,
            ".{1,40}",
            any::<u32>(),
            prop::collection::vec(any_failure(), 0..10),
            prop::collection::vec(any::<u8>(), 0..200),
        )
            .prop_map(
                |(level, created_ms, due_ms, kind, attempts, errors, payload)| Record {
                    level,
                    created_ms,
                    due_ms,
                    kind,
                    attempts,
                    errors,
                    payload,
                },
            )
    }

    proptest! {
        #[test]
        fn a_record_survives_packing_and_its_head_tells_its_age(record in any_record()) {
            let packed = record.pack();
            prop_assert_eq!(runnable_since_ms(&packed[..packed.len().min(64)]), Some(record.runnable_since_ms()));
            prop_assert_eq!(Record::unpack(&packed).unwrap(), record);
        }

        #[test]
        fn a_done_record_survives_packing(record in any_record(), losses in any::<u32>(), wait in 0..1_u64 << 40, run in 0..1_u64 << 40) {
            let id = crate::id::Sequence::new(1).task(1);
            let worker = crate::id::Sequence::new(2).worker(2);
            let done = Done { record: &record, losses, started_ms: record.created_ms + wait, run_ms: run, worker, result: Some(b"1") };
            let queue = QueueName::new("n", "q").unwrap();
            let task = unpack_done(id, queue, &done.pack()).unwrap();
            prop_assert_eq!(task.finished.unwrap(), timestamp(record.created_ms + wait + run));
            prop_assert_eq!(task.payload.map(Payload::into_bytes), Some(record.payload.clone()));
            prop_assert_eq!((task.attempts, task.losses, task.errors), (record.attempts, losses, record.errors));
        }

        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::unpack(&bytes);
            let _ = runnable_since_ms(&bytes);
            let _ = unpack_done(crate::id::Sequence::new(1).task(1), QueueName::new("n", "q").unwrap(), &bytes);
        }

        #[test]
        fn the_history_keeps_the_last_ten_failures_and_the_first_kib_of_each(failures in 0..25_u32, message in "[aü]{0,2000}") {
            let mut record = Record { level: "a".into(), created_ms: 0, due_ms: 0, kind: "k".into(), attempts: 0, errors: vec![], payload: vec![] };
            for _ in 0..failures {
                record.fail(timestamp(1), Cause::Error, &message);
            }
            prop_assert_eq!(record.errors.len(), failures.min(10) as usize);
            prop_assert_eq!(record.errors.last().map_or(0, |last| last.attempt), failures);
            prop_assert!(record.errors.iter().all(|e| e.message.len() <= 1_024 && message.starts_with(&e.message)));
        }
    }

    #[test]
    fn a_large_payload_is_not_retained_with_the_result() {
        let mut record = Record {
            level: "a".into(),
            created_ms: 0,
            due_ms: 0,
            kind: "k".into(),
            attempts: 0,
            errors: vec![],
            payload: vec![b'1'; MOST_RETAINED_PAYLOAD_BYTES],
        };
        for kept in [true, false] {
            let worker = crate::id::Sequence::new(2).worker(2);
            let done = Done {
                record: &record,
                losses: 0,
                started_ms: 0,
                run_ms: 0,
                worker,
                result: None,
            };
            let id = crate::id::Sequence::new(1).task(1);
            let task = unpack_done(id, QueueName::new("n", "q").unwrap(), &done.pack()).unwrap();
            assert_eq!(task.payload.is_some(), kept);
            record.payload.push(b'1');
        }
    }
}
