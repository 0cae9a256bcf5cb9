//! Kinds of failures: those that differ only in what changes from one to the next are counted together. What makes a kind is
//! in `fingerprint`; they are counted where a failure is told to Redis.

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::timestamp;
use crate::fingerprint::of_normalized;
use crate::pack::{Malformed, Reader, Writer};
use crate::queue::Queue;
use crate::script::args;
use crate::snapshot::millis;
use crate::{Cause, Error, Failure, Fingerprint, TaskId, normalized};

/// Most kinds of failures that a queue knows; the one that was seen last the longest ago goes for a new one.
pub(crate) const MOST_GROUPS: usize = 1_000;
/// Bytes kept of the message of the last failure of a kind.
const MOST_EXAMPLE_BYTES: usize = 256;
/// Most bytes of what is told of a kind: type, messages, and what is around them.
const MOST_TOLD_BYTES: usize = 1_024;
/// Milliseconds of an hour.
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorGroup {
    /// What they have in common; [`fingerprint`](crate::fingerprint) of each of them.
    pub fingerprint: Fingerprint,
    /// The type of their tasks.
    #[serde(rename = "type")]
    pub kind: String,
    /// Their cause.
    pub cause: Cause,
    /// What their messages have in common; see [`normalized`](crate::normalized).
    pub message: String,
    /// How many there were since the first that is known.
    pub count: u64,
    /// About how many of them in the last hour: of the hour before this one as great a part counts as of this
    /// one is missing.
    pub last_hour: u64,
    /// When the first of them was, by the clock of Redis.
    pub first_seen: Timestamp,
    /// When the last of them was.
    pub last_seen: Timestamp,
    /// The task of the last of them.
    pub task: TaskId,
    /// What was said of that one, the first 256 bytes.
    pub example: String,
}

/// The kinds of failures of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorGroups {
    /// The one that was seen last first, at most 1,000.
    pub groups: Vec<ErrorGroup>,
    /// How many kinds there were beyond that; they are forgotten.
    pub dropped: u64,
}

/// What is told to Redis of a failure, to be counted with others of its kind: the digits of its fingerprint, and
/// an array of type, cause, what the messages have in common, and the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group(Vec<u8>);

impl Group {
    pub(crate) fn of(kind: &str, failure: &Failure) -> Self {
        let message = failure.message.as_str();
        let normal = normalized(message);
        let print = of_normalized(kind, failure.cause, &normal).to_string();
        let mut writer = Writer::after(print.as_bytes(), 64 + kind.len() + 2 * normal.len());
        writer.array(4);
        writer.text(kind);
        writer.uint(failure.cause.number());
        writer.text(&normal);
        writer.text(&message[..message.floor_char_boundary(MOST_EXAMPLE_BYTES)]);
        Self(writer.finish(&[]))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Queue {
    /// The kinds of failures of the queue's tasks, the one seen last first: failed attempts, and losses of
    /// workers. At most 1,000; the one that was seen last the longest ago goes for a new one.
    pub async fn error_groups(&self) -> Result<ErrorGroups, Error> {
        let known = self.known().await?;
        let asked = args::Groups {
            most: MOST_GROUPS.into(),
            longest: MOST_TOLD_BYTES.into(),
        };
        let (_, mut reply) = self.read(&self.call(&known, &[], &asked)).await?;
        let now_ms = reply.now_ms;
        let prints: Vec<Vec<u8>> = reply.next()?;
        let seen: Vec<f64> = reply.next()?;
        let told: Vec<Vec<u8>> = reply.next()?;
        let figures: Vec<Vec<u8>> = reply.next()?;
        let dropped = reply.next()?;
        let columns = prints.iter().zip(seen).zip(told).zip(figures);
        let groups = columns.filter_map(|(((print, seen), told), figures)| {
            // What is none of ours is passed over.
            let print = std::str::from_utf8(print).ok()?.parse().ok()?;
            let last_seen = timestamp(millis(seen)?);
            let figures = Figures::of(std::str::from_utf8(&figures).ok()?)?;
            group(print, last_seen, &told, figures, now_ms).ok()
        });
        Ok(ErrorGroups {
            groups: groups.collect(),
            dropped,
        })
    }

    /// Forgets kinds of failures: these, or all of them if none is named. They are counted from 1 when they are
    /// seen again. How many were known.
    pub async fn forget_error_groups(&self, groups: &[Fingerprint]) -> Result<u64, Error> {
        let known = self.known().await?;
        let mut call = self.call(&known, &[], &args::Ungroup);
        for group in groups.iter().take(MOST_GROUPS) {
            call.push(group.to_string());
        }
        let (_, mut reply) = self.answer(&call).await?;
        reply.next()
    }
}

/// What the id of the last task, and behind it what [`Group`] has written, tell of a kind.
fn group(
    fingerprint: Fingerprint,
    last_seen: Timestamp,
    told: &[u8],
    figures: Figures,
    now_ms: u64,
) -> Result<ErrorGroup, Malformed> {
    let wrong = Malformed("an id");
    let (id, rest) = told.split_at_checked(20).ok_or(wrong)?;
    let id = std::str::from_utf8(id).map_err(|_| wrong)?;
    let mut reader = Reader::new(rest);
    reader.array_of(4)?;
    Ok(ErrorGroup {
        fingerprint,
        kind: reader.text()?.to_owned(),
        cause: Cause::of_number(reader.uint()?),
        message: reader.text()?.to_owned(),
        count: figures.count,
        last_hour: figures.last_hour(now_ms),
        first_seen: timestamp(figures.first_ms),
        last_seen,
        task: id.parse().map_err(|_| wrong)?,
        example: reader.text()?.to_owned(),
    })
}

/// The figures of a kind, as `group.lua` keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Figures {
    count: u64,
    first_ms: u64,
    /// Of which hour since 1970 the next is.
    hour: u64,
    in_hour: u64,
    in_hour_before: u64,
}

impl Figures {
    fn of(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(str::parse::<u64>);
        let mut number = || numbers.next()?.ok();
        Some(Self {
            count: number()?,
            first_ms: number()?,
            hour: number()?,
            in_hour: number()?,
            in_hour_before: number()?,
        })
    }

