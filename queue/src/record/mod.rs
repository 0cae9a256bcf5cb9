//! What Redis holds of a task: one value, packed here and nowhere else. Pure.
//!
//! A live task is its level's name, one byte, a `MessagePack` array of created, due, type, attempts
//! and errors, and the payload as it is. The byte is 0; or 1 when the array has a sixth element,
//! the rarer fields. Lua reads the level and those fields and, to redrive, edits the array. A done task is one array.

mod done;
mod overrides;

use std::borrow::Cow;

use jiff::Timestamp;

use crate::clock::timestamp;
use crate::pack::{Malformed, More, Reader, Writer};
use crate::{Cause, Error, Failure, Payload, Policy, QueueName, State, Task, TaskId};

pub(crate) use self::done::{Done, Ending, unpack_done};
pub use self::overrides::{Overrides, OwnBackoff};

/// Failures kept of each task, the last ones.
const MOST_ERRORS: usize = 10;
/// Bytes kept of a failure's message.
const MOST_MESSAGE_BYTES: usize = 1_024;

/// A task that is waiting, scheduled, active or dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) level: String,
    pub(crate) created_ms: u64,
    /// When it becomes or became runnable; 0 when that is its creation.
    pub(crate) due_ms: u64,
    pub(crate) kind: String,
    pub(crate) attempts: u32,
    pub(crate) errors: Vec<Noted>,
    /// `None` when all of them are absent.
    pub(crate) extras: Option<Box<Extras>>,
    /// What stands behind the extras.
    pub(crate) more: More,
    pub(crate) payload: Vec<u8>,
}

/// A failure as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) failure: Failure,
    pub(crate) more: More,
}

/// What few tasks have: numbers are 0 and texts empty where it is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// No attempt begins after this time.
    pub(crate) expires_ms: u64,
    pub(crate) unique: String,
    pub(crate) concurrency_key: String,
    /// When the first attempt ended, if it failed.
    pub(crate) first_failed_ms: u64,
    pub(crate) trace_parent: String,
    /// The span of the attempt before, 0 for none.
    pub(crate) last_span: u64,
    /// Written where the task has some alone: programs before these read on without them.
    pub(crate) overrides: Overrides,
    /// What stands behind that.
    pub(crate) more: More,
}

impl Extras {
    fn pack(&self, writer: &mut Writer) {
        let overrides = !self.overrides.is_empty() || self.more.count() > 0;
        writer.array(6 + usize::from(overrides) + self.more.count());
        writer.uint(self.expires_ms);
        writer.text(&self.unique);
        writer.text(&self.concurrency_key);
        writer.uint(self.first_failed_ms);
        writer.text(&self.trace_parent);
        writer.uint(self.last_span);
        if overrides {
            self.overrides.pack(writer);
        }
        writer.more(&self.more);
    }

    fn unpack(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut more = reader.array_of(6)?;
        let mut extras = Self {
            expires_ms: reader.uint()?,
            unique: reader.text()?.to_owned(),
            concurrency_key: reader.text()?.to_owned(),
            first_failed_ms: reader.uint()?,
            trace_parent: reader.text()?.to_owned(),
            last_span: reader.uint()?,
            overrides: Overrides::default(),
            more: More::default(),
        };
        if more > 0 {
            extras.overrides = Overrides::unpack(reader)?;
            more -= 1;
        }
        extras.more = reader.more(more)?;
        Ok(extras)
    }
}

impl Record {
    pub(crate) fn pack(&self) -> Vec<u8> {
        let head = Head {
            level: &self.level,
            created_ms: self.created_ms,
            due_ms: self.due_ms,
            kind: &self.kind,
            attempts: self.attempts,
            errors: &self.errors,
            extras: self.extras.as_deref(),
            more: Some(&self.more),
        };
        head.pack(&self.payload)
    }

