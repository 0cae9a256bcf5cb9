//! Reading the log of ends: any number of readers share it as a group, and each goes on where it was.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::queue::Queue;
use crate::record::{Scaled, unpack_logged};
use crate::script::{Script, args};
use crate::{Error, Replicas, Task, TaskId};

/// Longest name of a group or a reader.
const MAX_NAME: usize = 64;
/// Most entries of one look, of up to 1000 ends each.
const MOST_ENTRIES: usize = 100;
/// Bytes after which a look returns no further entry.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// After how long what a reader has not acknowledged is given to another.
const IDLE: Duration = Duration::from_mins(1);
/// How often the log is looked at while there is nothing new.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Bytes kept of an equation.
const MOST_EQUATION_BYTES: usize = 1_024;

/// What the log tells of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Happened {
    /// It completed.
    Completed = 0,
    /// It was cancelled.
    Cancelled = 1,
    /// It did not start in time.
    Expired = 2,
    /// A retry rule dropped it.
    Dropped = 3,
    /// It is a dead letter, and may go round again.
    Dead = 4,
    /// An attempt failed; it will be tried again.
    Failed = 5,
    /// It lost its worker; it will run again.
    Lost = 6,
}

impl Happened {
    pub(crate) fn of(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Completed,
            1 => Self::Cancelled,
            2 => Self::Expired,
            3 => Self::Dropped,
            4 => Self::Dead,
            5 => Self::Failed,
            6 => Self::Lost,
            _ => return None,
        })
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEnd {
    /// Counts what was logged of the queue, from 1. The same end has the same number however often it is read.
    pub number: u64,
    /// What happened.
    pub what: Happened,
    /// When it was logged, by the clock of Redis.
    pub at: Timestamp,
    /// The task as it was then: its payload up to 1 KiB, its result up to 64 KiB.
    pub task: Task,
    /// The trace that it belongs to, as a W3C `traceparent`.
    pub trace_parent: Option<String>,
}

/// A change of the number of a queue's workers, in the log among the ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaChange {
    /// As that of an end: both are counted together.
    pub number: u64,
    /// When it was logged, by the clock of Redis.
    pub at: Timestamp,
    /// The numbers.
    pub replicas: Replicas,
    /// Why, as the equation of the decision; its first KiB.
    pub equation: String,
}

/// What a reader is to deal with next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EndsBatch {
    /// In the order in which they were logged.
    pub ends: Vec<LoggedEnd>,
    /// The changes of the number of workers among them, in that order too.
    pub changes: Vec<ReplicaChange>,
    /// How many ends the group has missed since it began, as the log had let go of them.
    pub skipped: u64,
    /// How many ends are logged that the group was not given yet.
    pub unread: u64,
    entries: Vec<String>,
}

/// One reader of a queue's log of ends.
#[derive(Debug, Clone)]
pub struct EndsReader {
    queue: Queue,
    group: String,
    reader: String,
    /// Behind which entry to look for what this reader was given before and has not acknowledged.
    pending: Option<String>,
}

impl EndsBatch {
    /// Whether nothing was read. What was read may be no end all the same, if it cannot be understood: it is
    /// to be acknowledged.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Queue {
    /// A reader of the log of ends, which there is if the policy says so. Readers of one `group` share the
    /// log: each end is given to one of them, and to another a minute later if that one has not
    /// acknowledged it. A reader that comes back under its name, `reader`, is first given what it has not
    /// acknowledged. A new group begins with the oldest that there is. Names have 1 to 64 characters of
    /// `a-z A-Z 0-9 . _ -`.
    pub fn ends(&self, group: &str, reader: &str) -> Result<EndsReader, Error> {
        for (field, name) in [("group", group), ("reader", reader)] {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if !(1..=MAX_NAME).contains(&name.len()) || !name.chars().all(allowed) {
                let rule = "1 to 64 characters of a-z A-Z 0-9 . _ -";
                return Err(Error::invalid(field, name, rule));
            }
        }
        Ok(EndsReader {
            queue: self.clone(),
            group: group.to_owned(),
            reader: reader.to_owned(),
            pending: Some("0".to_owned()),
        })
    }
}

