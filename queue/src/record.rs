//! What Redis holds of a task: one value, packed here and nowhere else. Pure.
//!
//! A live task is its level's name, a zero byte, and a MessagePack array; Lua reads the level from it and, to
//! quarantine or redrive, the attempts (fourth) and errors (fifth). A done task is an array alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::timestamp;
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

/// Created, due, kind, attempts, errors, payload. The order is the format.
#[derive(Serialize, Deserialize)]
struct Body<'a>(
    u64,
    u64,
    &'a str,
    u32,
    Vec<PackedFailure>,
    #[serde(borrow, with = "serde_bytes")] &'a [u8],
);

/// Attempt, time in ms, cause, message. Read by `reclaim.lua`.
#[derive(Serialize, Deserialize)]
struct PackedFailure(u32, u64, u8, String);

impl Record {
    pub(crate) fn pack(&self) -> Vec<u8> {
        let errors = self.errors.iter().map(pack_failure).collect();
        pack(
            &self.level,
            &Body(
                self.created_ms,
                self.due_ms,
                &self.kind,
                self.attempts,
                errors,
                &self.payload,
            ),
        )
    }

    pub(crate) fn unpack(bytes: &[u8]) -> Result<Self, Error> {
        let (level, body) = split(bytes)?;
        let Body(created_ms, due_ms, kind, attempts, errors, payload) =
            rmp_serde::from_slice(body).map_err(|fault| corrupt("a task's record", &fault))?;
        Ok(Self {
            level: level.to_owned(),
            created_ms,
            due_ms,
            kind: kind.to_owned(),
            attempts,
            errors: errors.into_iter().map(unpack_failure).collect(),
            payload: payload.to_vec(),
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
pub(crate) fn pack_new(level: &str, created_ms: u64, due_ms: u64, kind: &str, payload: &[u8]) -> Vec<u8> {
    pack(level, &Body(created_ms, due_ms, kind, 0, Vec::new(), payload))
}

/// Since when the task is runnable, read from the beginning of its record; `None` if that is no record.
pub(crate) fn runnable_since_ms(beginning: &[u8]) -> Option<u64> {
    let (_, mut body) = split(beginning).ok()?;
    rmp::decode::read_array_len(&mut body).ok()?;
    let created: u64 = rmp::decode::read_int(&mut body).ok()?;
    let due: u64 = rmp::decode::read_int(&mut body).ok()?;
    Some(created.max(due))
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

/// Outcome (always 0 for now), type, attempts, losses, created, wait until it started, run time, worker,
/// errors, result, payload. Times as spans because small numbers pack small.
#[derive(Serialize, Deserialize)]
struct DoneBody<'a>(
    u8,
    &'a str,
    u32,
    u32,
    u64,
    u64,
    u64,
    &'a str,
    Vec<PackedFailure>,
    #[serde(borrow)] Option<&'a serde_bytes::Bytes>,
    #[serde(borrow)] Option<&'a serde_bytes::Bytes>,
);

impl Done<'_> {
    pub(crate) fn pack(&self) -> Vec<u8> {
        let record = self.record;
        let payload = &record.payload;
        let kept = (payload.len() <= MOST_RETAINED_PAYLOAD_BYTES).then(|| serde_bytes::Bytes::new(payload));
        pack_body(
            Vec::with_capacity(96 + payload.len().min(MOST_RETAINED_PAYLOAD_BYTES)),
            &DoneBody(
                0,
                &record.kind,
                record.attempts,
                self.losses,
                record.created_ms,
                self.started_ms.saturating_sub(record.created_ms),
                self.run_ms,
                self.worker.as_str(),
                record.errors.iter().map(pack_failure).collect(),
                self.result.map(serde_bytes::Bytes::new),
                kept,
            ),
        )
    }
}

/// The completed task of a done record.
pub(crate) fn unpack_done(id: TaskId, queue: QueueName, bytes: &[u8]) -> Result<Task, Error> {
    let what = "a completed task's record";
    let DoneBody(_, kind, attempts, losses, created, wait, run, worker, errors, result, payload) =
        rmp_serde::from_slice(bytes).map_err(|fault| corrupt(what, &fault))?;
    let started = created.saturating_add(wait);
    let owned = |bytes: &serde_bytes::Bytes| Payload::trusted(bytes.to_vec());
    Ok(Task {
        id,
        queue,
        kind: kind.to_owned(),
        state: State::Completed,
        priority: None,
        attempts,
        losses,
        created: timestamp(created),
        due: None,
        started: Some(timestamp(started)),
        finished: Some(timestamp(started.saturating_add(run))),
        worker: Some(worker.parse().map_err(|fault| corrupt(what, &fault))?),
        errors: errors.into_iter().map(unpack_failure).collect(),
        payload: payload.map(owned),
        result: result.map(owned),
    })
}

fn pack(level: &str, body: &Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(level.len() + 48 + body.2.len() + body.5.len());
    bytes.extend_from_slice(level.as_bytes());
    bytes.push(0);
    pack_body(bytes, body)
}

fn pack_body<T: Serialize>(mut bytes: Vec<u8>, body: &T) -> Vec<u8> {
    // Writing to memory cannot fail, and these types have no form that MessagePack lacks.
    let packed = rmp_serde::encode::write(&mut bytes, body);
    debug_assert!(packed.is_ok(), "{packed:?}");
    bytes
}

fn split(bytes: &[u8]) -> Result<(&str, &[u8]), Error> {
    let zero = bytes
        .iter()
        .position(|&byte| byte == 0)
        .ok_or_else(|| corrupt("a task's record", &"it has no level"))?;
    let level = std::str::from_utf8(&bytes[..zero]).map_err(|fault| corrupt("a task's level", &fault))?;
    Ok((level, &bytes[zero + 1..]))
}

fn pack_failure(failure: &Failure) -> PackedFailure {
    let cause = match failure.cause {
        Cause::Error => 0,
        Cause::Timeout => 1,
        Cause::WorkerLost => 2,
    };
    let at = u64::try_from(failure.at.as_millisecond()).unwrap_or(0);
    PackedFailure(failure.attempt, at, cause, failure.message.clone())
}

fn unpack_failure(PackedFailure(attempt, at, cause, message): PackedFailure) -> Failure {
    Failure {
        attempt,
        at: timestamp(at),
        cause: match cause {
            1 => Cause::Timeout,
            2 => Cause::WorkerLost,
            _ => Cause::Error,
        },
        message,
    }
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
        let causes = prop_oneof![Just(Cause::Error), Just(Cause::Timeout), Just(Cause::WorkerLost)];
        (1..100_u32, 0..4_000_000_000_000_u64, causes, ".{0,40}").prop_map(|(attempt, at, cause, message)| {
            Failure {
                attempt,
                at: timestamp(at),
                cause,
                message,
            }
        })
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
            .prop_map(|(level, created_ms, due_ms, kind, attempts, errors, payload)| Record {
                level,
                created_ms,
                due_ms,
                kind,
                attempts,
                errors,
                payload,
            })
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