    pub(crate) fn unpack(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes).map_err(|reason| corrupt("a task's record", &reason))
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let (level, has_extras, body) = split(bytes)?;
        let mut reader = Reader::new(body);
        let more = reader.array_of(5 + u32::from(has_extras))?;
        Ok(Self {
            level: level.to_owned(),
            created_ms: reader.uint()?,
            due_ms: reader.uint()?,
            kind: reader.text()?.to_owned(),
            attempts: reader.uint()?,
            errors: unpack_failures(&mut reader)?,
            extras: if has_extras {
                Some(Box::new(Extras::unpack(&mut reader)?))
            } else {
                None
            },
            more: reader.more(more)?,
            payload: reader.rest().to_vec(),
        })
    }

    /// Whether its end is more than an ack: it has a key to let go of, or an expiry.
    pub(crate) fn needs_settling(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| {
            extras.expires_ms > 0 || !extras.unique.is_empty() || !extras.concurrency_key.is_empty()
        })
    }

    /// Notes the span of the attempt that ends now, as a W3C `traceparent`. A task that came without a
    /// trace stays in that of its first attempt.
    pub(crate) fn note_span(&mut self, header: &str) {
        let span = header.split('-').nth(2);
        let Some(span) = span.and_then(|span| u64::from_str_radix(span, 16).ok()) else {
            return;
        };
        let extras = self.extras.get_or_insert_default();
        extras.last_span = span;
        if extras.trace_parent.is_empty() {
            header.clone_into(&mut extras.trace_parent);
        }
    }

    /// The policy for this task.
    pub(crate) fn policy<'a>(&self, policy: &'a Policy) -> Cow<'a, Policy> {
        match &self.extras {
            Some(extras) => extras.overrides.of(policy),
            None => Cow::Borrowed(policy),
        }
    }

    /// When it expires, if it does.
    pub(crate) fn expires_ms(&self) -> Option<u64> {
        let expires = self.extras.as_ref()?.expires_ms;
        (expires > 0).then_some(expires)
    }

    /// Since when it is runnable, once it is.
    pub(crate) fn runnable_since_ms(&self) -> u64 {
        self.created_ms.max(self.due_ms)
    }

    /// Notes a failed attempt, which `counts` or does not.
    pub(crate) fn fail(&mut self, at: Timestamp, cause: Cause, message: &str, counts: bool) {
        if self.errors.len() >= MOST_ERRORS {
            self.errors.drain(..=self.errors.len() - MOST_ERRORS);
        }
        self.errors.push(Noted {
            failure: Failure {
                attempt: self.attempts.saturating_add(1),
                at,
                cause,
                message: cut(message, MOST_MESSAGE_BYTES).to_owned(),
            },
            more: More::default(),
        });
        if counts {
            self.attempts = self.attempts.saturating_add(1);
        }
    }

    /// Since when it has been failing: what was noted, or else noted now.
    pub(crate) fn failing_since_ms(&mut self, now_ms: u64) -> u64 {
        let extras = self.extras.get_or_insert_default();
        if extras.first_failed_ms == 0 {
            extras.first_failed_ms = now_ms;
        }
        extras.first_failed_ms
    }

    /// The task as callers see it, in one of the states that have such a record.
    pub(crate) fn into_task(self, id: TaskId, queue: QueueName, state: State, losses: u32) -> Task {
        let expires = self.expires_ms().map(timestamp);
        let extras = self.extras.map(|extras| *extras).unwrap_or_default();
        let overrides = extras.overrides;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let (unique_key, concurrency_key) = (given(extras.unique), given(extras.concurrency_key));
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
            errors: self.errors.into_iter().map(|noted| noted.failure).collect(),
            payload: Some(Payload::trusted(self.payload)),
            result: None,
            progress: None,
            expires,
            unique_key,
            concurrency_key,
            overrides: Some(overrides).filter(|own| !own.is_empty()),
        }
    }
}

/// What stands before the payload. Packed without the detour over an owned record where a task is
/// new: enqueueing is a hot path.
pub(crate) struct Head<'a> {
    pub(crate) level: &'a str,
    pub(crate) created_ms: u64,
    pub(crate) due_ms: u64,
    pub(crate) kind: &'a str,
    pub(crate) attempts: u32,
    pub(crate) errors: &'a [Noted],
    pub(crate) extras: Option<&'a Extras>,
    pub(crate) more: Option<&'a More>,
}