    fn last_hour(self, now_ms: u64) -> u64 {
        let part_of = |count: u64| {
            let missing = HOUR_MS - now_ms % HOUR_MS;
            let part = u128::from(count) * u128::from(missing) / u128::from(HOUR_MS);
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        match (now_ms / HOUR_MS).checked_sub(self.hour) {
            Some(0) => self.in_hour.saturating_add(part_of(self.in_hour_before)),
            Some(1) => part_of(self.in_hour),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_hour_before_counts_what_is_missing_of_this_one() {
        let figures = Figures::of("100 7 50 8 40").unwrap();
        let at = |hour: u64, minute: u64| figures.last_hour(hour * HOUR_MS + minute * 60_000);
        assert_eq!((at(50, 0), at(50, 30), at(50, 45)), (48, 28, 18));
        assert_eq!((at(51, 0), at(51, 30), at(52, 0)), (8, 4, 0));
        // The clock went back.
        assert_eq!(at(49, 0), 0);
        for wrong in ["", "1", "1 2 3 4 x", "1 2 3 4"] {
            assert_eq!(Figures::of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_told_of_a_failure_is_bounded_and_read_back() {
        let failure = Failure {
            attempt: 1,
            at: Timestamp::UNIX_EPOCH,
            cause: Cause::Timeout,
            message: "ä1 ".repeat(400),
        };
        let kind = "k".repeat(128);
        let Group(bytes) = Group::of(&kind, &failure);
        let (print, told) = bytes.split_at(16);
        let id = "0".repeat(20);
        let told = [id.as_bytes(), told].concat();
        assert!(told.len() <= MOST_TOLD_BYTES, "{}", told.len());
        let print: Fingerprint = std::str::from_utf8(print).unwrap().parse().unwrap();
        assert_eq!(
            print,
            crate::fingerprint(&kind, failure.cause, &failure.message)
        );
        let figures = Figures::of("1 2 3 4 5").unwrap();
        let read = group(print, Timestamp::UNIX_EPOCH, &told, figures, 0).unwrap();
        assert_eq!((read.kind, read.cause), (kind, Cause::Timeout));
        assert!(read.message.starts_with("ä# ä#") && failure.message.starts_with(&read.example));
    }
}
