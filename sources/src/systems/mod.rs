//! The keys of each system: one file a system, each with the questions to ask and what the answers
//! mean. Pure.

mod asynq;
mod bullmq;
mod celery;
mod expressions;
mod plain;
mod rq;
mod sidekiq;
mod stream;

use jiff::Timestamp;
use redis::{Cmd, Value};
use taskqueue_queue::Error;

use crate::{
    answers::{Answers, Question},
    depth::{Depth, SourceError},
    source::{Source, Unit},
};

/// The commands that read a queue at `now`: at most thirteen, and three for each expression. All of
/// them only read, and none takes longer the more tasks there are.
pub fn commands(source: &Source, now: Timestamp) -> Vec<Cmd> {
    let questions = questions(source, now).into_iter();
    questions.map(|question| question.command).collect()
}

/// The depth of a queue, from the answers to its [`commands`] in their order, asked with the same
/// `now`.
///
/// Redis drops a list, set or sorted set with its last member, so that for plain keys empty and
/// never there look alike: with `seen`, once the caller has seen one of the keys, a missing one is
/// empty. The other systems leave a trace of each queue, and `seen` is of no matter.
pub fn read(
    source: &Source,
    seen: bool,
    now: Timestamp,
    answers: &[Result<Value, Error>],
) -> Result<Depth, SourceError> {
    let mut answers = Answers::new(questions(source, now), answers);
    let answers = &mut answers;
    match source {
        Source::BullMq(of) => bullmq::depth(of, now, answers),
        Source::Celery(of) => celery::depth(of, answers),
        Source::Rq(of) => rq::depth(of, now, answers),
        Source::Sidekiq(of) => sidekiq::depth(of, now, answers),
        Source::Asynq(of) => asynq::depth(of, now, answers),
        Source::List(of) => plain::list_depth(of, seen, answers),
        Source::SortedSet(of) => plain::sorted_set_depth(of, seen, now, answers),
        Source::Stream(of) => stream::depth(of, answers),
        Source::Expressions(of) => expressions::depth(of, seen, now, answers),
    }
}

pub(crate) fn questions(source: &Source, now: Timestamp) -> Vec<Question> {
    match source {
        Source::BullMq(of) => bullmq::questions(of, now),
        Source::Celery(of) => celery::questions(of),
        Source::Rq(of) => rq::questions(of, now),
        Source::Sidekiq(of) => sidekiq::questions(of, now),
        Source::Asynq(of) => asynq::questions(of, now),
        Source::List(of) => plain::list_questions(of),
        Source::SortedSet(of) => plain::sorted_set_questions(of, now),
        Source::Stream(of) => stream::questions(of),
        Source::Expressions(of) => expressions::questions(of, now),
    }
}

/// Now, as a score.
fn score_of(now: Timestamp, unit: Unit) -> String {
    let millis = now.as_millisecond();
    match unit {
        Unit::Milliseconds => millis.to_string(),
        Unit::Seconds => format!(
            "{}.{:03}",
            millis.div_euclid(1_000),
            millis.rem_euclid(1_000)
        ),
    }
}

/// A score in milliseconds since the epoch.
fn millis_of(score: f64, unit: Unit) -> i64 {
    match unit {
        Unit::Milliseconds => crate::answers::whole(score),
        Unit::Seconds => crate::answers::seconds(score),
    }
}

fn missing(key: impl Into<String>, fix: &'static str) -> SourceError {
    SourceError::KeyMissing {
        key: key.into(),
        fix,
    }
}