impl Head<'_> {
    pub(crate) fn pack(&self, payload: &[u8]) -> Vec<u8> {
        let mut writer = Writer::after(self.level.as_bytes(), 48 + self.kind.len() + payload.len());
        // Positive fixed numbers, which are the bytes 0 and 1.
        writer.uint(u64::from(self.extras.is_some()));
        let more = self.more.map_or(0, More::count);
        writer.array(5 + usize::from(self.extras.is_some()) + more);
        writer.uint(self.created_ms);
        writer.uint(self.due_ms);
        writer.text(self.kind);
        writer.uint(self.attempts.into());
        pack_failures(&mut writer, self.errors);
        if let Some(extras) = self.extras {
            extras.pack(&mut writer);
        }
        if let Some(more) = self.more {
            writer.more(more);
        }
        writer.finish(payload)
    }
}

/// Since when the task is runnable, read from the beginning of its record; `None` if that is no
/// record.
pub(crate) fn runnable_since_ms(beginning: &[u8]) -> Option<u64> {
    let (_, _, body) = split(beginning).ok()?;
    let mut reader = Reader::new(body);
    reader.array().ok()?;
    let created: u64 = reader.uint().ok()?;
    Some(created.max(reader.uint().ok()?))
}

/// The level, whether there are extras, and the array with what follows.
fn split(bytes: &[u8]) -> Result<(&str, bool, &[u8]), Malformed> {
    let wrong = Malformed("a level and a byte 0 or 1");
    let mark = bytes.iter().position(|&byte| byte <= 1).ok_or(wrong)?;
    let level = std::str::from_utf8(&bytes[..mark]).map_err(|_| wrong)?;
    Ok((level, bytes[mark] == 1, &bytes[mark + 1..]))
}

/// Each is an array of attempt, time in ms, cause and message.
fn pack_failures(writer: &mut Writer, failures: &[Noted]) {
    writer.array(failures.len());
    for Noted { failure, more } in failures {
        writer.array(4 + more.count());
        writer.uint(failure.attempt.into());
        writer.uint(u64::try_from(failure.at.as_millisecond()).unwrap_or(0));
        writer.uint(failure.cause.number());
        writer.text(&failure.message);
        writer.more(more);
    }
}

