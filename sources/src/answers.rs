//! Questions to Redis and their answers, taken one by one in the order in which they were asked.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use redis::{Cmd, Value};
use taskqueue_queue::Error;

use crate::depth::{Kind, SourceError};

/// What is asked: a command, and what has to be under its key for the answer to make sense.
pub(crate) struct Question {
    pub(crate) command: Cmd,
    pub(crate) key: String,
    wants: Kind,
}

impl Question {
    /// A command that reads this key, with more arguments.
    pub(crate) fn new(name: &str, key: &str, wants: Kind, arguments: &[&str]) -> Self {
        let mut command = redis::cmd(name);
        command.arg(key).arg(arguments);
        Self {
            command,
            key: key.to_owned(),
            wants,
        }
    }

    pub(crate) fn llen(key: &str) -> Self {
        Self::new("LLEN", key, Kind::List, &[])
    }

    pub(crate) fn zcard(key: &str) -> Self {
        Self::new("ZCARD", key, Kind::SortedSet, &[])
    }

    /// How many members have a score of at most `score`.
    pub(crate) fn zcount(key: &str, score: &str) -> Self {
        Self::new("ZCOUNT", key, Kind::SortedSet, &["-inf", score])
    }

    /// The member that follows `score`, with its score.
    pub(crate) fn after(key: &str, score: &str) -> Self {
        let from = format!("({score}");
        let words = [from.as_str(), "+inf", "WITHSCORES", "LIMIT", "0", "1"];
        Self::new("ZRANGEBYSCORE", key, Kind::SortedSet, &words)
    }

    pub(crate) fn sismember(key: &str, member: &str) -> Self {
        Self::new("SISMEMBER", key, Kind::Set, &[member])
    }

    /// Whether there is such a key, of whatever type.
    pub(crate) fn exists(key: &str) -> Self {
        Self::new("EXISTS", key, Kind::Text, &[])
    }

    /// Fields of the hashes that an end of a list names: one hop further in the same round trip.
    /// `SORT_RO` and not `SORT`: older servers, which would walk the whole list, do not have it.
    pub(crate) fn beyond(key: &str, wants: Kind, words: &[&str]) -> Self {
        let all = [&["BY", "nosort"], words].concat();
        Self::new("SORT_RO", key, wants, &all)
    }
}

/// Answers, taken in order.
pub(crate) struct Answers<'a> {
    rest: std::vec::IntoIter<(Question, Option<&'a Result<Value, Error>>)>,
}

impl<'a> Answers<'a> {
    pub(crate) fn new(questions: Vec<Question>, answers: &'a [Result<Value, Error>]) -> Self {
        let mut answers = answers.iter();
        let paired: Vec<_> = questions
            .into_iter()
            .map(|question| (question, answers.next()))
            .collect();
        Self {
            rest: paired.into_iter(),
        }
    }

    /// The next answer as it is.
    pub(crate) fn value(&mut self) -> Result<(String, &'a Value), SourceError> {
        let Some((question, answer)) = self.rest.next() else {
            return Err(unreadable(String::new(), "not asked"));
        };
        match answer {
            Some(Ok(Value::ServerError(refusal))) => {
                let said = refusal.details().unwrap_or_default();
                Err(refused(question, refusal.code(), said))
            }
            Some(Ok(value)) => Ok((question.key, value)),
            Some(Err(Error::Script { reason, .. })) => Err(refused(question, reason, reason)),
            Some(Err(error)) => Err(error.clone().into()),
            None => Err(unreadable(question.key, "no answer")),
        }
    }

    /// The next answer as a number of tasks.
    pub(crate) fn count(&mut self) -> Result<u64, SourceError> {
        let (key, value) = self.value()?;
        match value {
            Value::Int(count) => u64::try_from(*count).ok(),
            _ => None,
        }
        .ok_or_else(|| unreadable(key, "not a number"))
    }

    /// The next answer as yes or no.
    pub(crate) fn flag(&mut self) -> Result<bool, SourceError> {
        Ok(self.count()? > 0)
    }

    /// The score in the next answer, if a member was found.
    pub(crate) fn score(&mut self) -> Result<Option<f64>, SourceError> {
        let (key, value) = self.value()?;
        let words = words(value);
        match words.as_slice() {
            [] => Ok(None),
            [.., Some(score)] => match score.parse() {
                Ok(score) => Ok(Some(score)),
                Err(_) => Err(unreadable(key, "a score that is no number")),
            },
            [..] => Err(unreadable(key, "a member without a score")),
        }
    }

    /// The next answer as the time that a key has left; `None` where there is no such key, or no end
    /// of its time.
    pub(crate) fn left(&mut self) -> Result<Option<Duration>, SourceError> {
        let (key, value) = self.value()?;
        match value {
            Value::Int(millis @ -2..) => Ok(u64::try_from(*millis).ok().map(Duration::from_millis)),
            _ => Err(unreadable(key, "not a time")),
        }
    }

    /// The next answer as a list of texts, some of them missing.
    pub(crate) fn words(&mut self) -> Result<Vec<Option<String>>, SourceError> {
        Ok(words(self.value()?.1))
    }

    /// The same of a question whose answer is nice to have: an older server, a cluster or a user
    /// with few rights may refuse it.
    pub(crate) fn words_if_any(&mut self) -> Vec<Option<String>> {
        self.words().unwrap_or_default()
    }
}

/// A refusal by the server: a key of another type, or anything else.
fn refused(question: Question, code: &str, said: &str) -> SourceError {
    if code.starts_with("WRONGTYPE") {
        return SourceError::WrongType {
            key: question.key,
            wants: question.wants,
            found: None,
        };
    }
    unreadable(question.key, said)
}

pub(crate) fn unreadable(key: String, reason: impl Into<String>) -> SourceError {
    SourceError::Unreadable {
        key,
        reason: reason.into(),
    }
}

/// The texts in an answer, however deep.
fn words(value: &Value) -> Vec<Option<String>> {
    match value {
        Value::Array(values) | Value::Set(values) => values
            .iter()
            .flat_map(|value| match value {
                Value::Nil => vec![None],
                value => words(value),
            })
            .collect(),
        Value::Nil => Vec::new(),
        value => vec![text(value)],
    }
}

/// A text, or a number as one.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Double(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Names and values, as RESP2 (a flat array) or RESP3 (a map) tell them.
pub(crate) fn fields(value: &Value) -> HashMap<String, &Value> {
    match value {
        Value::Map(pairs) => pairs
            .iter()
            .filter_map(|(name, value)| Some((text(name)?, value)))
            .collect(),
        Value::Array(values) => values
            .chunks_exact(2)
            .filter_map(|pair| Some((text(&pair[0])?, &pair[1])))
            .collect(),
        _ => HashMap::new(),
    }
}

/// How long ago that was, from milliseconds since the epoch. Clocks differ: the future is now.
pub(crate) fn ago(now: Timestamp, then_ms: i64) -> Duration {
    span(now.as_millisecond().saturating_sub(then_ms))
}

/// How long until then.
pub(crate) fn ahead(now: Timestamp, then_ms: i64) -> Duration {
    span(then_ms.saturating_sub(now.as_millisecond()))
}

fn span(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A time in seconds, as a score tells it, in milliseconds.
pub(crate) fn seconds(score: f64) -> i64 {
    whole(score * 1_000.0)
}

/// The whole part; what is out of range is as far off as can be told.
#[allow(clippy::cast_possible_truncation)] // Saturating, which is what is wanted.
pub(crate) fn whole(score: f64) -> i64 {
    score.floor() as i64
}
