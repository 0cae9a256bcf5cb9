//! One look at one place of a listing: the entries from there on, each with its task if it is in that state. Those of hashes, which are
//! in no order, are chosen in `by_id`.

use redis::Value;

use super::Listed;
use super::cursor::{InList, Place, Scored, is_score};
use super::filter::Stage;
use crate::maintain::LARGEST_RECORD;
use crate::queue::{Known, Queue};
use crate::record::Record;
use crate::reply::Status;
use crate::script::args;
use crate::value::read;
use crate::{Error, State, Task, TaskId};

/// Most entries of one look: it must not hold the server for long.
pub(super) const MOST_ENTRIES: usize = 500;
/// Bytes of records after which a look ends.
const MOST_BYTES: usize = 1024 * 1024;

/// A sorted set of tasks in one state.
struct Set {
    /// As the script knows it.
    name: &'static str,
    state: State,
    stage: Stage,
    place: fn(Option<Scored>) -> Place,
}

const SCHEDULED: Set = Set {
    name: "scheduled",
    state: State::Scheduled,
    stage: Stage::Scheduled,
    place: Place::Scheduled,
};
const DEAD: Set = Set {
    name: "dead",
    state: State::Dead,
    stage: Stage::Dead,
    place: Place::Dead,
};

/// What was found.
pub(super) struct Part {
    pub(super) entries: Vec<Entry>,
    /// Where to go on behind all of them; `None` if there are no more.
    pub(super) next: Option<Place>,
}

/// What was looked at.
pub(super) struct Entry {
    /// Where to go on behind it.
    pub(super) place: Place,
    /// `None` for what is no task in that state, or none that can be read.
    pub(super) listed: Option<Listed>,
}

/// What the script is asked for beside the number of entries.
#[derive(Default)]
pub(super) struct Asked<'a> {
    pub(super) state: &'static str,
    pub(super) level: usize,
    pub(super) member: &'a [u8],
    pub(super) score: &'a str,
    pub(super) anchor: &'a [u8],
    pub(super) ahead: u64,
    pub(super) buckets: Vec<String>,
    /// What follows the arguments.
    pub(super) rest: &'a [Vec<u8>],
}

/// What it answers.
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    more: bool,
    /// The last id of the list.
    last: Vec<u8>,
    /// How many entries there are from the first one to that.
    count: u64,
}

/// Of one entry.
pub(super) struct Row {
    pub(super) name: Vec<u8>,
    extra: String,
    pub(super) record: Option<Vec<u8>>,
    losses: u32,
}

impl Queue {
    /// Looks at some entries from a place on.
    pub(super) async fn look_from(
        &self,
        known: &Known,
        place: &Place,
        wanted: usize,
    ) -> Result<Part, Error> {
        let wanted = wanted.min(MOST_ENTRIES);
        match place {
            Place::Active(behind) => self.active(known, *behind, wanted).await,
            Place::Waiting {
                level,
                behind,
                rest,
            } => {
                self.waiting(known, level, behind.as_ref(), rest, wanted)
                    .await
            }
            Place::Blocked(behind) => self.blocked(known, behind, wanted).await,
            Place::Scheduled(behind) => {
                self.sorted(known, &SCHEDULED, behind.as_ref(), wanted)
                    .await
            }
            Place::Dead(behind) => self.sorted(known, &DEAD, behind.as_ref(), wanted).await,
            Place::Ended(before) => self.ended(known, before, wanted).await,
        }
    }

    async fn waiting(
        &self,
        known: &Known,
        level: &str,
        behind: Option<&InList>,
        rest: &[String],
        wanted: usize,
    ) -> Result<Part, Error> {
        let Some(place) = known.levels().position(|name| name == level) else {
            // It was drained before it was taken away.
            return Ok(part(Vec::new(), false));
        };
        let asked = Asked {
            state: "waiting",
            level: place,
            anchor: behind.map_or(&[][..], |at| at.last.as_slice()),
            ahead: behind.map_or(0, |at| at.ahead),
            rest: behind.map_or(&[][..], |at| at.recent.as_slice()),
            ..Asked::default()
        };
        let found = self.found(known, &asked, wanted).await?;
        let mut at = InList {
            recent: asked.rest.to_vec(),
            last: found.last,
            ahead: found.count,
        };
        let entries = found.rows.into_iter().map(|row| {
            at.pass(&row.name);
            let place = Place::Waiting {
                level: level.to_owned(),
                behind: Some(at.clone()),
                rest: rest.to_vec(),
            };
            Entry {
                place,
                listed: self.listed(row, State::Waiting, Stage::Waiting),
            }
        });
        Ok(part(entries.collect(), found.more))
    }