fn unpack_failures(reader: &mut Reader<'_>) -> Result<Vec<Noted>, Malformed> {
    let count = reader.array()?;
    let mut failures = Vec::new();
    for _ in 0..count {
        let more = reader.array_of(4)?;
        failures.push(Noted {
            failure: Failure {
                attempt: reader.uint()?,
                at: timestamp(reader.uint()?),
                cause: Cause::of_number(reader.uint()?),
                message: reader.text()?.to_owned(),
            },
            more: reader.more(more)?,
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
    use proptest::strategy::ValueTree;

    use std::time::Duration;

    use super::done::MOST_RETAINED_PAYLOAD_BYTES;
    use super::*;
    use crate::BackoffKind;

    /// Up to three values of a later version.
    fn any_more_of(number: u32) -> More {
        More::of(&vec![u64::from(number); number as usize % 4])
    }

    fn any_overrides_of(number: u64) -> Overrides {
        Overrides {
            max_attempts: u32::try_from(number % 3).ok().filter(|most| *most > 0),
            timeout: (!number.is_multiple_of(5)).then(|| Duration::from_millis(number % 5)),
            backoff: (number % 7 > 3).then_some(OwnBackoff {
                kind: BackoffKind::Linear,
                initial: Duration::from_millis(number % 7),
                max: Duration::from_millis(number % 7 * 2),
            }),
        }
    }

    fn any_failure() -> impl Strategy<Value = Noted> {
        let causes = prop_oneof![
            Just(Cause::Error),
            Just(Cause::Timeout),
            Just(Cause::WorkerLost)
        ];
        (1..100_u32, 0..4_000_000_000_000_u64, causes, ".{0,40}").prop_map(
            |(attempt, at, cause, message)| Noted {
                failure: Failure {
                    attempt,
                    at: timestamp(at),
                    cause,
                    message,
                },
                more: any_more_of(attempt),
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
            prop::option::of(any_extras()),
            prop::collection::vec(any::<u8>(), 0..200),
        )
            .prop_map(
                |(level, created_ms, due_ms, kind, attempts, errors, extras, payload)| Record {
                    level,
                    created_ms,
                    due_ms,
                    kind,
                    attempts,
                    errors,
                    extras,
                    more: any_more_of(attempts),
                    payload,
                },
            )
    }

    fn any_extras() -> impl Strategy<Value = Box<Extras>> {
        (
            any::<u64>(),
            ".{0,20}",
            ".{0,20}",
            any::<u64>(),
            ".{0,20}",
            any::<u64>(),
        )
            .prop_map(
                |(
                    expires_ms,
                    unique,
                    concurrency_key,
                    first_failed_ms,
                    trace_parent,
                    last_span,
                )| {
                    Box::new(Extras {
                        expires_ms,
                        unique,
                        concurrency_key,
                        first_failed_ms,
                        trace_parent,
                        last_span,
                        overrides: any_overrides_of(last_span),
                        more: any_more_of(u32::try_from(last_span % 4).unwrap()),
                    })
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
            let done = Done { ending: Ending::Completed, record: &record, losses, started_ms: record.created_ms + wait, run_ms: run, worker: Some(worker), result: Some(b"1") };
            let queue = QueueName::new("n", "q").unwrap();
            let task = unpack_done(id, queue, &done.pack()).unwrap();
            prop_assert_eq!(task.finished.unwrap(), timestamp(record.created_ms + wait + run));
            prop_assert_eq!(task.payload.map(Payload::into_bytes), Some(record.payload.clone()));
            let errors: Vec<_> = record.errors.into_iter().map(|noted| noted.failure).collect();
            prop_assert_eq!((task.attempts, task.losses, task.errors), (record.attempts, losses, errors));
        }

        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::unpack(&bytes);
            let _ = runnable_since_ms(&bytes);
            let _ = unpack_done(crate::id::Sequence::new(1).task(1), QueueName::new("n", "q").unwrap(), &bytes);
        }

        #[test]
        fn the_history_keeps_the_last_ten_failures_and_the_first_kib_of_each(failures in 0..25_u32, message in "[aü]{0,2000}") {
            let mut record = Record { level: "a".into(), created_ms: 0, due_ms: 0, kind: "k".into(), attempts: 0, errors: vec![], extras: None, more: More::default(), payload: vec![] };
            for _ in 0..failures {
                record.fail(timestamp(1), Cause::Error, &message, true);
            }
            prop_assert_eq!(record.errors.len(), failures.min(10) as usize);
            prop_assert_eq!(record.errors.last().map_or(0, |last| last.failure.attempt), failures);
            prop_assert!(record.errors.iter().all(|e| e.failure.message.len() <= 1_024 && message.starts_with(&e.failure.message)));
        }
    }

    #[test]
    fn a_done_record_of_a_later_version_is_read_as_far_as_it_is_known() {
        let record = any_record()
            .new_tree(&mut proptest::test_runner::TestRunner::deterministic())
            .unwrap()
            .current();
        let done = Done {
            ending: Ending::Completed,
            record: &record,
            losses: 0,
            started_ms: record.created_ms,
            run_ms: 1,
            worker: None,
            result: None,
        };
        let mut packed = done.pack();
        let id = crate::id::Sequence::new(1).task(1);
        let queue = || QueueName::new("n", "q").unwrap();
        let known = unpack_done(id, queue(), &packed).unwrap();
        // An array of eleven is one of thirteen, with a text and a map behind.
        assert_eq!(packed[0], 0x9b);
        packed[0] = 0x9d;
        packed.extend_from_slice(b"\xa2ab\x81\x01\x92\xc0\xc3");
        assert_eq!(unpack_done(id, queue(), &packed).unwrap(), known);
        // One that lacks what is known is none.
        packed[0] = 0x9a;
        assert!(unpack_done(id, queue(), &packed).is_err());
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
            extras: None,
            more: More::default(),
            payload: vec![b'1'; MOST_RETAINED_PAYLOAD_BYTES],
        };
        for kept in [true, false] {
            let worker = crate::id::Sequence::new(2).worker(2);
            let done = Done {
                ending: Ending::Completed,
                record: &record,
                losses: 0,
                started_ms: 0,
                run_ms: 0,
                worker: Some(worker),
                result: None,
            };
            let id = crate::id::Sequence::new(1).task(1);
            let task = unpack_done(id, QueueName::new("n", "q").unwrap(), &done.pack()).unwrap();
            assert_eq!(task.payload.is_some(), kept);
            record.payload.push(b'1');
        }
    }
}
