//! asynq: lists of ids for what waits and what runs, sorted sets for what is scheduled or retried.
//!
//! Tasks that wait for others to make a group with are in sets of their own until a live server
//! makes one task of a whole group: all groups together count as one task that is due.

use jiff::Timestamp;

use super::{missing, score_of};
use crate::{
    answers::{Answers, Question, ago, ahead, seconds},
    depth::{Depth, Kind, SourceError},
    source::{Asynq, Unit},
};

const NANOS_PER_MILLI: i64 = 1_000_000;

impl Asynq {
    fn key(&self, name: &str) -> String {
        format!("asynq:{{{}}}:{name}", self.queue)
    }
}

pub(super) fn questions(of: &Asynq, now: Timestamp) -> Vec<Question> {
    let (pending, since) = (of.key("pending"), of.key("t:*->pending_since"));
    let last = ["LIMIT", "0", "1", "DESC", "GET", &since];
    let due = score_of(now, Unit::Seconds);
    let mut questions = vec![
        // Every queue that ever had a task.
        Question::sismember("asynq:queues", &of.queue),
        Question::exists(&of.key("paused")),
        Question::llen(&pending),
        Question::llen(&of.key("active")),
        Question::beyond(&pending, Kind::List, &last),
    ];
    for later in ["scheduled", "retry"] {
        let key = of.key(later);
        questions.push(Question::zcard(&key));
        questions.push(Question::zcount(&key, &due));
        questions.push(Question::after(&key, &due));
    }
    if of.aggregates {
        questions.push(Question::new("SCARD", &of.key("groups"), Kind::Set, &[]));
        // Groups that a server makes a task of, or was about to when it died.
        questions.push(Question::zcard(&of.key("aggregation_sets")));
    }
    questions
}

pub(super) fn depth(
    of: &Asynq,
    now: Timestamp,
    answers: &mut Answers<'_>,
) -> Result<Depth, SourceError> {
    let there = answers.flag()?;
    let paused = answers.flag()?;
    let (runnable, in_flight) = (answers.count()?, answers.count()?);
    let since = answers.words_if_any().into_iter().flatten().next();
    let mut depth = Depth {
        runnable,
        in_flight,
        paused,
        oldest: since
            .and_then(|nanos| nanos.parse::<i64>().ok())
            .map(|nanos| ago(now, nanos / NANOS_PER_MILLI)),
        ..Depth::default()
    };
    for _ in ["scheduled", "retry"] {
        depth.deferred += answers.count()?;
        depth.deferred_due += answers.count()?;
        let next = answers.score()?.map(|score| ahead(now, seconds(score)));
        depth.next_due = [depth.next_due, next].into_iter().flatten().min();
    }
    if of.aggregates {
        let gathering = u64::from(answers.flag()?);
        depth.deferred += gathering;
        depth.deferred_due += gathering;
        depth.in_flight += answers.count()?;
    }
    if !there {
        return Err(missing(
            format!("asynq:queues member {}", of.queue),
            "no asynq queue of this name has had a task; check source.asynq.queue",
        ));
    }
    Ok(depth)
}
