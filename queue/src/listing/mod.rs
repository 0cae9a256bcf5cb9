//! Listing the tasks of a queue by what they are, page by page. Where a page goes on is a cursor; what is read of one place in Redis
//! is in `walk`, and of what is in no order there in `by_id`.

mod by_id;
mod cursor;
mod filter;
mod payload;
mod walk;

use jiff::Timestamp;

pub use self::cursor::Cursor;
use self::cursor::{Place, beginnings};
pub use self::filter::{Filter, Moment, Stage};
pub use self::payload::PayloadIs;
use self::walk::Part;
use crate::clock::timestamp;
use crate::queue::{Known, Queue};
use crate::{Error, Task};

/// Entries that one page looks at, more or less; those that do not fit count.
const MOST_LOOKED: u64 = 20_000;
/// Looks of one page, each at up to [`walk::MOST_ENTRIES`] entries or the records of about 1 MiB.
const MOST_LOOKS: usize = 64;
/// Bytes of records after which a page ends.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A part of a listing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The tasks that fit, at most as many as asked for.
    pub tasks: Vec<Listed>,
    /// Where to go on; `None` when all has been looked at. With it the page may hold fewer tasks than asked for, none too:
    /// as few fit, or as they are large.
    pub next: Option<Cursor>,
    /// How many tasks and ids were looked at.
    pub looked: u64,
}

/// A task of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Where it stood when it was looked at.
    pub stage: Stage,
    /// The task.
    pub task: Task,
    /// The size of its record in bytes.
    size: usize,
}

impl Page {
    /// The most tasks of a page.
    pub const MOST: u32 = 1_000;

    /// The tasks alone.
    pub fn into_tasks(self) -> Vec<Task> {
        self.tasks.into_iter().map(|listed| listed.task).collect()
    }

    /// Whether it ended for what it looked at, with fewer tasks than asked for. Then the cursor goes on, and
    /// [`Filter::narrower`] says what would make it less.
    pub fn is_cut(&self, limit: u32) -> bool {
        self.next.is_some() && self.tasks.len() < limit as usize
    }
}

impl Queue {
    /// Tasks that fit a filter, from a cursor on, or from the beginning; at most `limit`, 1 to 1000. A page looks at some
    /// 20,000 tasks and then ends, with what it has and a cursor; inside Redis it is many short calls.
    ///
    /// First come those that run, by id; then those that wait, the next one first, level by level; blocked ones by
    /// key; scheduled ones, the next one first; dead letters, the latest first; ended ones, the one that was enqueued last first.
    ///
    /// Each is told as it stood during the call. What stays in a state, from the first page to the last, is
    /// listed in it once, whatever becomes of others meanwhile. What changes its state may be listed in both, or in neither; what
    /// comes meanwhile may be listed or not. There are two exceptions. Where more than 30,000 tasks came to a level between two pages,
    /// the cursor may be lost ([`Error::CursorLost`]). And where between two pages the last task of a level was moved to another
    /// level, and those listed last were taken, the rest of the level is left out.
    pub async fn list(
        &self,
        filter: &Filter,
        cursor: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page, Error> {
        filter.check()?;
        if !(1..=Page::MOST).contains(&limit) {
            let rule = format!("1 to {}", Page::MOST);
            return Err(Error::invalid("limit", &limit.to_string(), rule));
        }
        let limit = limit as usize;
        // Its levels are those that there are, not those that there once were.
        let known = self.refresh().await?;
        let places = self.beginnings(filter, &known)?;
        let mut place = match cursor {
            Some(cursor) => Some(cursor.place(self.name(), filter)?.clone()),
            None => places.first().cloned(),
        };
        let (mut page, mut looks, mut bytes) = (Page::default(), 0, 0);
        while let Some(here) = place {
            if page.tasks.len() == limit
                || page.looked >= MOST_LOOKED
                || looks == MOST_LOOKS
                || bytes >= MOST_BYTES
            {
                page.next = Some(self.cursor(filter, here)?);
                break;
            }
            looks += 1;
            let wanted = if filter.looks_into_tasks() {
                walk::MOST_ENTRIES
            } else {
                limit - page.tasks.len()
            };
            let part = self.look_from(&known, &here, wanted).await?;
            let now = timestamp(self.link().clock().now_ms());
            let room = Room {
                tasks: limit - page.tasks.len(),
                bytes: MOST_BYTES - bytes,
            };
            let end = room.take(&mut page, part, filter, now);
            bytes = page.tasks.iter().map(|listed| listed.size).sum();
            place = match end {
                Some(end) => Some(end),
                None => here.following(&places),
            };
        }
        Ok(page)
    }

    fn beginnings(&self, filter: &Filter, known: &Known) -> Result<Vec<Place>, Error> {
        let levels: Vec<String> = known.levels().cloned().collect();
        match &filter.level {
            Some(level) if filter.is_of(Stage::Waiting) && !levels.contains(level) => {
                Err(Error::UnknownLevel {
                    queue: self.name().to_string(),
                    level: level.chars().take(128).collect(),
                    known: known.policy.levels.clone(),
                })
            }
            _ => Ok(beginnings(filter, &levels)),
        }
    }

    fn cursor(&self, filter: &Filter, place: Place) -> Result<Cursor, Error> {
        let cursor = Cursor::new(self.name(), filter, place);
        cursor.ok_or_else(|| self.lost("it would have to name what is no task of this queue"))
    }

    fn lost(&self, reason: &str) -> Error {
        Error::CursorLost {
            queue: self.name().to_string(),
            reason: reason.to_owned(),
        }
    }
}

/// What a page may yet hold.
struct Room {
    tasks: usize,
    bytes: usize,
}

impl Room {
    /// Takes what fits the filter, as far as there is room. Where to go on; `None` if that is behind the whole place.
    fn take(
        mut self,
        page: &mut Page,
        part: Part,
        filter: &Filter,
        now: Timestamp,
    ) -> Option<Place> {
        let mut entries = part.entries.into_iter().peekable();
        while let Some(entry) = entries.next() {
            page.looked += 1;
            let Some(listed) = entry.listed else { continue };
            if !filter.fits(listed.stage, &listed.task, now) {
                continue;
            }
            self.tasks -= 1;
            self.bytes = self.bytes.saturating_sub(listed.size);
            page.tasks.push(listed);
            if (self.tasks == 0 || self.bytes == 0) && entries.peek().is_some() {
                return Some(entry.place);
            }
        }
        part.next
    }
}