impl Queue {
    /// Tells that the number of the queue's workers was changed, and why: to who listens, and to the log of ends
    /// if there is one.
    pub async fn tell_scaled(&self, replicas: Replicas, equation: &str) -> Result<(), Error> {
        let equation = &equation[..equation.floor_char_boundary(MOST_EQUATION_BYTES)];
        let Replicas { from, to } = replicas;
        let entry = Scaled { from, to, equation }.pack();
        let asked = args::Scaled {
            numbers: format!("{from} {to}").into(),
            equation: equation.into(),
            entry: entry.as_slice().into(),
        };
        // It goes by no policy but by what scripts know of it.
        let call = Script::call(self.keys(), &[], &[], "", &asked);
        self.answer(&call).await?;
        Ok(())
    }
}

impl EndsReader {
    /// The next ends, as soon as there are some; none when `patience` is over. What is not acknowledged is
    /// given again, to this reader when it begins anew, so a receiver must know an end that it has had.
    pub async fn next(&mut self, patience: Duration) -> Result<EndsBatch, Error> {
        let until = Instant::now() + patience;
        loop {
            let batch = self.look().await?;
            let now = Instant::now();
            if !batch.is_empty() || now >= until {
                return Ok(batch);
            }
            sleep(LOOK_EVERY.min(until - now)).await;
        }
    }

    /// Says that a batch has been dealt with.
    pub async fn acknowledge(&self, batch: &EndsBatch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let known = self.queue.known().await?;
        let group = self.group.as_str().into();
        let mut call = self.queue.call(&known, &[], &args::HeardEnds { group });
        for entry in &batch.entries {
            call.push(entry.as_str());
        }
        self.queue.answer(&call).await?;
        Ok(())
    }

    async fn look(&mut self) -> Result<EndsBatch, Error> {
        let known = self.queue.known().await?;
        let asked = args::ReadEnds {
            group: self.group.as_str().into(),
            reader: self.reader.as_str().into(),
            pending: self.pending.as_deref().into(),
            most: MOST_ENTRIES.into(),
            room: MOST_BYTES.into(),
            idle: IDLE.into(),
        };
        let call = self.queue.call(&known, &[], &asked);
        let (_, mut reply) = self.queue.answer(&call).await?;
        let entries: Vec<String> = reply.next()?;
        let lengths: Vec<usize> = reply.next()?;
        let fields: Vec<Vec<u8>> = reply.next()?;
        let (skipped, unread) = (reply.next()?, reply.next()?);
        let mut rest = fields.as_slice();
        let mut batch = EndsBatch {
            skipped,
            unread,
            ..EndsBatch::default()
        };
        for (entry, length) in entries.iter().zip(lengths) {
            let (these, others) = rest.split_at(length.min(rest.len()));
            rest = others;
            self.read(entry, these, &mut batch);
        }
        // Behind the last there may be more that was given and had no room in this answer.
        self.pending = entries.last().cloned();
        batch.entries = entries;
        Ok(batch)
    }

    /// The ends of one entry. What is none of ours, or of a later version, is passed over.
    fn read(&self, entry: &str, fields: &[Vec<u8>], batch: &mut EndsBatch) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ms = entry.split('-').next().and_then(|ms| ms.parse().ok());
        let at = crate::clock::timestamp(ms.unwrap_or(0));
        let Some(([_, number], pairs)) = fields.split_first_chunk::<2>() else {
            return;
        };
        let Ok(first) = text(number).parse::<u64>() else {
            return;
        };
        for (place, pair) in pairs.chunks_exact(2).enumerate() {
            let number = first.saturating_add(place as u64);
            let id = text(&pair[0]);
            let read = if id.is_empty() {
                change(number, at, &pair[1]).map(|change| batch.changes.push(change))
            } else {
                let end = id.parse().and_then(|id| self.end(number, at, id, &pair[1]));
                end.map(|end| batch.ends.push(end))
            };
            if let Err(fault) = read {
                let queue = self.queue.name();
                tracing::warn!(%queue, entry, %fault, "an entry of the log of ends is passed over");
            }
        }
    }

    fn end(
        &self,
        number: u64,
        at: Timestamp,
        id: TaskId,
        record: &[u8],
    ) -> Result<LoggedEnd, Error> {
        let (what, task, trace_parent) = unpack_logged(id, self.queue.name().clone(), record)?;
        Ok(LoggedEnd {
            number,
            what,
            at,
            task,
            trace_parent,
        })
    }
}

fn change(number: u64, at: Timestamp, record: &[u8]) -> Result<ReplicaChange, Error> {
    let Scaled { from, to, equation } = Scaled::unpack(record)?;
    Ok(ReplicaChange {
        number,
        at,
        replicas: Replicas { from, to },
        equation: equation.to_owned(),
    })
}
