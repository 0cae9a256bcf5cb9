//! Taking a script's answer apart: a status, then values in a fixed order; and the names in it. Pure.

use redis::Value;

use crate::fault::Faults;
use crate::value::{FromValue, read, unfit};
use crate::{Error, TaskId};

/// What a script says of a call as a whole, before all else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It did what it was asked for.
    Ok,
    /// It did nothing, or only what needs no policy: the caller knows another one than is in force.
    Stale,
    /// The worker is not registered any more.
    Lapsed,
    /// The worker holds tasks.
    Held,
    /// The queue has no room for the batch.
    Full,
    /// The idempotency key of a task was given with something else before.
    Conflict,
    /// The queue holds no task and has no worker.
    Rest,
    /// It did nothing, as earlier versions keep something apart that is to be brought in first.
    Old,
    /// Where the call was to go on cannot be found.
    Lost,
}

impl Status {
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "ok" => Self::Ok,
            "stale" => Self::Stale,
            "lapsed" => Self::Lapsed,
            "held" => Self::Held,
            "full" => Self::Full,
            "conflict" => Self::Conflict,
            "rest" => Self::Rest,
            "old" => Self::Old,
            "lost" => Self::Lost,
            _ => return None,
        })
    }
}

/// A script's answer, read from the front.
pub(crate) struct Reply<'a> {
    script: &'static str,
    faults: &'a Faults,
    values: std::vec::IntoIter<Value>,
    /// The server's time at the call, once it was read.
    pub(crate) now_ms: u64,
}

impl<'a> Reply<'a> {
    pub(crate) fn new(
        value: Value,
        script: &'static str,
        faults: &'a Faults,
    ) -> Result<Self, Error> {
        match value {
            Value::Array(values) => Ok(Self {
                script,
                faults,
                values: values.into_iter(),
                now_ms: 0,
            }),
            other => Err(faults.script(script, unfit(&other, "a list").to_string())),
        }
    }

    /// The status, which comes first.
    pub(crate) fn status(&mut self) -> Result<Status, Error> {
        let text: String = self.next()?;
        Status::of(&text).ok_or_else(|| {
            let said: String = text.chars().take(32).collect();
            let reason = format!("answered {said:?}, which is no status");
            self.faults.script(self.script, reason)
        })
    }

    /// The next value as the caller's type.
    pub(crate) fn next<T: FromValue>(&mut self) -> Result<T, Error> {
        let value = self.values.next().unwrap_or(Value::Nil);
        read(value).map_err(|fault| self.faults.script(self.script, fault.to_string()))
    }
}

/// The ids of an answer.
pub(crate) fn ids(texts: &[String]) -> Result<Vec<TaskId>, Error> {
    texts.iter().map(|text| text.parse()).collect()
}
