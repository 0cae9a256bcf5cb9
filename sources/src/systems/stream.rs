//! Streams: what a consumer group has not been given yet, and what it was given and has not
//! acknowledged.

use redis::Value;

use super::missing;
use crate::{
    answers::{Answers, Question, fields, text, unreadable},
    depth::{Depth, Kind, SourceError},
    source::Stream,
};

pub(super) fn questions(of: &Stream) -> Vec<Question> {
    let mut groups = Question::new("XINFO", &of.key, Kind::Stream, &[]);
    groups.command = redis::cmd("XINFO");
    groups.command.arg("GROUPS").arg(&of.key);
    let last = [("+"), "-", "COUNT", "1"];
    vec![
        Question::exists(&of.key),
        Question::new("XLEN", &of.key, Kind::Stream, &[]),
        Question::new("XREVRANGE", &of.key, Kind::Stream, &last),
        groups,
    ]
}

pub(super) fn depth(of: &Stream, answers: &mut Answers<'_>) -> Result<Depth, SourceError> {
    let there = answers.flag()?;
    let length = answers.count()?;
    let last = answers.value()?.1;
    if !there {
        return Err(missing(
            &of.key,
            "no stream of this name has had an entry; check source.stream.key and the number of the database",
        ));
    }
    let (key, groups) = answers.value()?;
    let Value::Array(groups) = groups else {
        return Err(unreadable(key, "no list of groups"));
    };
    let mut groups = groups.iter().map(fields);
    let named = |group: &std::collections::HashMap<String, &Value>| {
        group.get("name").and_then(|name| text(name)).as_deref() == Some(&of.group)
    };
    let Some(group) = groups.find(named) else {
        return Err(missing(
            format!("{} group {}", of.key, of.group),
            "the stream has no such consumer group; check source.stream.group, or create it",
        ));
    };
    let number = |name: &str| match group.get(name) {
        Some(Value::Int(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    let in_flight = number("pending").ok_or_else(|| unreadable(key, "a group without pending"))?;
    let delivered = group.get("last-delivered-id").and_then(|id| position(id));
    let runnable = match (last_position(last), delivered) {
        (None, _) => 0,
        // Redis 7.0 and 7.2 count on what went unread, trimmed away, after the group has read to the end.
        (Some(last), Some(delivered)) if last <= delivered => 0,
        // Redis cannot tell after a deletion of what was not delivered yet, nor before 7.0. All that
        // the stream holds is too much, and leaves nobody behind.
        _ => number("lag").map_or(length, |lag| lag.min(length)),
    };
    Ok(Depth {
        runnable,
        in_flight,
        ..Depth::default()
    })
}

/// Where an entry stands in its stream, by its id: milliseconds and a number.
fn position(id: &Value) -> Option<(u64, u64)> {
    let id = text(id)?;
    let (ms, number) = id.split_once('-')?;
    Some((ms.parse().ok()?, number.parse().ok()?))
}

/// Where the entry stands in an answer that holds one.
fn last_position(entries: &Value) -> Option<(u64, u64)> {
    let Value::Array(entries) = entries else {
        return None;
    };
    match entries.first()? {
        Value::Array(entry) => position(entry.first()?),
        _ => None,
    }
}
