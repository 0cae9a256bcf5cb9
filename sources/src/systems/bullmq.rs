//! BullMQ: lists of ids, sorted sets for what is prioritized or delayed, a hash of settings.
//!
//! `waiting-children` is no demand: those jobs run when their children have.

use jiff::Timestamp;

use super::missing;
use crate::{
    answers::{Answers, Question, ago, ahead, whole},
    depth::{Depth, Kind, SourceError},
    source::BullMq,
};

/// A score of a delayed job is its time in milliseconds, and 12 bits that keep an order within it.
const SCORES_PER_MILLI: i64 = 4_096;
/// What the count of the rate limit is set to by a worker that was told to wait, whatever its `max`:
/// JavaScript's largest safe integer.
const TOLD_TO_WAIT: u64 = 9_007_199_254_740_991;

impl BullMq {
    fn key(&self, name: &str) -> String {
        format!("{}:{}:{name}", self.prefix, self.queue)
    }

    /// The stream to which an event is added whenever a job is.
    pub fn events_key(&self) -> String {
        self.key("events")
    }
}

pub(super) fn questions(of: &BullMq, now: Timestamp) -> Vec<Question> {
    let due = (now.as_millisecond() + 1) * SCORES_PER_MILLI - 1;
    let (due, delayed, wait) = (due.to_string(), of.key("delayed"), of.key("wait"));
    let oldest = of.key("*->timestamp");
    let last = ["LIMIT", "0", "1", "DESC", "GET", "#", "GET", &oldest];
    vec![
        // Made by whoever first adds a job or a worker, and kept when the queue is empty.
        Question::exists(&of.key("meta")),
        Question::new(
            "HMGET",
            &of.key("meta"),
            Kind::Hash,
            &["paused", "concurrency", "max"],
        ),
        Question::llen(&wait),
        // Where 5.x moves what waits when a queue is paused.
        Question::llen(&of.key("paused")),
        Question::zcard(&of.key("prioritized")),
        Question::llen(&of.key("active")),
        Question::zcard(&delayed),
        Question::zcount(&delayed, &due),
        Question::after(&delayed, &due),
        // How many jobs have begun in the span of the rate limit, and how long it still lasts.
        Question::new("GET", &of.key("limiter"), Kind::Text, &[]),
        Question::new("PTTL", &of.key("limiter"), Kind::Text, &[]),
        Question::beyond(&wait, Kind::List, &last),
    ]
}

pub(super) fn depth(
    of: &BullMq,
    now: Timestamp,
    answers: &mut Answers<'_>,
) -> Result<Depth, SourceError> {
    let there = answers.flag()?;
    let meta = answers.words()?;
    let setting = |place: usize| meta.get(place).cloned().flatten();
    let waiting = answers.count()? + answers.count()? + answers.count()?;
    let in_flight = answers.count()?;
    let (deferred, deferred_due) = (answers.count()?, answers.count()?);
    let next_due = answers.score()?;
    let begun = answers.words()?.into_iter().flatten().next();
    let left = answers.left()?;
    let last = answers.words_if_any();
    if !there {
        return Err(missing(
            of.key("meta"),
            "no BullMQ queue of this name has had a job or a worker; check source.bullmq.queue and prefix",
        ));
    }
    let most = setting(2).and_then(|most| most.parse().ok());
    let most = most.or(of.limiter_max).unwrap_or(TOLD_TO_WAIT);
    let begun: Option<u64> = begun.and_then(|begun| begun.parse().ok());
    let used_up = begun.is_some_and(|begun| begun >= most.min(TOLD_TO_WAIT));
    // Queues that once were used by 4.x may hold a mark behind the oldest job.
    let id = last.first().cloned().flatten().unwrap_or_default();
    let mark = u64::from(id.starts_with("0:"));
    let oldest = last.get(1).cloned().flatten();
    Ok(Depth {
        runnable: waiting.saturating_sub(mark),
        in_flight,
        deferred,
        deferred_due,
        next_due: next_due.map(|score| ahead(now, whole(score) / SCORES_PER_MILLI)),
        oldest: oldest
            .and_then(|millis| millis.parse().ok())
            .map(|millis| ago(now, millis)),
        paused: setting(0).is_some(),
        cap: setting(1).and_then(|most| most.parse().ok()),
        limited: left.filter(|_| used_up),
    })
}
