//! Changing tasks that do not run: another payload, another level, at once instead of later.

use crate::cancel::MOST_LOOKS;
use crate::payload::fits;
use crate::produce::{MAX_SPAN, level_place};
use crate::queue::{Known, Queue};
use crate::record::with_payload;
use crate::reply::Status;
use crate::script::args;
use crate::{Error, Payload, State, TaskId};

/// Most tasks of one call that makes scheduled ones runnable.
const MOST_AT_ONCE: usize = 200;
/// How many ids of a level's list are looked at from each end for a task that is to leave it.
const MOST_LISTED: usize = 100_000;

/// What is to become of a task's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The new one, within the policy's `max_payload_bytes`.
    pub payload: Payload,
    /// Whether a dead letter goes round again with it, as by [`Queue::redrive`], in the same call. Of
    /// other tasks it asks for nothing.
    pub retry: bool,
}

/// What came of changing a task that does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amended {
    /// It is as was asked for.
    Done,
    /// So it is, and the dead letter goes round again.
    Retried,
    /// It is due at once, and waits for others with its concurrency key.
    Blocked,
    /// It was so already.
    Unchanged,
    /// It runs. Nothing was changed.
    Active,
    /// It is a dead letter, which is never due: redrive it. Nothing was changed.
    Dead,
    /// More than 100,000 tasks are before it in its level, and as many behind it: to find it would hold up
    /// the server. Nothing was changed.
    Deep,
    /// It is a dead letter, and this task has its unique key and has not ended. Nothing was changed.
    Outdone(TaskId),
    /// It has ended.
    Ended,
    /// There is no such task, or none any more.
    Unknown,
}

impl Amended {
    /// As scripts say it; `None` where the task is to be looked at again.
    fn of(said: &str) -> Option<Self> {
        Some(match said {
            "done" => Self::Done,
            "retried" => Self::Retried,
            "blocked" => Self::Blocked,
            "unchanged" => Self::Unchanged,
            "active" => Self::Active,
            "dead" => Self::Dead,
            "deep" => Self::Deep,
            _ => return None,
        })
    }
}

impl Queue {
    /// Gives a task that does not run another payload: one that waits, is blocked, is scheduled or is a
    /// dead letter. All else of it stays. Written only if the task is still the one that was looked at,
    /// which is looked at again otherwise: a worker that takes it meanwhile runs it as it was.
    pub async fn edit(&self, id: &TaskId, edit: &Edit) -> Result<Amended, Error> {
        let limit = self.refresh().await?.policy.max_payload_bytes as usize;
        fits("payload", edit.payload.as_bytes().len(), limit)?;
        for _ in 0..MOST_LOOKS {
            let Some((task, stored)) = self.look(id).await? else {
                return Ok(Amended::Unknown);
            };
            if task.state.is_ended() && task.state != State::Dead {
                return Ok(Amended::Ended);
            }
            let record = with_payload(&stored, edit.payload.as_bytes())?;
            let call = |known: &Known| {
                let told = self.announcing(known);
                let asked = args::Edit {
                    id: id.as_str().into(),
                    known: stored.as_slice().into(),
                    record: record.as_slice().into(),
                    retry: edit.retry.into(),
                    wakes: told.wakes,
                    channel: told.channel,
                    queue: told.queue,
                    longest_key: MAX_SPAN.into(),
                };
                self.call(known, &[], &asked)
            };
            let mut reply = self.under_policy(call).await?;
            let (said, holder): (String, String) = (reply.next()?, reply.next()?);
            if said == "outdone" {
                return Ok(Amended::Outdone(holder.parse()?));
            }
            if let Some(amended) = Amended::of(&said) {
                return Ok(amended);
            }
        }
        Err(self.link().faults().script(
            "edit",
            format!("task {id} changed {MOST_LOOKS} times during the call"),
        ))
    }

    /// Makes scheduled tasks runnable now, those that are to be retried as well: each to the tail of its
    /// level, or to those that wait for its concurrency key. What came of each, in the order given.
    pub async fn promote_now(&self, ids: &[TaskId]) -> Result<Vec<Amended>, Error> {
        let mut amended = Vec::with_capacity(ids.len());
        for some in ids.chunks(MOST_AT_ONCE) {
            let call = |known: &Known| {
                let told = self.announcing(known);
                let asked = args::Hasten {
                    wakes: told.wakes,
                    channel: told.channel,
                    queue: told.queue,
                };
                let mut call = self.call(known, &[], &asked);
                for id in some {
                    call.push(id.as_str());
                }
                call
            };
            let said: Vec<String> = self.under_policy(call).await?.next()?;
            for (id, said) in some.iter().zip(said) {
                amended.push(self.amended(id, &said).await?);
            }
        }
        Ok(amended)
    }

    /// Moves a task that does not run to another of the policy's levels: to its tail, if the task waits. It
    /// has that level from now on, whatever becomes of it.
    pub async fn set_priority(&self, id: &TaskId, level: &str) -> Result<Amended, Error> {
        self.refresh().await?;
        let mut rounds = self.rounds();
        loop {
            let known = rounds.next().await?;
            let asked = args::Reprioritize {
                id: id.as_str().into(),
                level: level_place(self.name(), &known.policy, level)?.into(),
                depth: MOST_LISTED.into(),
            };
            let (status, mut reply) = self.answer(&self.call(&known, &[], &asked)).await?;
            if status == Status::Ok {
                let said: String = reply.next()?;
                return self.amended(id, &said).await;
            }
        }
    }

    /// What a script says of a task; of one that it did not find, where it is.
    async fn amended(&self, id: &TaskId, said: &str) -> Result<Amended, Error> {
        if let Some(amended) = Amended::of(said) {
            return Ok(amended);
        }
        let kept = self.get(id).await?;
        Ok(kept.map_or(Amended::Unknown, |_| Amended::Ended))
    }
}
