//! Where a listing goes on, and the text that stands for it. Pure.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};

use super::filter::{Filter, Stage};
use crate::pack::{Malformed, Reader, Writer};
use crate::{Error, QueueName, TaskId};

/// The form of what is in a cursor.
const VERSION: u64 = 1;
/// Longest text of a cursor.
const MAX_TEXT_BYTES: usize = 8_192;
/// How many ids a place in a list has: one of them may have been moved to another level.
const MOST_RECENT: usize = 3;
/// Longest name of what is in Redis: that of a parked task has 277 bytes at most.
pub(super) const MAX_NAME_BYTES: usize = 512;
/// Longest text of a score.
const MAX_SCORE_BYTES: usize = 32;
const RULE: &str = "give it as the page before returned it, or none to begin the listing anew";

/// Where a listing goes on: what [`Page::next`](super::Page::next) says, as a text of `A-Z a-z 0-9 - _`. It is good for the
/// same filter on the same queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Of queue and filter.
    asked: u64,
    place: Place,
}

/// A place in what Redis holds, behind which a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind this id, by id.
    Active(Option<TaskId>),
    /// In the list of this level, before those of the rest: what they are and in which order does not change while they are
    /// listed, whatever becomes of the policy.
    Waiting {
        level: String,
        behind: Option<InList>,
        rest: Vec<String>,
    },
    /// Behind this member.
    Blocked(Vec<u8>),
    Scheduled(Option<Scored>),
    /// Backwards.
    Dead(Option<Scored>),
    /// Before this id or bucket, by id, backwards; empty for the end.
    Ended(String),
}

/// A place in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InList {
    /// What was looked at last, the last one first, at most [`MOST_RECENT`].
    pub(super) recent: Vec<Vec<u8>>,
    /// The last of the list when that was looked at.
    pub(super) last: Vec<u8>,
    /// How many entries were ahead then.
    pub(super) ahead: u64,
}

impl InList {
    /// One entry further.
    pub(super) fn pass(&mut self, name: &[u8]) {
        self.recent.truncate(MOST_RECENT - 1);
        self.recent.insert(0, name.to_vec());
        self.ahead = self.ahead.saturating_sub(1);
    }
}

/// A member of a sorted set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scored {
    pub(super) score: String,
    pub(super) member: Vec<u8>,
}

/// The beginnings of all that a filter asks for, in the order in which it is listed.
pub(super) fn beginnings(filter: &Filter, levels: &[String]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |stages: &[Stage], place| {
        if stages.iter().any(|stage| filter.is_of(*stage)) {
            places.push(place);
        }
    };
    add(&[Stage::Active], Place::Active(None));
    let asked = |level: &&String| filter.level.as_ref().is_none_or(|asked| asked == *level);
    let levels: Vec<String> = levels.iter().filter(asked).cloned().collect();
    if let Some(place) = Place::first_of(&levels) {
        add(&[Stage::Waiting], place);
    }
    add(&[Stage::Blocked], Place::Blocked(Vec::new()));
    add(&[Stage::Scheduled], Place::Scheduled(None));
    add(&[Stage::Dead], Place::Dead(None));
    add(&Stage::ENDED, Place::Ended(String::new()));
    places
}

impl Place {
    /// The beginning of the first of these levels.
    fn first_of(levels: &[String]) -> Option<Self> {
        let (level, rest) = levels.split_first()?;
        Some(Self::Waiting {
            level: level.clone(),
            behind: None,
            rest: rest.to_vec(),
        })
    }

    /// Where to go on behind all that is in the same list, set or hash, among these beginnings; `None` for nowhere.
    pub(super) fn following(&self, beginnings: &[Self]) -> Option<Self> {
        if let Self::Waiting { rest, .. } = self
            && let Some(next) = Self::first_of(rest)
        {
            return Some(next);
        }
        let same = |other: &Self| std::mem::discriminant(self) == std::mem::discriminant(other);
        let at = beginnings.iter().position(same)?;
        beginnings.get(at + 1).cloned()
    }

    /// What of it Redis has named.
    fn names(&self) -> Vec<&[u8]> {
        match self {
            Self::Active(_) | Self::Ended(_) => Vec::new(),
            Self::Waiting { behind, .. } => {
                let names = behind
                    .iter()
                    .flat_map(|at| at.recent.iter().chain([&at.last]));
                names.map(Vec::as_slice).collect()
            }
            Self::Blocked(member) => vec![member.as_slice()],
            Self::Scheduled(at) | Self::Dead(at) => {
                at.iter().map(|at| at.member.as_slice()).collect()
            }
        }
    }

