//! One live event, and its reading from what Redis holds of it. Pure.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::timestamp;
use crate::record::{Beginning, beginning, beginning_of_done};
use crate::{Cause, Error, QueueName, TaskId, WorkerId};

/// Values of one event in an entry of the stream.
pub(super) const VALUES: usize = 6;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal;)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        pub enum LiveKind {
            $($(#[$doc])* $kind,)*
        }

        impl LiveKind {
            /// By the name that scripts give it. Of a later version's events it may be unknown.
            fn of(name: &[u8]) -> Option<Self> {
                match std::str::from_utf8(name).ok()? {
                    $($name => Some(Self::$kind),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// The task was enqueued, by a caller or by a schedule.
    Enqueued = "enqueued";
    /// It was scheduled, and its time has come.
    Due = "due";
    /// A worker took it: an attempt begins.
    Started = "started";
    /// The attempt said how far it is.
    Progress = "progress";
    /// The attempt wrote a line.
    Log = "log";
    /// The attempt failed, and the task will be tried again.
    Retried = "retried";
    /// The attempt put the task off, which is no failure.
    Snoozed = "snoozed";
    /// The attempt was broken off, and the task handed back.
    Released = "released";
    /// Its worker is lost; it will run again.
    Lost = "lost";
    /// The task was changed while it waited.
    Edited = "edited";
    /// It completed.
    Completed = "completed";
    /// It was cancelled.
    Cancelled = "cancelled";
    /// It did not start in time.
    Expired = "expired";
    /// A retry rule dropped it.
    Dropped = "dropped";
    /// It is a dead letter.
    Dead = "dead";
    /// It was a dead letter, and goes round again.
    Redriven = "redriven";
    /// It was a dead letter, and was thrown away.
    Purged = "purged";
    /// All tasks of the queue were thrown away.
    Cleared = "cleared";
    /// The number of the queue's workers was changed.
    Scaled = "scaled";
}

/// The place of an entry in a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EntryId {
    pub(super) ms: u64,
    pub(super) seq: u64,
}

impl EntryId {
    /// A place behind which this entry is the first.
    pub(super) fn before(self) -> Self {
        match (self.ms, self.seq) {
            (0, 0) => self,
            (ms, 0) => Self {
                ms: ms - 1,
                seq: u64::MAX,
            },
            (ms, seq) => Self { ms, seq: seq - 1 },
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (ms, seq) = text.split_once('-')?;
        Some(Self {
            ms: ms.parse().ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// The id of a live event, unique in its queue, by which a listener can go on behind it. As text three numbers
/// with hyphens between them, `1764452411000-0-42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LiveId {
    pub(super) entry: EntryId,
    pub(super) number: u64,
}

impl fmt::Display for LiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.entry, self.number)
    }
}

impl FromStr for LiveId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let (entry, number) = text.rsplit_once('-')?;
            Some(Self {
                entry: EntryId::parse(entry)?,
                number: number.parse().ok()?,
            })
        };
        let rule = "the id of an event as it was given, such as 1764452411000-0-42";
        read().ok_or_else(|| Error::invalid("event id", text, rule))
    }
}

impl Serialize for LiveId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How many workers a queue is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Replicas {
    /// Before.
    pub from: u32,
    /// From then on.
    pub to: u32,
}

/// Something that happened in a queue. What is not known of it, or what its kind has not, is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveEvent {
    /// Its id.
    pub id: LiveId,
    /// The queue.
    pub queue: QueueName,
    /// When, by the clock of Redis.
    pub at: Timestamp,
    /// What happened.
    pub what: LiveKind,
    /// The task that it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The task's type; not told with progress and lines.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The task's priority level; not told of tasks that have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// The worker that took or had the task; of one that is lost it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The number of the attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What kind of failure it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The message of the failure, the progress as JSON, the line, or the equation; its first KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When the task is due, if that is later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// The change of the number of workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
}

/// What a listener is told at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveBatch {
    /// Of each queue in the order in which it happened.
    pub events: Vec<LiveEvent>,
    /// Queues of which events are missing before those of this batch: the listener was too slow or away for
    /// too long, or Redis was.
    pub missed: Vec<QueueName>,
}

impl LiveBatch {
    /// Notes that events of this queue are missing.
    pub(super) fn miss(&mut self, queue: &QueueName) {
        if !self.missed.contains(queue) {
            self.missed.push(queue.clone());
        }
    }

    /// Whether nothing happened, and nothing was missed.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.missed.is_empty()
    }
}