    async fn blocked(&self, known: &Known, behind: &[u8], wanted: usize) -> Result<Part, Error> {
        let asked = Asked {
            state: "parked",
            member: behind,
            ..Asked::default()
        };
        let found = self.found(known, &asked, wanted).await?;
        let entries = found.rows.into_iter().map(|mut row| {
            let member = row.name.clone();
            // The key and a zero byte stand before the id.
            row.name.drain(..row.name.len().saturating_sub(20));
            Entry {
                place: Place::Blocked(member),
                listed: self.listed(row, State::Waiting, Stage::Blocked),
            }
        });
        Ok(part(entries.collect(), found.more))
    }

    async fn sorted(
        &self,
        known: &Known,
        set: &Set,
        behind: Option<&Scored>,
        wanted: usize,
    ) -> Result<Part, Error> {
        let asked = Asked {
            state: set.name,
            member: behind.map_or(&[][..], |at| at.member.as_slice()),
            score: behind.map_or("", |at| at.score.as_str()),
            ..Asked::default()
        };
        let found = self.found(known, &asked, wanted).await?;
        let mut entries = Vec::new();
        for row in found.rows {
            let score = row.extra.clone();
            if !is_score(&score) {
                return Err(self.lost("a score in Redis is no number"));
            }
            let member = row.name.clone();
            entries.push(Entry {
                place: (set.place)(Some(Scored { score, member })),
                listed: self.listed(row, set.state, set.stage),
            });
        }
        Ok(part(entries, found.more))
    }

    pub(super) async fn found(
        &self,
        known: &Known,
        asked: &Asked<'_>,
        wanted: usize,
    ) -> Result<Found, Error> {
        let arguments = args::Page {
            state: asked.state.into(),
            most: wanted.into(),
            room: MOST_BYTES.into(),
            largest: LARGEST_RECORD.into(),
            level: asked.level.into(),
            member: asked.member.into(),
            score: asked.score.into(),
            anchor: asked.anchor.into(),
            ahead: asked.ahead.into(),
        };
        let mut call = self.call(known, &asked.buckets, &arguments);
        for name in asked.rest {
            call.push(name.as_slice());
        }
        let (status, mut reply) = self.read(&call).await?;
        if status == Status::Lost {
            return Err(self.lost("too many tasks came and went since it was given"));
        }
        let names: Vec<Vec<u8>> = reply.next()?;
        let extras: Vec<Vec<u8>> = reply.next()?;
        let records: Vec<Option<Vec<u8>>> = reply.next()?;
        let losses: Vec<Value> = reply.next()?;
        let rows = names.into_iter().zip(extras).zip(records).zip(losses);
        let rows = rows.map(|(((name, extra), record), losses)| Row {
            name,
            extra: String::from_utf8_lossy(&extra).into_owned(),
            record,
            losses: read::<Option<u32>>(losses).ok().flatten().unwrap_or(0),
        });
        Ok(Found {
            rows: rows.collect(),
            more: reply.next()?,
            last: reply.next()?,
            count: reply.next()?,
        })
    }

    pub(super) fn listed(&self, row: Row, of: State, stage: Stage) -> Option<Listed> {
        let record = row.record?;
        let text = String::from_utf8_lossy(&row.name);
        let unpacked = text.parse().and_then(|id: TaskId| {
            let name = self.name().clone();
            let mut task = Record::unpack(&record)?.into_task(id, name, of, row.losses);
            task.locate(&row.extra);
            Ok(task)
        });
        let task = self.or_warn(&text, unpacked)?;
        let size = record.len();
        Some(Listed { stage, task, size })
    }

    /// One that cannot be read must not hide the others.
    pub(super) fn or_warn(&self, id: &str, unpacked: Result<Task, Error>) -> Option<Task> {
        unpacked
            .inspect_err(|fault| {
                tracing::warn!(queue = %self.name(), task = %id, %fault, "task passed over");
            })
            .ok()
    }
}

/// These entries, and whether there are more behind them.
pub(super) fn part(entries: Vec<Entry>, more: bool) -> Part {
    let last = entries.last().filter(|_| more);
    let next = last.map(|entry| entry.place.clone());
    Part { entries, next }
}
