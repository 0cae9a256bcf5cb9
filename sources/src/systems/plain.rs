//! Plain lists and sorted sets, in which each member is a task.

use jiff::Timestamp;

use super::{millis_of, missing, score_of};
use crate::{
    answers::{Answers, Question, ahead},
    depth::{Depth, SourceError},
    source::{List, Scores, SortedSet},
};

const FIX: &str = "nothing was ever found under this key; check its name and the number of the database, or add a first task";

pub(super) fn list_questions(of: &List) -> Vec<Question> {
    let in_flight = of.in_flight_key.iter();
    [&of.key]
        .into_iter()
        .chain(in_flight)
        .map(|key| Question::llen(key))
        .collect()
}

pub(super) fn list_depth(
    of: &List,
    seen: bool,
    answers: &mut Answers<'_>,
) -> Result<Depth, SourceError> {
    let runnable = answers.count()?;
    let in_flight = match of.in_flight_key {
        Some(_) => answers.count()?,
        None => 0,
    };
    if !seen && runnable + in_flight == 0 {
        return Err(missing(&of.key, FIX));
    }
    Ok(Depth {
        runnable,
        in_flight,
        ..Depth::default()
    })
}

pub(super) fn sorted_set_questions(of: &SortedSet, now: Timestamp) -> Vec<Question> {
    let mut questions = vec![Question::zcard(&of.key)];
    if let Scores::Due(unit) = of.scores {
        let due = score_of(now, unit);
        questions.push(Question::zcount(&of.key, &due));
        questions.push(Question::after(&of.key, &due));
    }
    questions.extend(of.in_flight_key.iter().map(|key| Question::zcard(key)));
    questions
}

pub(super) fn sorted_set_depth(
    of: &SortedSet,
    seen: bool,
    now: Timestamp,
    answers: &mut Answers<'_>,
) -> Result<Depth, SourceError> {
    let members = answers.count()?;
    let mut depth = match of.scores {
        Scores::Order => Depth {
            runnable: members,
            ..Depth::default()
        },
        Scores::Due(unit) => Depth {
            deferred: members,
            deferred_due: answers.count()?,
            next_due: answers
                .score()?
                .map(|score| ahead(now, millis_of(score, unit))),
            ..Depth::default()
        },
    };
    if of.in_flight_key.is_some() {
        depth.in_flight = answers.count()?;
    }
    if !seen && members + depth.in_flight == 0 {
        return Err(missing(&of.key, FIX));
    }
    Ok(depth)
}
