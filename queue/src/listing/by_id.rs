//! What a listing takes from hashes, which are in no order: by id, those that run and those that have ended.

use std::collections::BTreeSet;

use super::Listed;
use super::cursor::Place;
use super::filter::Stage;
use super::walk::{Asked, Entry, Part, Row, part};
use crate::queue::{Known, Queue};
use crate::record::unpack_done;
use crate::script::args;
use crate::{Error, State, TaskId};

/// Most buckets of ended tasks in one look.
const MOST_BUCKETS: usize = 500;
/// Characters of an id that name its bucket.
const BUCKET: usize = 9;
/// Most calls that go through one hash, of some five hundred fields each: no honest server comes near it.
const MOST_CALLS: usize = 10_000;
/// Where a pass over a hash begins, and where it ends.
const BEGINNING: &str = "0";

/// A part of a hash, or of several.
struct Scanned {
    fields: Vec<String>,
    /// Where to go on in the last one.
    next: String,
    /// How many buckets were looked at.
    looked: usize,
}

impl Queue {
    /// By id: the leases are in no order, so all of their ids are read, and those that come next are asked for.
    pub(super) async fn active(
        &self,
        known: &Known,
        behind: Option<TaskId>,
        wanted: usize,
    ) -> Result<Part, Error> {
        let mut ids: BTreeSet<TaskId> = BTreeSet::new();
        self.each_field(known, "active", |field| {
            let id: Option<TaskId> = field.parse().ok();
            ids.extend(id.filter(|id| behind.is_none_or(|behind| *id > behind)));
            // One more than are looked at, to know whether there are more.
            if ids.len() > wanted + 1 {
                ids.pop_last();
            }
        })
        .await?;
        let more = ids.len() > wanted;
        let ids: Vec<TaskId> = ids.into_iter().take(wanted).collect();
        let asked = Asked {
            state: "active",
            rest: &names(&ids),
            ..Asked::default()
        };
        let found = self.found(known, &asked, wanted).await?;
        let cut = found.rows.len() < ids.len();
        let entries = ids.iter().zip(found.rows).map(|(id, row)| Entry {
            place: Place::Active(Some(*id)),
            listed: self.listed(row, State::Active, Stage::Active),
        });
        Ok(part(entries.collect(), more || cut))
    }

    /// By id, backwards: first the names of the buckets, which are in no order, then the ids in those that come next.
    pub(super) async fn ended(
        &self,
        known: &Known,
        before: &str,
        wanted: usize,
    ) -> Result<Part, Error> {
        let comes = |name: &str| before.is_empty() || name < before;
        let mut buckets: BTreeSet<String> = BTreeSet::new();
        self.each_field(known, "kept", |name| {
            let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'v');
            if name.len() == BUCKET && name.bytes().all(digit) && comes(&name) {
                buckets.insert(name);
                if buckets.len() > MOST_BUCKETS {
                    buckets.pop_first();
                }
            }
        })
        .await?;
        let buckets: Vec<String> = buckets.into_iter().rev().collect();
        let (mut ids, read) = self.ids_in(known, &buckets, wanted).await?;
        ids.retain(|id| comes(id.as_str()));
        let more = ids.len() > wanted || read < buckets.len() || buckets.len() == MOST_BUCKETS;
        let ids: Vec<TaskId> = ids.into_iter().rev().take(wanted).collect();
        let mut keys: Vec<String> = ids.iter().map(|id| self.keys().done(id.bucket())).collect();
        keys.dedup();
        let asked = Asked {
            state: "ended",
            buckets: keys,
            rest: &names(&ids),
            ..Asked::default()
        };
        let found = self.found(known, &asked, wanted).await?;
        let cut = found.rows.len() < ids.len();
        let entries = ids.iter().zip(found.rows).map(|(id, row)| Entry {
            place: Place::Ended(id.to_string()),
            listed: self.ended_one(row),
        });
        let mut part = part(entries.collect(), more || cut);
        if part.entries.is_empty() && more {
            // In none of them is a task any more.
            part.next = buckets
                .get(read.saturating_sub(1))
                .map(|bucket| Place::Ended(bucket.clone()));
        }
        Ok(part)
    }

    /// The ids in the first of these buckets, more than `least` if there are that many; and how many buckets were read.
    async fn ids_in(
        &self,
        known: &Known,
        buckets: &[String],
        least: usize,
    ) -> Result<(BTreeSet<TaskId>, usize), Error> {
        let (mut ids, mut read, mut from) = (BTreeSet::new(), 0, BEGINNING.to_owned());
        for _ in 0..MOST_CALLS {
            if read == buckets.len() || (from == BEGINNING && ids.len() > least) {
                break;
            }
            let rest = buckets[read..].iter();
            let keys: Vec<String> = rest.map(|bucket| self.keys().done(bucket)).collect();
            let scanned = self.scan(known, "ended", &keys, &from).await?;
            let parsed = scanned.fields.iter().flat_map(|id| id.parse::<TaskId>());
            ids.extend(parsed);
            read += scanned.looked.min(keys.len());
            // The last of them is not done.
            if scanned.next != BEGINNING {
                read = read.saturating_sub(1);
            }
            from = scanned.next;
        }
        Ok((ids, read))
    }

    /// All fields of a hash, each once at least.
    async fn each_field(
        &self,
        known: &Known,
        hash: &'static str,
        mut each: impl FnMut(String),
    ) -> Result<(), Error> {
        let mut from = BEGINNING.to_owned();
        for _ in 0..MOST_CALLS {
            let scanned = self.scan(known, hash, &[], &from).await?;
            scanned.fields.into_iter().for_each(&mut each);
            if scanned.next == BEGINNING {
                return Ok(());
            }
            from = scanned.next;
        }
        Err(self.lost("there are too many of them"))
    }

    /// Some fields of a hash or of buckets.
    async fn scan(
        &self,
        known: &Known,
        what: &'static str,
        buckets: &[String],
        from: &str,
    ) -> Result<Scanned, Error> {
        let asked = args::Scan {
            what: what.into(),
            from: from.into(),
        };
        let (_, mut reply) = self.read(&self.call(known, buckets, &asked)).await?;
        let fields: Vec<Vec<u8>> = reply.next()?;
        // What is no text is none of ours.
        let fields = fields.into_iter().flat_map(String::from_utf8);
        Ok(Scanned {
            fields: fields.collect(),
            next: reply.next()?,
            looked: reply.next()?,
        })
    }

    fn ended_one(&self, row: Row) -> Option<Listed> {
        let record = row.record?;
        let text = String::from_utf8_lossy(&row.name);
        let unpacked = text
            .parse()
            .and_then(|id: TaskId| unpack_done(id, self.name().clone(), &record));
        let task = self.or_warn(&text, unpacked)?;
        let (stage, size) = (Stage::of(task.state), record.len());
        Some(Listed { stage, task, size })
    }
}

fn names(ids: &[TaskId]) -> Vec<Vec<u8>> {
    ids.iter().map(|id| id.as_str().into()).collect()
}
