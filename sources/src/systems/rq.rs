//! RQ: a list of ids a queue, and sorted sets ("registries") of what runs and what is scheduled.

use std::time::Duration;

use jiff::Timestamp;

use super::{missing, score_of};
use crate::{
    answers::{Answers, Question, ago, ahead, seconds},
    depth::{Depth, Kind, SourceError},
    source::{Rq, Unit},
};

impl Rq {
    fn queue_key(&self) -> String {
        self.key("queue")
    }

    fn key(&self, registry: &str) -> String {
        format!("{}:{registry}:{}", self.key_prefix, self.queue)
    }

    fn queues_key(&self) -> String {
        format!("{}:queues", self.key_prefix)
    }
}

pub(super) fn questions(of: &Rq, now: Timestamp) -> Vec<Question> {
    let (queue, scheduled) = (of.queue_key(), of.key("scheduled"));
    let enqueued_at = format!("{}:job:*->enqueued_at", of.key_prefix);
    let due = score_of(now, Unit::Seconds);
    let first = ["LIMIT", "0", "1", "GET", &enqueued_at];
    vec![
        // Every queue that ever had a job.
        Question::sismember(&of.queues_key(), &queue),
        // Set while workers are told to take nothing.
        Question::exists(&format!("{}:suspended", of.key_prefix)),
        Question::llen(&queue),
        Question::zcard(&of.key("wip")),
        // Between the queue and the start: stays there when the worker dies in between.
        Question::llen(&format!("{queue}:intermediate")),
        Question::zcard(&scheduled),
        Question::zcount(&scheduled, &due),
        Question::after(&scheduled, &due),
        // Jobs that only a worker puts into the queue any more, since whoever freed them has died.
        Question::zcard(&of.key("ready")),
        Question::beyond(&queue, Kind::List, &first),
    ]
}

pub(super) fn depth(
    of: &Rq,
    now: Timestamp,
    answers: &mut Answers<'_>,
) -> Result<Depth, SourceError> {
    let there = answers.flag()?;
    let paused = answers.flag()?;
    let runnable = answers.count()?;
    let in_flight = answers.count()? + answers.count()?;
    let (deferred, due) = (answers.count()?, answers.count()?);
    let next_due = answers.score()?;
    // A pod that never moves due jobs on would be kept for them for ever.
    let (due, next_due) = if of.scheduler {
        (due, next_due)
    } else {
        (0, None)
    };
    let freed = answers.count()?;
    let oldest = answers.words_if_any().into_iter().flatten().next();
    if !there {
        return Err(missing(
            format!("{} member {}", of.queues_key(), of.queue_key()),
            "no RQ queue of this name has had a job; check source.rq.queue and keyPrefix",
        ));
    }
    Ok(Depth {
        runnable,
        in_flight,
        deferred: deferred + freed,
        deferred_due: due + freed,
        next_due: next_due.map(|score| ahead(now, seconds(score))),
        oldest: oldest.and_then(|time| waited(now, &time)),
        paused,
        ..Depth::default()
    })
}

fn waited(now: Timestamp, enqueued_at: &str) -> Option<Duration> {
    let enqueued: Timestamp = enqueued_at.parse().ok()?;
    Some(ago(now, enqueued.as_millisecond()))
}
