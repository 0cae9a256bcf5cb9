//! What Redis holds of a task: one value, packed here and nowhere else. Pure.
//!
//! A live task is its level's name, one byte, a `MessagePack` array of created, due, type, attempts
//! and errors, and the payload as it is. The byte is 0; or 1 when the array has a sixth element,
//! the rarer fields. Lua reads the level and those fields and, to redrive, edits the array. A done task is one array.

mod beginning;
mod done;
mod failures;
mod overrides;
mod scaled;

use std::borrow::Cow;

use crate::clock::timestamp;
use crate::pack::{Malformed, More, Reader, Writer};
use crate::{Attempt, Error, Payload, Policy, QueueName, State, Task, TaskId};

pub(crate) use self::beginning::{Beginning, beginning, beginning_of_done};
pub(crate) use self::done::{Done, Ending, unpack_done, unpack_logged};
pub(crate) use self::failures::{Noted, Site};
pub use self::overrides::{Overrides, OwnBackoff};
pub(crate) use self::scaled::Scaled;

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
    /// Written with what follows, where there is some of it: programs before it read on without.
    pub(crate) overrides: Overrides,
    /// What a later version has among those.
    pub(crate) more_overrides: More,
    pub(crate) idempotency_key: String,
    /// What stands behind that.
    pub(crate) more: More,
}

impl Extras {
    /// The concurrency key that the task was given: one that begins with a zero byte is its type's.
    pub(crate) fn given_concurrency_key(&self) -> &str {
        if self.concurrency_key.starts_with('\0') {
            return "";
        }
        &self.concurrency_key
    }

    fn pack(&self, writer: &mut Writer) {
        let key = !self.idempotency_key.is_empty() || self.more.count() > 0;
        let overrides = key || !self.overrides.is_empty() || self.more_overrides.count() > 0;
        writer.array(6 + usize::from(overrides) + usize::from(key) + self.more.count());
        writer.uint(self.expires_ms);
        writer.text(&self.unique);
        writer.text(&self.concurrency_key);
        writer.uint(self.first_failed_ms);
        writer.text(&self.trace_parent);
        writer.uint(self.last_span);
        if overrides {
            self.overrides.pack(&self.more_overrides, writer);
        }
        if key {
            writer.text(&self.idempotency_key);
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
            more_overrides: More::default(),
            idempotency_key: String::new(),
            more: More::default(),
        };
        if more > 0 {
            (extras.overrides, extras.more_overrides) = Overrides::unpack(reader)?;
            more -= 1;
        }
        if more > 0 {
            reader.text()?.clone_into(&mut extras.idempotency_key);
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
            errors: failures::unpack(&mut reader)?,
            extras: if has_extras {
                Some(Box::new(Extras::unpack(&mut reader)?))
            } else {
                None
            },
            more: reader.more(more)?,
            payload: reader.rest().to_vec(),
        })
    }

    /// What stands for one that cannot be read.
    pub(crate) fn unreadable(now_ms: u64) -> Self {
        Self {
            level: String::new(),
            created_ms: now_ms,
            due_ms: 0,
            kind: String::new(),
            attempts: 0,
            errors: Vec::new(),
            extras: None,
            more: More::default(),
            payload: Vec::new(),
        }
    }

    /// Whether its end is more than an ack: it has a key that something is to be done about, or an expiry.
    pub(crate) fn needs_settling(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| {
            extras.expires_ms > 0
                || !extras.unique.is_empty()
                || !extras.concurrency_key.is_empty()
                || !extras.idempotency_key.is_empty()
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
        let concurrency_key = given(extras.given_concurrency_key().to_owned());
        let unique_key = given(extras.unique);
        let idempotency_key = given(extras.idempotency_key);
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
            history: self.errors.iter().map(Attempt::failed).collect(),
            errors: self.errors.into_iter().map(|noted| noted.failure).collect(),
            payload: Some(Payload::trusted(self.payload)),
            result: None,
            progress: None,
            expires,
            unique_key,
            concurrency_key,
            idempotency_key,
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
        failures::pack(&mut writer, self.errors);
        if let Some(extras) = self.extras {
            extras.pack(&mut writer);
        }
        if let Some(more) = self.more {
            writer.more(more);
        }
        writer.finish(payload)
    }
}

/// A record as it is stored, with another payload: what stands before that stays byte for byte.
pub(crate) fn with_payload(stored: &[u8], payload: &[u8]) -> Result<Vec<u8>, Error> {
    let had = Record::unpack(stored)?.payload.len();
    Ok([&stored[..stored.len() - had], payload].concat())
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

/// What is kept of a failure's message.
pub(crate) fn first_kib(message: &str) -> &str {
    &message[..message.floor_char_boundary(MOST_MESSAGE_BYTES)]
}

fn corrupt(what: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::Corrupt {
        what: what.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests;