    fn pack(&self, writer: &mut Writer) {
        let scored = |writer: &mut Writer, at: &Option<Scored>| {
            let (score, member) = match at {
                Some(at) => (at.score.as_str(), &at.member[..]),
                None => ("", &[][..]),
            };
            writer.text(score);
            writer.maybe_bytes(Some(member));
        };
        match self {
            Self::Active(id) => {
                writer.uint(0);
                writer.text(id.as_ref().map_or("", TaskId::as_str));
            }
            Self::Waiting {
                level,
                behind,
                rest,
            } => {
                writer.uint(1);
                writer.text(level);
                writer.array(rest.len());
                for level in rest {
                    writer.text(level);
                }
                writer.array(usize::from(behind.is_some()));
                if let Some(at) = behind {
                    writer.array(at.recent.len());
                    for id in &at.recent {
                        writer.maybe_bytes(Some(id));
                    }
                    writer.maybe_bytes(Some(&at.last));
                    writer.uint(at.ahead);
                }
            }
            Self::Blocked(member) => {
                writer.uint(2);
                writer.maybe_bytes(Some(member));
            }
            Self::Scheduled(at) => {
                writer.uint(3);
                scored(writer, at);
            }
            Self::Dead(at) => {
                writer.uint(4);
                scored(writer, at);
            }
            Self::Ended(before) => {
                writer.uint(5);
                writer.text(before);
            }
        }
    }

    fn unpack(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let wrong = Malformed("a place");
        Ok(match reader.uint::<u64>()? {
            0 => match reader.text()? {
                "" => Self::Active(None),
                id => Self::Active(Some(id.parse().map_err(|_| wrong)?)),
            },
            1 => Self::Waiting {
                level: reader.text()?.to_owned(),
                rest: levels(reader)?,
                behind: match reader.array()? {
                    0 => None,
                    _ => Some(in_list(reader)?),
                },
            },
            2 => Self::Blocked(name(reader)?),
            3 => Self::Scheduled(scored(reader)?),
            4 => Self::Dead(scored(reader)?),
            5 => {
                let before = reader.text()?;
                let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'v');
                if before.len() > 20 || !before.bytes().all(digit) {
                    return Err(wrong);
                }
                Self::Ended(before.to_owned())
            }
            _ => return Err(wrong),
        })
    }
}

fn levels(reader: &mut Reader<'_>) -> Result<Vec<String>, Malformed> {
    let count = reader.array()?;
    // Each takes a byte at least, so that no count makes this longer than what there is.
    (0..count)
        .map(|_| reader.text().map(str::to_owned))
        .collect()
}

fn in_list(reader: &mut Reader<'_>) -> Result<InList, Malformed> {
    let count = reader.array()?;
    if !(1..=MOST_RECENT).contains(&(count as usize)) {
        return Err(Malformed("one to three ids"));
    }
    Ok(InList {
        recent: (0..count).map(|_| name(reader)).collect::<Result<_, _>>()?,
        last: name(reader)?,
        ahead: reader.uint()?,
    })
}

fn name(reader: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    match reader.maybe_bytes()? {
        Some(name) if name.len() <= MAX_NAME_BYTES => Ok(name.to_vec()),
        _ => Err(Malformed("a shorter name")),
    }
}

fn scored(reader: &mut Reader<'_>) -> Result<Option<Scored>, Malformed> {
    let score = reader.text()?.to_owned();
    let member = name(reader)?;
    if score.is_empty() {
        return Ok(None);
    }
    if score.len() > MAX_SCORE_BYTES || !is_score(&score) {
        return Err(Malformed("a score"));
    }
    Ok(Some(Scored { score, member }))
}

/// Whether Redis takes it for one.
pub(super) fn is_score(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(|score| !score.is_nan())
}

/// A number for what is asked of which queue.
fn number_of(queue: &QueueName, filter: &Filter) -> u64 {
    // What cannot be written as JSON cannot be in a filter.
    let filter = serde_json::to_string(filter).unwrap_or_default();
    // FNV-1a, which is the same in every process.
    format!("{queue} {filter}")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

impl Cursor {
    /// `None` if a name at the place is longer than any of ours.
    pub(super) fn new(queue: &QueueName, filter: &Filter, place: Place) -> Option<Self> {
        let fits = place
            .names()
            .iter()
            .all(|name| name.len() <= MAX_NAME_BYTES);
        let asked = number_of(queue, filter);
        fits.then_some(Self { asked, place })
    }

    /// Where it goes on, for the filter that it is of.
    pub(super) fn place(&self, queue: &QueueName, filter: &Filter) -> Result<&Place, Error> {
        if self.asked != number_of(queue, filter) {
            let rule = "it is of another listing: give the filter and the queue that it came from, or no cursor";
            return Err(Error::invalid("cursor", &self.to_string(), rule));
        }
        Ok(&self.place)
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut reader = Reader::new(&bytes);
        if reader.uint::<u64>().ok()? != VERSION {
            return None;
        }
        let asked = reader.uint().ok()?;
        let place = Place::unpack(&mut reader).ok()?;
        reader.rest().is_empty().then_some(Self { asked, place })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer::after(&[], 64);
        writer.uint(VERSION);
        writer.uint(self.asked);
        self.place.pack(&mut writer);
        f.write_str(&URL_SAFE_NO_PAD.encode(writer.finish(&[])))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::read(text).ok_or_else(|| Error::invalid("cursor", text, RULE))
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