impl LiveEvent {
    /// Reads what `tell.lua` writes; `None` if it is of a kind that is not known.
    pub(super) fn read(queue: &QueueName, id: LiveId, values: &[Vec<u8>]) -> Option<Self> {
        let [what, task, by, why, said, record] = values else {
            return None;
        };
        let what = LiveKind::of(what)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (by, why) = (text(by), text(why));
        let beginning = match what {
            LiveKind::Completed | LiveKind::Cancelled | LiveKind::Expired | LiveKind::Dropped => {
                beginning_of_done(record)
            }
            _ => beginning(record),
        };
        let beginning = beginning.ok();
        let worker: Option<WorkerId> = by.parse().ok();
        let failed = why.split_once(' ').and_then(|(cause, attempt)| {
            let cause = Cause::of_number(cause.parse().ok()?);
            Some((cause, attempt.parse().ok()?))
        });
        let ran = beginning.and_then(|known| attempt(what, worker.is_some(), &known));
        let due_ms = beginning.map_or(0, |known| known.due_ms);
        Some(Self {
            id,
            queue: queue.clone(),
            at: timestamp(id.entry.ms),
            what,
            task: text(task).parse().ok(),
            kind: beginning.map(|known| known.kind.to_owned()),
            priority: beginning.and_then(|known| known.level).map(str::to_owned),
            worker,
            attempt: failed.map(|(_, attempt)| attempt).or(ran),
            cause: failed.map(|(cause, _)| cause),
            text: Some(text(said)).filter(|said| !said.is_empty()),
            due: (due_ms > id.entry.ms).then(|| timestamp(due_ms)),
            replicas: Some(by.as_str())
                .filter(|_| what == LiveKind::Scaled)
                .and_then(replicas),
        })
    }
}

/// Which attempt it was, of those that failed before.
fn attempt(what: LiveKind, has_worker: bool, known: &Beginning<'_>) -> Option<u32> {
    let begun = match what {
        LiveKind::Started
        | LiveKind::Completed
        | LiveKind::Snoozed
        | LiveKind::Released
        | LiveKind::Lost => true,
        LiveKind::Cancelled => has_worker,
        _ => false,
    };
    if what == LiveKind::Dropped {
        return Some(known.attempts.max(1));
    }
    begun.then(|| known.attempts.saturating_add(1))
}

fn replicas(numbers: &str) -> Option<Replicas> {
    let (from, to) = numbers.split_once(' ')?;
    Some(Replicas {
        from: from.parse().ok()?,
        to: to.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> LiveId {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        for text in [
            "0-0-0",
            "1764452411000-7-42",
            "18446744073709551615-18446744073709551615-1",
        ] {
            assert_eq!(id(text).to_string(), text);
        }
        for text in [
            "",
            "1",
            "1-2",
            "a-0-1",
            "1-0-",
            "1-0-18446744073709551616",
            "-1-0-1",
        ] {
            let wrong = text.parse::<LiveId>().unwrap_err().to_string();
            assert!(wrong.contains("event id"), "{text}: {wrong}");
        }
    }

    #[test]
    fn before_an_entry_is_where_it_comes_next() {
        for (entry, before) in [
            ("5-3", "5-2"),
            ("5-0", "4-18446744073709551615"),
            ("0-0", "0-0"),
        ] {
            let entry = EntryId::parse(entry).unwrap();
            assert_eq!(entry.before().to_string(), before);
        }
    }

    fn read(values: [&str; VALUES]) -> Option<LiveEvent> {
        let values = values.map(|value| value.as_bytes().to_vec());
        let queue = QueueName::new("a", "b").unwrap();
        LiveEvent::read(&queue, id("5-0-1"), &values)
    }

    #[test]
    fn what_cannot_be_read_of_an_event_is_left_out_and_an_unknown_kind_is_none() {
        assert_eq!(read(["later", "", "", "", "", ""]), None);
        let odd = read(["retried", "x", "y", "z", "", "\u{1}"]).unwrap();
        assert_eq!(
            (odd.what, odd.task, odd.worker),
            (LiveKind::Retried, None, None)
        );
        assert_eq!((odd.cause, odd.attempt, odd.kind), (None, None, None));
        let scaled = read(["scaled", "", "1 3", "", "ceil(5 / 2) = 3", ""]).unwrap();
        assert_eq!(scaled.replicas, Some(Replicas { from: 1, to: 3 }));
        assert_eq!(scaled.text.as_deref(), Some("ceil(5 / 2) = 3"));
    }
}
