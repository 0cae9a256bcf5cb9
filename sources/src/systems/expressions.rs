//! Sums of numbers, each read by one command.

use jiff::Timestamp;
use redis::Value;

use super::{millis_of, missing, score_of};
use crate::{
    answers::{Answers, Question, ahead, text, unreadable},
    depth::{Depth, Kind, SourceError},
    source::{Command, Expression, Role},
};

pub(super) fn questions(of: &[Expression], now: Timestamp) -> Vec<Question> {
    let ask = |expression: &Expression| {
        let key = &expression.key;
        let mut asked = vec![match expression.command {
            Command::Llen => Question::llen(key),
            Command::Scard => Question::new("SCARD", key, Kind::Set, &[]),
            Command::Zcard => Question::zcard(key),
            Command::Zcount(unit) => Question::zcount(key, &score_of(now, unit)),
            Command::Hlen => Question::new("HLEN", key, Kind::Hash, &[]),
            Command::Xlen => Question::new("XLEN", key, Kind::Stream, &[]),
            // A number is shorter, and anything else may be of any size.
            Command::Get => Question::new("GETRANGE", key, Kind::Text, &["0", "63"]),
        }];
        if let Command::Zcount(unit) = expression.command {
            asked.push(Question::after(key, &score_of(now, unit)));
        }
        asked.push(Question::exists(key));
        asked
    };
    of.iter().flat_map(ask).collect()
}

pub(super) fn depth(
    of: &[Expression],
    seen: bool,
    now: Timestamp,
    answers: &mut Answers<'_>,
) -> Result<Depth, SourceError> {
    let mut depth = Depth::default();
    let mut there = seen;
    for expression in of {
        let count = match expression.command {
            Command::Get => number(answers)?,
            _ => answers.count()?,
        };
        if let Command::Zcount(unit) = expression.command {
            let next = answers.score()?;
            let next = next.map(|score| ahead(now, millis_of(score, unit)));
            depth.next_due = [depth.next_due, next].into_iter().flatten().min();
        }
        there |= answers.flag()?;
        match expression.role {
            Role::Runnable => depth.runnable += count,
            Role::InFlight => depth.in_flight += count,
            Role::Deferred => {
                depth.deferred += count;
                depth.deferred_due += count;
            }
        }
    }
    if there {
        return Ok(depth);
    }
    let keys: Vec<_> = of
        .iter()
        .map(|expression| expression.key.as_str())
        .collect();
    Err(missing(
        keys.join(", "),
        "nothing was ever found under any of these keys; check source.expressions[].key and the number of the database, or add a first task",
    ))
}

/// A whole number that is kept as text; a key that is not there is zero.
fn number(answers: &mut Answers<'_>) -> Result<u64, SourceError> {
    let (key, value) = answers.value()?;
    match value {
        Value::Nil => Ok(0),
        value => match text(value) {
            // What there is of a key that is not there.
            Some(text) if text.is_empty() => Ok(0),
            text => text
                .and_then(|text| text.trim().parse().ok())
                .ok_or_else(|| unreadable(key, "not a whole number")),
        },
    }
}
