//! How an attempt ended, as Redis is told. Pure.

use std::time::Duration;

use super::millis;
use crate::groups::Group;
use crate::record::{Done, Ending, Record};
use crate::{EventLog, Happened, Logged, TaskId, WorkerId};

/// A completed attempt, to be told to Redis.
#[derive(Debug, Clone)]
pub(crate) struct Ack {
    pub(crate) id: TaskId,
    pub(crate) done: Vec<u8>,
    pub(crate) run_ms: u64,
}

/// Another end of an attempt, to be told to Redis.
#[derive(Debug, Clone)]
pub(crate) struct Settlement {
    pub(crate) id: TaskId,
    pub(crate) end: End,
    pub(crate) ran: Ran,
    /// The failure that it was, to be counted with others of its kind.
    pub(crate) failure: Option<Group>,
}

/// An attempt that is over, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ran {
    pub(crate) started_ms: u64,
    pub(crate) run_ms: u64,
    /// How often the task lost its worker before.
    pub(crate) losses: u32,
    pub(crate) worker: Option<WorkerId>,
}

impl Settlement {
    /// What the log of ends is to say of it; empty for nothing, and for a done record, which says it
    /// itself.
    pub(super) fn entry(&self, log: Option<&EventLog>) -> Vec<u8> {
        let attempts = match log {
            Some(log) => log.log == Logged::Attempts,
            None => return Vec::new(),
        };
        let what = match self.end {
            End::Dead { .. } | End::Quarantined { .. } => Happened::Dead,
            End::Retry { .. } if attempts => Happened::Failed,
            End::Lost {
                record: Some(_), ..
            } if attempts => Happened::Lost,
            _ => return Vec::new(),
        };
        let lost = matches!(self.end, End::Lost { .. } | End::Quarantined { .. });
        let Ran {
            started_ms,
            run_ms,
            losses,
            worker,
        } = self.ran;
        let record = Record::unpack(self.end.record());
        let record = record.unwrap_or_else(|_| Record::unreadable(started_ms));
        Done {
            what,
            record: &record,
            losses: losses.saturating_add(lost.into()),
            started_ms,
            run_ms,
            worker,
            result: None,
            logged: true,
            site: None,
        }
        .pack()
    }
}

/// How an attempt ended, if not by a plain ack. Records are packed.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// Failed, and to be tried again.
    Retry { record: Vec<u8>, after: Duration },
    /// Put off, which is no failure.
    Snooze { record: Vec<u8>, after: Duration },
    /// Failed for good.
    Dead { record: Vec<u8> },
    /// Handed back.
    Release,
    /// Handed back because what ran it broke down: at once, or after a wait.
    Lost {
        /// None if it stays as it is.
        record: Option<Vec<u8>>,
        after: Option<Duration>,
    },
    /// Failed for good, because what ran it broke down once too often.
    Quarantined { record: Vec<u8> },
    /// Ended with a done record.
    Done {
        ending: Ending,
        done: Vec<u8>,
        run_ms: u64,
    },
}

impl End {
    /// What is to be written, as bytes.
    pub(crate) fn record(&self) -> &[u8] {
        match self {
            Self::Retry { record, .. }
            | Self::Snooze { record, .. }
            | Self::Dead { record }
            | Self::Quarantined { record } => record,
            Self::Lost { record, .. } => record.as_deref().unwrap_or_default(),
            Self::Done { done, .. } => done,
            Self::Release => &[],
        }
    }

    /// As `settle.lua` calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Snooze { .. } => "snooze",
            Self::Dead { .. } => "dead",
            Self::Release => "release",
            Self::Lost { .. } => "lost",
            Self::Quarantined { .. } => "quarantined",
            Self::Done { ending, .. } => ending.name(),
        }
    }

    pub(super) fn delay_ms(&self) -> u64 {
        match self {
            Self::Retry { after, .. } | Self::Snooze { after, .. } => millis(*after),
            Self::Lost { after, .. } => after.map_or(0, millis),
            Self::Dead { .. } | Self::Quarantined { .. } | Self::Release | Self::Done { .. } => 0,
        }
    }

    pub(super) fn run_ms(&self) -> u64 {
        match self {
            Self::Done { run_ms, .. } => *run_ms,
            _ => 0,
        }
    }
}
